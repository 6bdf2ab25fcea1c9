import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { eventually } from "../support/eventually.ts";

const OUTPUT_MAX = 20_000;
/** Most answer within a tenth of a second; a machine that builds something meanwhile takes its time. */
const START_TIMEOUT_MS = 60_000;

export interface ServerProcess {
  readonly pid: number;
  /** The latest 20,000 characters of its output. */
  output(): string;
  signal(signal: NodeJS.Signals): void;
  /** Ends it and waits for its end; nothing happens when it has ended. */
  end(signal: NodeJS.Signals): Promise<void>;
}

/**
 * Runs a server until `answers` no longer throws.
 * @throws Error with the server's last words when it ends instead
 */
export async function startProcess(
  path: string,
  words: readonly string[],
  answers: () => Promise<unknown>,
  env: Record<string, string> = {},
  limits: { timeoutMs?: number } = { timeoutMs: START_TIMEOUT_MS },
): Promise<ServerProcess> {
  let text = "";
  const child: ChildProcess = spawn(path, words, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      text = (text + chunk).slice(-OUTPUT_MAX);
    });
  }
  const ended = once(child, "exit").catch(() => undefined);
  const isOver = () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
  const killWithUs = () => child.kill("SIGKILL");
  process.once("exit", killWithUs);
  const running: ServerProcess = {
    pid: child.pid ?? 0,
    output: () => text,
    signal: (signal) => void child.kill(signal),
    async end(signal) {
      process.off("exit", killWithUs);
      if (isOver()) return;
      // A process that was stopped takes no other signal before it runs again.
      child.kill("SIGCONT");
      child.kill(signal);
      await ended;
    },
  };
  try {
    await eventually(async () => {
      if (!isOver()) await answers();
    }, limits);
    if (isOver()) throw new Error("it ended at once");
    return running;
  } catch (error) {
    await running.end("SIGKILL");
    throw new Error(`${path} does not answer: ${(error as Error).message}\n${text}`);
  }
}

/** A server that a test takes away and brings back. */
export interface Restartable {
  /** Starts it again after `stop` or `kill`, where it listened before. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** As a power failure would: SIGKILL. */
  kill(): Promise<void>;
  /** SIGSTOP and SIGCONT: it is there and does not answer. */
  freeze(): void;
  thaw(): void;
}

/** @param run starts the server; it answers when that resolves */
export async function restartable(run: () => Promise<ServerProcess>): Promise<Restartable> {
  let server = await run();
  return {
    async start() {
      server = await run();
    },
    stop: () => server.end("SIGTERM"),
    kill: () => server.end("SIGKILL"),
    freeze: () => server.signal("SIGSTOP"),
    thaw: () => server.signal("SIGCONT"),
  };
}
