import { setTimeout as delay } from "node:timers/promises";
import { newId } from "../../../lib/ids.ts";
import { home } from "../../e2e/kitchen.ts";
import { startHaproxy } from "../../servers/haproxy.ts";
import type { MemberName } from "../cluster.ts";
import { percentile } from "../ledger.ts";
import { compare, type Outcome, quiet, type Run } from "../run.ts";
import { failures, newTally, type Shot, type Steady, steady } from "./steady.ts";

const ENDED_WITHIN_MS = 10_000;
const SETTLE_MS = 1_000;
/** Of so many requests two are checks and one confirms what was checked; the others read. */
const ROUND = 20;
const CHECKS = [4, 14];
const CONFIRMATION = 9;

const replicated: MemberName[] = ["gateway-1", "orders-1", "gateway-2", "orders-2"];
/** While one of these is away there is no other. */
const single: MemberName[] = ["partners", "notifications", "identity", "media"];

/**
 * Gateways and orders are restarted one after the other while customers, who repeat nothing but what has a key, notice
 * nothing. Then each of the other processes is ended under the same load, which may then be answered 503.
 */
export async function rollingRestarts(run: Run): Promise<Outcome> {
  const { cluster, scale } = run;
  const haproxy = await startHaproxy(
    cluster.gateways.map(({ name, port, opsPort }) => ({ name, port, opsPort })),
  );
  const problems: string[] = [];
  const late: string[] = [];
  const ends: { name: string; ms: number }[] = [];
  const restart = async (name: MemberName) => {
    const { code, signal, afterMs } = await cluster.members[name].terminate();
    ends.push({ name, ms: afterMs });
    if (code !== 0) problems.push(`${name} ended with ${signal ?? code} instead of 0`);
    if (afterMs > ENDED_WITHIN_MS) late.push(`${name} took ${afterMs} ms to end`);
    await cluster.members[name].start();
    await delay(SETTLE_MS);
  };
  const next = await customerAtWork(run);
  const under = async (isBorne: Steady["isBorne"], names: readonly MemberName[]) => {
    const tally = newTally();
    const stopping = new AbortController();
    const aSecond = scale.requestsPerSecond;
    const loading = steady({ url: haproxy.url, next, aSecond, tally, isBorne, stop: stopping.signal });
    await delay(SETTLE_MS);
    for (const name of names) await restart(name);
    stopping.abort();
    await loading;
    problems.push(...failures(tally).lines);
    return tally;
  };
  const rounds = Array.from({ length: scale.restarts }, (_, n) => replicated[n % replicated.length]);
  try {
    const rolling = await under(() => false, rounds as MemberName[]);
    const waiting = await under((status) => status === 503 || (status > 0 && status < 500), single);
    const [slowest] = ends.toSorted((one, other) => other.ms - one.ms);
    await quiet(run);
    return {
      promise: "P10",
      title: "rolling restarts behind HAProxy",
      figures: {
        haproxy: haproxy.version,
        restarts: rounds.length,
        requests: rolling.sent,
        confirmed: rolling.byStatus.get(201) ?? 0,
        "confirmations repeated": rolling.repeated,
        "wanted a second": scale.requestsPerSecond,
        failed: failures(rolling).count,
        "p50 ms": percentile(rolling.times, 0.5),
        "p99 ms": percentile(rolling.times, 0.99),
        "slowest ms": Math.round(Math.max(...rolling.times)),
        "slowest end": `${slowest?.name} ${slowest?.ms} ms`,
        "others ended": ends
          .slice(rounds.length)
          .map(({ name, ms }) => `${name} ${ms} ms`)
          .join(", "),
        "answers meanwhile": [...waiting.byStatus].map(([status, count]) => `${status}: ${count}`).join(", "),
      },
      late,
      problems: [...problems, ...(await compare(run))],
    };
  } finally {
    await haproxy.stop();
  }
}

/** A customer who looks, checks, and confirms with a key what was checked. @returns the request by its number */
async function customerAtWork({ world, ledger }: Run): Promise<(count: number) => Shot> {
  const [customer] = world.customers;
  const [place] = world.kitchens;
  if (!customer || !place) throw new Error("P10 wants a customer and a kitchen");
  const token = await world.tokenOf(customer);
  const [orderId] = [...ledger.confirmed].find(([, { customerId }]) => customerId === customer.id) ?? [];
  const paths = ["/products?limit=5", "/orders?limit=5", ...(orderId ? [`/orders/${orderId}`] : [])];
  const checked: { id: string; totalMinor: number }[] = [];
  const lines = [{ product_id: place.products[0], quantity: 1 }];

  return (count) => {
    const turn = count % ROUND;
    if (CHECKS.includes(turn)) {
      return {
        ...{ operation: "POST /orders/check", token, wants: 200 },
        body: { partner_id: place.partnerId, lines, address: home },
        heard(body) {
          const { check_id: id, total } = body as { check_id: string; total: { amount_minor: number } };
          checked.push({ id, totalMinor: total.amount_minor });
        },
      };
    }
    const check = turn === CONFIRMATION ? checked.shift() : undefined;
    if (check) {
      return {
        ...{ operation: "POST /orders/confirm", token, key: newId(), wants: 201 },
        body: { check_id: check.id, bank_id: world.bankId },
        heard(body) {
          const of = { customerId: customer.id, partnerId: place.partnerId, quantities: [1] };
          const { order_id: id } = body as { order_id: string };
          ledger.confirmed.set(id, { ...of, totalMinor: check.totalMinor });
        },
      };
    }
    return { operation: `GET ${paths[count % paths.length]}`, token, wants: 200 };
  };
}
