import { setTimeout as delay } from "node:timers/promises";
import type { Failpoint } from "../../../lib/failpoint.ts";
import type { MemberName } from "../cluster.ts";
import { follow } from "../followers.ts";
import { acknowledged } from "../ledger.ts";
import { load, untilEvents } from "../load.ts";
import { killPostgres } from "../postgres.ts";
import { repeatAcknowledged } from "../repeats.ts";
import { answerFigures, compare, type Outcome, quiet, type Run, untilUp } from "../run.ts";

const DRAINED_WITHIN_MS = 30_000;
const OUTAGE_MS = 300;
const POLL_MS = 20;
const MOST_VISITS = 12;
/** So many kills are enough to have died at each place of orders. */
const KILLS_FOR_ALL_PLACES = 200;

const consuming: Failpoint[] = [
  "consumer.accepting",
  "consumer.accepted",
  "consumer.applied",
  "consumer.performed",
  "consumer.committed",
];
const relaying: Failpoint[] = ["relay.claimed", "relay.published", "relay.sent"];
const everywhere: Failpoint[] = [...consuming, ...relaying, "transaction.ended", "transaction.ending"];
const ofOrders: Failpoint[] = [
  // Orders applies nothing but the leaving of customers, and these stay.
  ...everywhere.filter((place) => place !== "consumer.applied"),
  "idempotency.claimed",
  "idempotency.finishing",
  "idempotency.stored",
  "refund.claimed",
  "refund.asked",
  "refund.ended",
];
/** Around each commit, acknowledgement, publication and call to the outside. */
const failpoints: Partial<Record<MemberName, Failpoint[]>> = {
  "orders-1": ofOrders,
  "orders-2": ofOrders,
  partners: everywhere,
  notifications: everywhere,
};
const victims = [
  ...["orders-1", "orders-1", "orders-2", "orders-2", "partners", "partners", "notifications"],
  ...["gateway-1", "gateway-2", "identity", "media", "nats", "redis", "documents", "postgres"],
] as const;

/** Kills of whatever there is, at random moments and where it hurts, while payments and callbacks come in. */
export async function callbacksUnderKills(run: Run): Promise<Outcome> {
  const { cluster, ledger, random, scale } = run;
  const before = acknowledged(ledger);
  const killed: Record<string, number> = {};
  const fired = new Map<string, number>();
  const armed = new Map<MemberName, Failpoint>();
  const refundsBefore = run.world.bank.repeats;
  const strangeEnds: string[] = [];
  let finished = false;
  let deaths = 0;

  const count = (how: string) => {
    deaths += 1;
    killed[how] = (killed[how] ?? 0) + 1;
  };
  const start = async (name: MemberName) => {
    const places = failpoints[name];
    const arms = places && !finished && deaths < scale.kills && random.chance(0.6);
    // Where it has hurt least so far, so that no place is left out by chance.
    const times = (place: Failpoint) => fired.get(`${serviceOf(name)} ${place}`) ?? 0;
    const fewest = Math.min(...(places ?? []).map(times));
    const place = arms ? random.pick(places.filter((one) => times(one) === fewest)) : undefined;
    if (place) armed.set(name, place);
    else armed.delete(name);
    await cluster.members[name]
      .start(place && `${place}:${random.between(1, MOST_VISITS)}`)
      .catch((error: Error) => strangeEnds.push(error.message));
  };
  const forerunner = cluster.onDeath;
  cluster.onDeath = (name, signal, code) => {
    const place = armed.get(name);
    if (signal === "SIGKILL" && place) {
      count(`at ${place}`);
      const here = `${serviceOf(name)} ${place}`;
      fired.set(here, (fired.get(here) ?? 0) + 1);
    } else strangeEnds.push(`${name} ended by itself (${signal ?? code}): ${cluster.members[name].output()}`);
    void start(name);
  };
  const kill = async (victim: MemberName | (typeof victims)[number]) => {
    if (victim === "postgres") {
      count(`random: ${victim}`);
      await killPostgres(cluster);
    } else if (victim === "nats" || victim === "redis" || victim === "documents") {
      await cluster[victim].kill();
      count(`random: ${victim}`);
      await delay(OUTAGE_MS);
      await cluster[victim].start();
    } else {
      if (!cluster.members[victim].isUp) return;
      await cluster.members[victim].kill();
      count(`random: ${victim}`);
      await start(victim);
    }
  };

  const followers = await follow(run);
  const load1 = load(run.world, ledger, random);
  const until = untilEvents(ledger, scale.events);
  const sinceMs = performance.now();
  const killing = (async () => {
    while (!finished && deaths < scale.kills) {
      const due = Math.floor(((acknowledged(ledger) - before) / scale.events) * (scale.kills + 1));
      if (deaths < due) await kill(random.pick(victims));
      else await delay(POLL_MS);
    }
  })();
  await load1.run(until, scale.concurrency);
  finished = true;
  await killing;
  while (deaths < scale.kills) await kill(random.pick(victims));
  await untilUp(run);
  // An armed failpoint would kill a process in the next scenario. These are the last kills: afterwards all queues
  // drain.
  for (const name of [...armed.keys()]) await kill(name);
  await untilUp(run);
  cluster.onDeath = forerunner;
  const loadedMs = Math.round(performance.now() - sinceMs);
  const { ms: drainedMs, last } = await quiet(run);
  // A partner that was notified late answers by callbacks, which are no repeats.
  await load1.settled();
  await quiet(run);
  const events = acknowledged(ledger) - before;
  const repeats = await repeatAcknowledged(run);
  await quiet(run);
  const followed = await followers.judge();
  const spared = ofOrders.filter((place) => !fired.has(`orders ${place}`));
  const again = run.world.bank.repeats - refundsBefore;
  return {
    promise: "P1",
    title: "callbacks under kills",
    figures: {
      events,
      kills: deaths,
      where: Object.entries(killed)
        .map(([how, times]) => `${how} ${times}`)
        .join(", "),
      "places where orders did not die": spared.join(", ") || "none",
      orders: load1.lives,
      "load s": Math.round(loadedMs / 1000),
      "drained ms": drainedMs,
      "refunds asked for again": again,
      "streams connected": followed.connections,
      "events of streams": followed.events,
      ...repeats.figures,
      ...answerFigures(ledger),
    },
    late: drainedMs > DRAINED_WITHIN_MS ? [`drained after ${drainedMs} ms: ${JSON.stringify(last)}`] : [],
    problems: [
      ...strangeEnds,
      ...load1.strange,
      ...repeats.problems,
      ...followed.problems,
      ...(again > 0 ? [`${again} refunds were asked for again, of a bank that tells what it has done`] : []),
      ...(scale.kills >= KILLS_FOR_ALL_PLACES ? spared.map((place) => `orders never died at ${place}`) : []),
      ...(await compare(run)),
    ],
  };
}

/** Replicas are one service. */
function serviceOf(name: MemberName): string {
  return name.replace(/-\d$/, "");
}
