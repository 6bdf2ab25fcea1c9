import { setTimeout as delay } from "node:timers/promises";
import type { Outcome, Run } from "../run.ts";
import { underLoad } from "./under-load.ts";

const EVENTS = 150;
const AWAY_MS = 1_500;

/** NATS dies and comes back without anything that it held. */
export async function natsLost(run: Run): Promise<Outcome> {
  return await underLoad(run, {
    promise: "P7",
    title: "the store of NATS is deleted in mid-run",
    events: EVENTS,
    drainedWithinMs: 30_000,
    async fault({ cluster }) {
      await cluster.nats.kill();
      cluster.nats.deleteStore();
      await delay(AWAY_MS);
      await cluster.nats.start();
      return { "away ms": AWAY_MS };
    },
  });
}
