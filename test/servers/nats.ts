import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { freePort } from "../../platform/free-port.ts";
import { binary } from "./binaries.ts";

const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 10_000;
const POLL_MS = 10;

export interface NatsOptions {
  /** A configuration of the caller's; address and store folder are still those given or chosen here. */
  configFile?: string;
  /** The environment variables that the configuration reads. */
  env?: Record<string, string>;
  /** Where JetStream keeps its streams; by default a folder that is removed at the end. */
  storeDir?: string;
  port?: number;
  /** Further words of the command line, as `--trace`. */
  args?: readonly string[];
}

export interface NatsServer {
  readonly url: string;
  readonly version: string;
  readonly clientPort: number;
  readonly storeDir: string;
  readonly pid: number | undefined;
  /** Starts it again on the same port and store. */
  start(): Promise<void>;
  /** As its operator would. Everything stays for a further `start`. */
  stop(): Promise<void>;
  /** As a power failure would: SIGKILL. */
  kill(): Promise<void>;
  /** SIGSTOP and SIGCONT: it is there and does not answer. */
  freeze(): void;
  thaw(): void;
  /** Removes all streams and consumers of a server that does not run. */
  deleteStore(): void;
  log(): string;
  /** Stops it and removes its folder. */
  remove(): Promise<void>;
}

/** A nats-server with JetStream on a free loopback port, in a folder of its own. It answers when this resolves. */
export async function startNats(options: NatsOptions = {}): Promise<NatsServer> {
  const program = await binary("nats-server");
  const folder = mkdtempSync(join(tmpdir(), "waybill-nats-"));
  const storeDir = options.storeDir ?? join(folder, "store");
  const logFile = join(folder, "nats.log");
  const clientPort = options.port ?? (await freePort());
  const version = await versionOf(program);
  let child: ChildProcess | undefined;
  const log = () => (existsSync(logFile) ? readFileSync(logFile, "utf8") : "");

  const end = async (signal: NodeJS.Signals) => {
    const ending = child;
    child = undefined;
    if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
    const exited = once(ending, "exit");
    ending.kill("SIGCONT");
    ending.kill(signal);
    const timer = setTimeout(() => ending.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  };

  const server: NatsServer = {
    url: `nats://127.0.0.1:${clientPort}`,
    version,
    clientPort,
    storeDir,
    get pid() {
      return child?.pid;
    },
    async start() {
      if (child) throw new Error("this nats-server runs already");
      const starting = spawn(
        program,
        [
          ...(options.configFile ? ["--config", options.configFile] : ["--jetstream"]),
          ...["--addr", "127.0.0.1", "--port", String(clientPort), "--store_dir", storeDir],
          ...["--log", logFile, ...(options.args ?? [])],
        ],
        { stdio: ["ignore", "ignore", "pipe"], env: { PATH: process.env.PATH, ...options.env } },
      );
      child = starting;
      let complaint = "";
      starting.stderr?.setEncoding("utf8").on("data", (part) => {
        complaint += part;
      });
      const deadline = Date.now() + START_TIMEOUT_MS;
      while (!(await answers(clientPort))) {
        if (starting.exitCode === null && Date.now() < deadline) {
          await delay(POLL_MS);
          continue;
        }
        await end("SIGKILL");
        throw new Error(`nats-server did not start: ${complaint || log()}`);
      }
    },
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    freeze: () => void child?.kill("SIGSTOP"),
    thaw: () => void child?.kill("SIGCONT"),
    deleteStore() {
      if (child) throw new Error("this nats-server runs: its store cannot be deleted");
      rmSync(storeDir, { recursive: true, force: true });
    },
    log,
    async remove() {
      await end("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

async function versionOf(program: string): Promise<string> {
  const { stdout } = await promisify(execFile)(program, ["--version"]);
  return stdout.trim().replace(/^nats-server: v?/, "");
}

/** Whether it greets: a NATS server speaks first. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("data", (data) => end(data.toString().startsWith("INFO")));
    socket.once("error", () => end(false));
    socket.once("close", () => end(false));
  });
}
