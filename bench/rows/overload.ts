import type { Agent } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { drive, drivePaced, percentile, send } from "../lib/load.ts";
import type { Row } from "../lib/report.ts";
import { onStage, type Stage } from "../lib/stage.ts";
import { type Send, stepsOfLife } from "./order-life.ts";

const CLIENTS = 32;
const SIZES = { partners: 50, products: 4, customers: CLIENTS };
const WARM_UP_LIVES = 300;
const SATURATE_MS = 10_000;
const OVERLOAD = 2;
const OVERLOAD_MS = 15_000;
/** A client that has begun an order repeats a refused step; the bank repeats its callback. */
const REPEATS_MAX = 10;

class Refused extends Error {}

/**
 * Order lives arrive at twice the rate that 32 clients reach: how many are completed, how long an admitted request takes,
 * and how long a refusal.
 */
export const overload = (): Promise<Row[]> => onStage(SIZES, measure);

async function measure({ platform, world, database }: Stage): Promise<Row[]> {
  const plain: Send = async (agent, url, options) => {
    const answer = await send(agent, url, options);
    if (answer.status >= 300) throw new Error(`${url}: ${answer.status}`);
    return answer;
  };
  const life = (client: number, agent: Agent) => stepsOfLife(platform, world, client, agent, plain);
  await drive(CLIENTS, { units: WARM_UP_LIVES }, life);
  const saturated = await drive(CLIENTS, { ms: SATURATE_MS }, life);
  await database.drained();

  const admittedMs: number[] = [];
  const refusedMs: number[] = [];
  let [refusedLives, withoutRetryAfter] = [0, 0];
  const patient: Send = async (agent, url, options) => {
    for (let repeats = 0; ; repeats++) {
      const started = performance.now();
      const answer = await send(agent, url, options);
      const tookMs = performance.now() - started;
      if (answer.status < 300) {
        admittedMs.push(tookMs);
        return answer;
      }
      if (answer.status !== 503) throw new Error(`${url}: ${answer.status}`);
      refusedMs.push(tookMs);
      const waitSeconds = Number(answer.headers["retry-after"]);
      if (!(waitSeconds > 0)) withoutRetryAfter++;
      if (url.endsWith("/check") || repeats === REPEATS_MAX) throw new Refused();
      await delay((waitSeconds || 1) * 1000);
    }
  };
  const started = performance.now();
  let completed = 0;
  const measured = await drivePaced(saturated.perSecond * OVERLOAD, OVERLOAD_MS, async (number, agent) => {
    try {
      await stepsOfLife(platform, world, number, agent, patient);
      completed++;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refusedLives++;
    }
  });
  const goodput = completed / ((performance.now() - started) / 1000);
  const p99 = (values: number[]) =>
    percentile(
      values.sort((a, b) => a - b),
      0.99,
    );
  return [
    {
      what: "lives/s completed at twice the rate, against the maximum",
      measured: goodput,
      baseline: saturated.perSecond,
      ratio: goodput / saturated.perSecond,
    },
    { what: "the same, p99 of an admitted request, ms", measured: p99(admittedMs) },
    ...(refusedMs.length > 0 ? [{ what: "the same, p99 of a refusal, ms", measured: p99(refusedMs) }] : []),
    { what: "the same, lives refused", measured: refusedLives },
    { what: "the same, refusals without Retry-After", measured: withoutRetryAfter },
    { what: "the same, lives that failed otherwise", measured: measured.errors },
  ];
}
