import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { placesIn } from "../support/waybill-process.ts";

const START_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
const PROGRAM = fileURLToPath(new URL("../../platform/waybill.js", import.meta.url));

export interface End {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** From the signal that asked for it. */
  afterMs: number;
}

/** A process of the cluster, which can be ended and started again where it was. */
export interface Member {
  readonly name: string;
  readonly pid: number | undefined;
  readonly isUp: boolean;
  readonly opsUrl: string;
  /** Starts it and waits until it is ready. @param failpoints where it shall kill itself */
  start(failpoints?: string): Promise<void>;
  kill(): Promise<void>;
  /** SIGTERM; waits for the end. */
  terminate(): Promise<End>;
  output(): string;
}

export interface MemberOptions {
  name: string;
  dataDir: string;
  opsPort: number;
  env: Record<string, string>;
  /** It ended without having been asked to. */
  onDeath: (name: string, signal: NodeJS.Signals | null, code: number | null) => void;
}

export function member({ name, dataDir, opsPort, env, onDeath }: MemberOptions): Member {
  const logFile = `${dataDir}.log`;
  let child: ChildProcess | undefined;
  let exited: Promise<Omit<End, "afterMs">> | undefined;
  let wished = false;
  let ready = false;

  const end = async (signal: NodeJS.Signals): Promise<End> => {
    const sinceMs = performance.now();
    wished = true;
    ready = false;
    child?.kill(signal);
    const how = (await exited) ?? { code: null, signal: null };
    return { ...how, afterMs: Math.round(performance.now() - sinceMs) };
  };

  return {
    name,
    opsUrl: `http://127.0.0.1:${opsPort}`,
    get pid() {
      return child?.pid;
    },
    get isUp() {
      return ready;
    },
    async start(failpoints = "") {
      mkdirSync(dirname(dataDir), { recursive: true });
      const log = openSync(logFile, "a");
      const own = spawn(process.execPath, ["--max-semi-space-size=8", PROGRAM], {
        stdio: ["ignore", log, log],
        env: { PATH: process.env.PATH, ...env, DATA_DIR: dataDir, FAILPOINTS: failpoints },
      });
      closeSync(log);
      child = own;
      wished = false;
      let over = false;
      const killWithUs = () => own.kill("SIGKILL");
      process.once("exit", killWithUs);
      exited = new Promise((resolve) => {
        own.once("exit", (code, signal) => {
          process.off("exit", killWithUs);
          over = true;
          if (child === own) ready = false;
          resolve({ code, signal });
          if (!wished) onDeath(name, signal, code);
        });
      });
      const deadline = Date.now() + START_TIMEOUT_MS;
      while (!over && placesIn(dataDir)?.pid !== own.pid) {
        if (Date.now() > deadline) throw new Error(`${name} is not ready: ${tail(logFile)}`);
        await delay(POLL_MS);
      }
      if (over && !failpoints && !wished) throw new Error(`${name} ended at its start: ${tail(logFile)}`);
      // A failpoint may have killed it; then its end has been reported.
      ready = !over;
    },
    async kill() {
      await end("SIGKILL");
    },
    terminate: () => end("SIGTERM"),
    output: () => tail(logFile),
  };
}

function tail(file: string): string {
  return readFileSync(file, "utf8").slice(-3_000);
}
