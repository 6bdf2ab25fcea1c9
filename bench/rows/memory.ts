import type { Agent } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { drive, drivePaced } from "../lib/load.ts";
import { residentMegabytes } from "../lib/process.ts";
import type { Row } from "../lib/report.ts";
import { onStage, type Stage } from "../lib/stage.ts";
import { oneLife } from "./order-life.ts";

const CLIENTS = 16;
const SIZES = { partners: 50, products: 4, customers: CLIENTS };
const WARM_UP_LIVES = 1_000;
const MINUTES = Number(process.env.BENCH_MINUTES ?? 10);
const LIGHT_LOAD = 0.7;
const SAMPLE_MS = 5_000;

/** The resident memory of the one process during minutes of order lives at 70 % of the rate that 16 clients reach. */
export const memoryUnderLoad = (): Promise<Row[]> => onStage(SIZES, measure);

async function measure({ platform, world, database }: Stage): Promise<Row[]> {
  const life = (client: number, agent: Agent) => oneLife(platform, world, client, agent);
  const warmUp = await drive(CLIENTS, { units: WARM_UP_LIVES }, life);
  await database.drained();
  const samples: number[] = [];
  const sampling = new AbortController();
  const sampled = (async () => {
    while (!sampling.signal.aborted) {
      samples.push(residentMegabytes(platform.pid));
      await delay(SAMPLE_MS, undefined, { signal: sampling.signal }).catch(() => undefined);
    }
  })();
  const { errors } = await drivePaced(warmUp.perSecond * LIGHT_LOAD, MINUTES * 60_000, life);
  sampling.abort();
  await sampled;
  const third = Math.ceil(samples.length / 3);
  const mean = (some: number[]) => some.reduce((sum, value) => sum + value, 0) / some.length;
  const [first, last] = [mean(samples.slice(0, third)), mean(samples.slice(-third))];
  return [
    {
      what: `memory in the last third of ${MINUTES} min of lives, MB`,
      measured: last,
      baseline: first,
      ratio: last / first,
    },
    { what: "the same, largest, MB", measured: Math.max(...samples) },
    { what: "the same, lives that failed", measured: errors },
  ];
}
