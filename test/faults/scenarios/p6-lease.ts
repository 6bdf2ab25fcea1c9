import { query } from "../../support/sql.ts";
import { acknowledged, percentile } from "../ledger.ts";
import { load, untilEvents } from "../load.ts";
import { compare, deliveryTimes, type Outcome, quiet, type Run } from "../run.ts";

const HEALTHY_EVENTS = 60;
const HEALTHY_CONCURRENCY = 2;
const RESUMED_WITHIN_MS = 15_000;
const HANDLED_P99_MS = 250;
/** Of fewer messages a p99 says nothing. */
const LEAST_MEASURED = 50;

/** The time from commit to handler while nothing is wrong, and that work goes on whose holder was killed. */
export async function leaseHolderKilled(run: Run): Promise<Outcome> {
  const { cluster, ledger, random, world } = run;
  const before = acknowledged(ledger);
  await quiet(run);
  const [now] = await query<{ at: string }>(cluster.url("orders"), "SELECT now()::text AS at");
  const living = load(world, ledger, random);
  await living.run(untilEvents(ledger, HEALTHY_EVENTS), HEALTHY_CONCURRENCY);
  await quiet(run);
  const times = await deliveryTimes(run, now?.at ?? "");
  const p99 = percentile(times, 0.99);

  const problems =
    times.length < LEAST_MEASURED
      ? [`only ${times.length} messages were measured while nothing was wrong`]
      : [];
  const late = p99 > HANDLED_P99_MS ? [`commit to handler: p99 ${p99} ms`] : [];
  const resumed: Record<string, number> = {};
  // Effects outside the database run under a lease: a push, a document.
  for (const [name, place] of [
    ["notifications", "consumer.performed"],
    ["orders-1", "consumer.performed"],
  ] as const) {
    const others = name === "orders-1" ? (["orders-2"] as const) : ([] as const);
    for (const other of others) await cluster.members[other].terminate();
    await cluster.members[name].terminate();
    const forerunner = cluster.onDeath;
    const died = new Promise<number>((resolve) => {
      cluster.onDeath = (who, signal, code) => {
        if (who === name && signal === "SIGKILL") resolve(performance.now());
        else forerunner(who, signal, code);
      };
    });
    await cluster.members[name].start(place);
    const one = load(world, ledger, random);
    const wait = one.run(untilEvents(ledger, 4), 1);
    const diedMs = await died;
    cluster.onDeath = forerunner;
    await Promise.all([name, ...others].map((each) => cluster.members[each as typeof name].start()));
    await wait;
    // The clock runs until everything that was begun before the death has been handled.
    const { last } = await quiet(run);
    const ms = Math.round(performance.now() - diedMs);
    resumed[`${name} resumed ms`] = ms;
    if (ms > RESUMED_WITHIN_MS)
      late.push(`${name} was killed with a lease and done after ${ms} ms: ${JSON.stringify(last)}`);
    problems.push(...one.strange);
  }
  return {
    promise: "P6",
    title: "the holder of a lease is killed",
    figures: {
      events: acknowledged(ledger) - before,
      "messages measured": times.length,
      "commit to handler p50 ms": percentile(times, 0.5),
      "commit to handler p99 ms": p99,
      ...resumed,
    },
    late,
    problems: [...problems, ...living.strange, ...(await compare(run))],
  };
}
