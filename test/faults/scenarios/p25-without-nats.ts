import { setTimeout as delay } from "node:timers/promises";
import { newId } from "../../../lib/ids.ts";
import { home, type Kitchen } from "../../e2e/kitchen.ts";
import { percentile } from "../ledger.ts";
import { load } from "../load.ts";
import { compare, type Outcome, quiet, type Run } from "../run.ts";
import { healthyCustomers } from "./healthy-customers.ts";
import { failures, newTally, steady } from "./steady.ts";

const REQUESTS_A_SECOND = 20;
/** Three times the time after which a node without heartbeats leaves the registry. */
const AWAY_MS = 30_000;
/** Requests that began before NATS went away, and those on their way to it. */
const SETTLE_MS = 500;

/**
 * NATS is away for half a minute. Customers look at products and orders, check, confirm and pay all the time over the
 * bridge, one signs in, and a courier delivers an order; partners are told afterwards. Readiness is degraded, so that the gateways get their requests.
 */
export async function withoutNats(run: Run): Promise<Outcome> {
  const { cluster } = run;
  const acts = await peopleAtWork(run);
  const { next } = await healthyCustomers(run);
  const tally = newTally();
  const stopping = new AbortController();
  const problems: string[] = [];
  await cluster.proxies.nats.cut();
  let states: string[] = [];
  try {
    await delay(SETTLE_MS);
    const loads = cluster.gateways.map(({ url }) =>
      steady({
        ...{ url, next, aSecond: REQUESTS_A_SECOND / cluster.gateways.length, tries: 1 },
        ...{ tally, isBorne: () => false, stop: stopping.signal },
      }),
    );
    await delay(AWAY_MS / 2);
    for (const { operation, wants, ...request } of acts) {
      const { status } = await run.world.client.send(operation, {
        ...request,
        ...(request.token && { key: newId() }),
      });
      if (status !== wants) problems.push(`${operation} was answered ${status} while NATS was away`);
    }
    await delay(AWAY_MS / 2);
    states = await Promise.all(Object.values(cluster.members).map(readinessOf));
    stopping.abort();
    await Promise.all(loads);
  } finally {
    stopping.abort();
    await cluster.proxies.nats.heal();
  }
  for (const state of states) if (!state.endsWith("200 degraded")) problems.push(`readiness: ${state}`);
  const { ms: drainedMs } = await quiet(run);
  const { count, lines } = failures(tally);
  return {
    promise: "P25",
    title: "half a minute without NATS",
    figures: {
      requests: tally.sent,
      failed: count,
      answers: [...tally.byStatus].map(([status, times]) => `${status}: ${times}`).join(", "),
      "p50 ms": percentile(tally.times, 0.5),
      "p99 ms": percentile(tally.times, 0.99),
      "drained ms": drainedMs,
    },
    late: [],
    problems: [...problems, ...lines, ...(await compare(run))],
  };
}

/** A customer who signs in, and a courier who delivers an order that is ready. */
async function peopleAtWork(run: Run) {
  const { world, ledger } = run;
  const living = load(world, ledger, run.random);
  world.mood = () => 204;
  const placed = await living.place(world.kitchens[0] as Kitchen, "ready");
  if (!placed) throw new Error("no order was placed");
  await living.pay(placed);
  await living.settled();
  await quiet(run);
  const { orderId, customer } = placed;
  const token = await world.tokenOf(world.courier);
  const { body } = await world.client.settle<{ pin?: string; status: string }>(`GET /orders/${orderId}`, {
    token: await world.tokenOf(customer),
  });
  if (body.status !== "ready") throw new Error(`the order is ${body.status} instead of ready`);
  const { email, password } = customer;
  return [
    { operation: "POST /sessions", body: { email, password }, wants: 201 },
    { operation: `POST /orders/${orderId}/assign`, token, wants: 200 },
    {
      ...{ operation: `POST /orders/${orderId}/location`, token, wants: 204 },
      body: { ...home.position },
    },
    { operation: `POST /orders/${orderId}/deliver`, token, body: { pin: body.pin }, wants: 200 },
  ];
}

async function readinessOf({ name, opsUrl }: { name: string; opsUrl: string }): Promise<string> {
  const response = await fetch(`${opsUrl}/readyz`);
  const { status } = (await response.json()) as { status: string };
  return `${name} ${response.status} ${status}`;
}
