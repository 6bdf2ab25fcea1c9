import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const ROOT = resolve(import.meta.dirname, "../..");
const START_TIMEOUT_MS = 60_000;
const POLL_MS = 10;

export interface RunningPlatform {
  pid: number;
  apiUrl: string;
  sandboxUrl: string;
  dataDir: string;
  /** Time from the start of the process until its ready message. */
  readyAfterMs: number;
  admin: { email: string; password: string };
  stop(): Promise<void>;
}

export function newDataDir(): string {
  return mkdtempSync(join(tmpdir(), "waybill-bench-"));
}

export function removeDataDir(dataDir: string): void {
  rmSync(dataDir, { recursive: true, force: true });
}

/** Starts the product as `npm start` does, on free ports, and waits until it is ready. */
export async function startPlatform(
  dataDir: string,
  settings: Record<string, string> = {},
): Promise<RunningPlatform> {
  const started = performance.now();
  const { words, env } = startCommand();
  const child = spawn(process.execPath, words, {
    cwd: ROOT,
    env: { ...process.env, ...env, DATA_DIR: dataDir, ...FREE_PORTS, ...NO_LIMITS, ...settings },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const file = join(dataDir, "platform.json");
  while (!existsSync(file)) {
    if (child.exitCode !== null) throw new Error(`the platform ended with ${child.exitCode}`);
    if (performance.now() - started > START_TIMEOUT_MS) throw new Error("the platform did not become ready");
    await delay(POLL_MS);
  }
  const readyAfterMs = performance.now() - started;
  const places = JSON.parse(readFileSync(file, "utf8")) as {
    apiUrl: string;
    sandboxUrl: string;
    adminEmail: string;
  };
  const secrets = JSON.parse(readFileSync(join(dataDir, "secrets.json"), "utf8")) as {
    ADMIN_PASSWORD: string;
  };
  return {
    pid: child.pid as number,
    apiUrl: `${places.apiUrl}/api/v1`,
    sandboxUrl: places.sandboxUrl,
    dataDir,
    readyAfterMs,
    admin: { email: places.adminEmail, password: secrets.ADMIN_PASSWORD },
    stop: () => stop(child),
  };
}

/** The command of `npm start` without npm, so that the process can be measured. */
export function startCommand(): { words: string[]; env: Record<string, string> } {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const all = (scripts.start as string).split(" ");
  const node = all.indexOf("node");
  return {
    words: all.slice(node + 1),
    env: Object.fromEntries(all.slice(0, node).map((one) => one.split("="))),
  };
}

const FREE_PORTS = { PORT: "0", OPS_PORT: "0", SANDBOX_PORT: "0" };

// All requests come from one address, so the rate limits would refuse them.
export const NO_LIMITS = { RATE_LIMIT_ADDRESS: "0", RATE_LIMIT_USER: "0", RATE_LIMIT_SIGN_IN: "0" };

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}
