import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Places } from "../../platform/launch.ts";
import { eventually } from "./eventually.ts";

/** On a machine that runs much else, creating and migrating the databases takes most of it. */
const START_TIMEOUT_MS = 150_000;
const FREE_PORTS = { PORT: "0", OPS_PORT: "0", SANDBOX_PORT: "0" };
const root = fileURLToPath(new URL("../..", import.meta.url));

export interface SpawnedAs {
  /** For a machine on which much else starts. */
  timeoutMs?: number;
  uid?: number;
  gid?: number;
  cwd?: string;
}

/** A process of the platform, with all services or some. */
export interface StartedProcess {
  readonly pid: number;
  readonly places: Places;
  readonly readyAfterMs: number;
  /** Its output so far. */
  output(): string;
  /** Sends a signal and waits for the end. @returns the exit code */
  end(signal: "SIGINT" | "SIGTERM" | "SIGKILL"): Promise<number | null>;
}

/** Starts what `npm start` starts and waits until it is ready. @throws Error with what it printed if it ends early */
export async function startWaybill(
  dataDir: string,
  env: Record<string, string>,
  { timeoutMs = START_TIMEOUT_MS, ...options }: SpawnedAs = {},
): Promise<StartedProcess> {
  mkdirSync(join(dataDir, ".."), { recursive: true });
  const logFile = `${dataDir}.log`;
  const log = openSync(logFile, "a");
  const spawnedMs = performance.now();
  const child = spawn(process.execPath, startArguments(), {
    cwd: root,
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...process.env, ...FREE_PORTS, DATA_DIR: dataDir, ...env },
    ...options,
  });
  closeSync(log);
  child.unref();
  const output = () => readFileSync(logFile, "utf8");
  let exited = false;
  const ended = new Promise<number | null>((resolve) => {
    child.once("exit", (code) => {
      exited = true;
      resolve(code);
    });
  });
  await eventually(
    () => {
      const ready = placesIn(dataDir)?.pid === child.pid;
      if (!ready && !exited) throw new Error(`the platform is not ready yet:\n${output()}`);
    },
    { timeoutMs },
  ).catch((error) => {
    child.kill("SIGKILL");
    throw error;
  });
  if (exited) throw new Error(`the platform ended while it started:\n${output()}`);
  return {
    pid: child.pid as number,
    places: placesIn(dataDir) as Places,
    readyAfterMs: Math.round(performance.now() - spawnedMs),
    output,
    async end(signal) {
      if (!exited) process.kill(child.pid as number, signal);
      return await ended;
    },
  };
}

/** Where the platform of a data folder says that it is; undefined while it is not ready. */
export function placesIn(dataDir: string): Places | undefined {
  const file = join(dataDir, "platform.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
}

/** The arguments of `npm start` for Node, with files named from the root, since tests start it in other folders too. */
function startArguments(): string[] {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const words: string[] = scripts.start.split(" ");
  return words
    .slice(words.indexOf("node") + 1)
    .map((word) => (/\.[jt]s$/.test(word) ? join(root, word) : word));
}
