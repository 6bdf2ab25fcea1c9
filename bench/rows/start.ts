import { setTimeout as delay } from "node:timers/promises";
import { median } from "../lib/load.ts";
import { newDataDir, removeDataDir, startPlatform } from "../lib/platform.ts";
import { residentMegabytes } from "../lib/process.ts";
import type { Row } from "../lib/report.ts";

const ROUNDS = 3;
const IDLE_MS = 10_000;

/** From the command to "ready": with initdb and migrations, and with the folder of an earlier run. */
export async function coldStart(): Promise<Row[]> {
  const first: number[] = [];
  const later: number[] = [];
  let megabytes = Number.NaN;
  for (let n = 0; n < ROUNDS; n++) {
    const dataDir = newDataDir();
    try {
      const fresh = await startPlatform(dataDir);
      first.push(fresh.readyAfterMs);
      await fresh.stop();
      const again = await startPlatform(dataDir);
      later.push(again.readyAfterMs);
      if (n === ROUNDS - 1) {
        await delay(IDLE_MS);
        megabytes = residentMegabytes(again.pid);
      }
      await again.stop();
    } finally {
      removeDataDir(dataDir);
    }
  }
  return [
    { what: "first start to ready, ms", measured: median(first) },
    { what: "later start to ready, ms", measured: median(later) },
    { what: "idle memory of the one process, MB", measured: megabytes },
  ];
}
