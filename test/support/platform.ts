import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Places } from "../../platform/launch.ts";
import { readSecrets } from "../../platform/secrets.ts";
import { eventually } from "./eventually.ts";
import { exclusively, runFolder } from "./test-run.ts";

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
const FREE_PORTS = { PORT: "0", OPS_PORT: "0", SANDBOX_PORT: "0" };
const root = fileURLToPath(new URL("../..", import.meta.url));

export interface TestPlatform {
  url: string;
  sandboxUrl: string;
  opsUrl: string;
  dataDir: string;
  adminEmail: string;
  adminPassword: string;
}

export interface StartedPlatform extends TestPlatform {
  pid: number;
  /** What it has printed so far. */
  output(): string;
  /** Sends a signal and waits for the end. @returns the exit code */
  end(signal: "SIGINT" | "SIGTERM" | "SIGKILL"): Promise<number | null>;
}

/**
 * The real platform in a process of its own, with all its services and the sandbox: started by the first file of
 * a run that asks for it, shared by all, stopped at the end of the run. Tests make their own users in it.
 */
export async function platform(): Promise<TestPlatform> {
  const dataDir = join(platformFolder(runFolder()), "data");
  if (existsSync(readyFile())) return placesOf(dataDir);
  return await exclusively("platform", async () => {
    // Once it did not start, it would not start for the other files either.
    if (existsSync(failedFile())) throw new Error(readFileSync(failedFile(), "utf8"));
    if (!existsSync(readyFile())) {
      const { pid } = await startPlatform(dataDir).catch((error: Error) => {
        writeFileSync(failedFile(), error.message);
        throw error;
      });
      writeFileSync(readyFile(), String(pid));
    }
    return placesOf(dataDir);
  });
}

/** Starts a platform of the test's own, as `npm start` does. @throws Error with what it printed if it ends early */
export async function startPlatform(
  dataDir: string,
  env: Record<string, string> = {},
  options: { uid?: number; gid?: number; cwd?: string } = {},
): Promise<StartedPlatform> {
  mkdirSync(join(dataDir, ".."), { recursive: true });
  const logFile = `${dataDir}.log`;
  const log = openSync(logFile, "a");
  const child = spawn(process.execPath, startArguments(), {
    cwd: root,
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...process.env, ...FREE_PORTS, POSTGRES_ACQUIRE_TIMEOUT_MS: "2000", DATA_DIR: dataDir, ...env },
    ...options,
  });
  closeSync(log);
  child.unref();
  const output = () => readFileSync(logFile, "utf8");
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  let exited = false;
  ended.then(() => {
    exited = true;
  });
  await eventually(
    () => {
      const ready = placesIn(dataDir)?.pid === child.pid;
      if (!ready && !exited) throw new Error(`the platform is not ready yet:\n${output()}`);
    },
    { timeoutMs: START_TIMEOUT_MS },
  );
  if (exited) throw new Error(`the platform ended while it started:\n${output()}`);
  return {
    ...placesOf(dataDir),
    pid: child.pid as number,
    output,
    async end(signal) {
      process.kill(child.pid as number, signal);
      return await ended;
    },
  };
}

/** What `npm start` gives to Node, with its files named from the root, since tests start it elsewhere too. */
function startArguments(): string[] {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const words: string[] = scripts.start.split(" ");
  return words
    .slice(words.indexOf("node") + 1)
    .map((word) => (/\.[jt]s$/.test(word) ? join(root, word) : word));
}

/** Stops the shared platform of a run, if there is one. */
export async function stopPlatform(run: string): Promise<void> {
  const places = placesIn(join(platformFolder(run), "data"));
  if (!places) return;
  try {
    process.kill(places.pid, "SIGTERM");
    const deadline = Date.now() + STOP_TIMEOUT_MS;
    while (Date.now() < deadline) {
      await delay(20);
      process.kill(places.pid, 0);
    }
    process.kill(places.pid, "SIGKILL");
  } catch {
    // It has gone, which is what was wanted.
  }
}

export function platformFolder(run: string): string {
  return join(run, "platform");
}

const failedFile = () => join(platformFolder(runFolder()), "failed");
const readyFile = () => join(platformFolder(runFolder()), "ready");

function placesIn(dataDir: string): Places | undefined {
  const file = join(dataDir, "platform.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
}

function placesOf(dataDir: string): TestPlatform {
  const places = placesIn(dataDir) as Places;
  return {
    url: places.apiUrl,
    sandboxUrl: places.sandboxUrl ?? "",
    opsUrl: places.opsUrl,
    dataDir,
    adminEmail: places.adminEmail ?? "",
    adminPassword: readSecrets(dataDir).ADMIN_PASSWORD ?? "",
  };
}
