import { setTimeout as delay } from "node:timers/promises";
import { onTheWay } from "../arrivals.ts";
import type { Outcome, Run } from "../run.ts";
import { underLoad } from "./under-load.ts";

const EVENTS = 150;
const AWAY_MS = 1_500;
/** So much is to be nowhere but in the store when it is deleted. */
const LEAST_LOST = 10;
const FILLED_WITHIN_MS = 20_000;
const POLL_MS = 50;

/** NATS is killed and restarted without its data, which includes messages that no other part had. */
export async function natsLost(run: Run): Promise<Outcome> {
  return await underLoad(run, {
    promise: "P7",
    title: "the store of NATS is deleted in mid-run",
    events: EVENTS,
    caughtUpWithinMs: 30_000,
    async fault({ cluster }) {
      // Messages to notifications have no reader: the stream has acknowledged them, and they have left the outbox.
      await cluster.members.notifications.kill();
      const untilMs = performance.now() + FILLED_WITHIN_MS;
      const inStore = () => onTheWay(cluster.url, "notifications");
      while ((await inStore()) < LEAST_LOST && performance.now() < untilMs) await delay(POLL_MS);
      await cluster.nats.kill();
      const lost = await inStore();
      cluster.nats.deleteStore();
      await delay(AWAY_MS);
      await cluster.nats.start();
      const at = new Date();
      await cluster.members.notifications.start();
      return {
        at,
        figures: { "away ms": AWAY_MS, "lost with the store": lost },
        problems: lost < LEAST_LOST ? [`only ${lost} messages were lost with the store`] : [],
      };
    },
  });
}
