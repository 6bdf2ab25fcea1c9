import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { startHaproxy } from "../../servers/haproxy.ts";
import type { MemberName } from "../cluster.ts";
import { percentile } from "../ledger.ts";
import type { Outcome, Run } from "../run.ts";

const ENDED_WITHIN_MS = 10_000;
const SETTLE_MS = 1_000;
const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTIONS = 32;

interface Tally {
  sent: number;
  failed: Map<string, number>;
  times: number[];
}

/** Gateways and orders are restarted one after the other while customers notice nothing. */
export async function rollingRestarts(run: Run): Promise<Outcome> {
  const { cluster, scale, world } = run;
  const haproxy = await startHaproxy(
    cluster.gateways.map(({ name, port, opsPort }) => ({ name, port, opsPort })),
  );
  const problems: string[] = [];
  const late: string[] = [];
  const ends: { name: string; ms: number }[] = [];
  const tally: Tally = { sent: 0, failed: new Map(), times: [] };
  try {
    const token = await world.tokenOf(world.customers[0] ?? world.operator);
    const orderIds = [...run.ledger.confirmed].filter(
      ([, { customerId }]) => customerId === world.customers[0]?.id,
    );
    const [orderId] = orderIds[0] ?? [];
    const paths = [
      "/api/v1/products?limit=5",
      "/api/v1/orders?limit=5",
      ...(orderId ? [`/api/v1/orders/${orderId}`] : []),
    ];
    const stopping = new AbortController();
    const loading = steady(haproxy.url, paths, token, scale.requestsPerSecond, tally, stopping.signal);
    await delay(SETTLE_MS);
    const order: MemberName[] = ["gateway-1", "orders-1", "gateway-2", "orders-2"];
    for (let restart = 0; restart < scale.restarts; restart += 1) {
      const name = order[restart % order.length] as MemberName;
      const { code, signal, afterMs } = await cluster.members[name].terminate();
      ends.push({ name, ms: afterMs });
      if (code !== 0) problems.push(`${name} ended with ${signal ?? code} instead of 0`);
      if (afterMs > ENDED_WITHIN_MS) late.push(`${name} took ${afterMs} ms to end`);
      await cluster.members[name].start();
      await delay(SETTLE_MS);
    }
    stopping.abort();
    await loading;
  } finally {
    await haproxy.stop();
  }
  for (const [why, count] of tally.failed) problems.push(`${count} requests failed: ${why}`);
  const [slowest] = ends.toSorted((one, other) => other.ms - one.ms);
  return {
    promise: "P10",
    title: "rolling restarts behind HAProxy",
    figures: {
      haproxy: haproxy.version,
      restarts: ends.length,
      requests: tally.sent,
      "wanted a second": scale.requestsPerSecond,
      failed: [...tally.failed.values()].reduce((all, count) => all + count, 0),
      "p50 ms": percentile(tally.times, 0.5),
      "p99 ms": percentile(tally.times, 0.99),
      "slowest ms": Math.round(Math.max(...tally.times)),
      "slowest end": `${slowest?.name} ${slowest?.ms} ms`,
    },
    late,
    problems,
  };
}

/** Requests at a steady pace over kept connections; none is repeated. */
async function steady(
  url: string,
  paths: readonly string[],
  token: string,
  aSecond: number,
  tally: Tally,
  stop: AbortSignal,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const running = new Set<Promise<void>>();
  const startedMs = performance.now();
  while (!stop.aborted) {
    const due = Math.floor(((performance.now() - startedMs) / 1000) * aSecond);
    for (; tally.sent < due; tally.sent += 1) {
      const path = paths[tally.sent % paths.length] ?? "";
      const one: Promise<void> = get(url + path, agent, token, tally, startedMs).finally(() =>
        running.delete(one),
      );
      running.add(one);
    }
    await delay(5);
  }
  await Promise.all(running);
  agent.destroy();
}

function get(url: string, agent: Agent, token: string, tally: Tally, startedMs: number): Promise<void> {
  const sinceMs = performance.now();
  return new Promise((resolve) => {
    const end = (failure?: string) => {
      tally.times.push(performance.now() - sinceMs);
      if (failure) {
        const what = `${failure} ${new URL(url).pathname.replace(/[0-9a-f-]{36}/, ":id")} at ${Math.round((performance.now() - startedMs) / 1000)} s`;
        tally.failed.set(what, (tally.failed.get(what) ?? 0) + 1);
      }
      resolve();
    };
    const asked = request(
      url,
      {
        agent,
        headers: { Authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", (error) => end(error.message));
        response.on("end", () => {
          const { statusCode = 0 } = response;
          const text = Buffer.concat(chunks).toString();
          end(
            statusCode === 200
              ? undefined
              : `${statusCode} ${/"code":"\w+"/.exec(text)?.[0] ?? text.slice(0, 80)}`,
          );
        });
      },
    );
    asked.on("error", (error) => end(error.message));
    asked.end();
  });
}
