import { type AddressInfo, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { newId } from "../../../lib/ids.ts";
import { home, type Kitchen, kitchen, signed } from "../../e2e/kitchen.ts";
import { admin } from "../../e2e/world.ts";
import { paymentReport } from "../bank.ts";
import { coupling } from "../coupling.ts";
import { cpuMeter, loadOfMinute } from "../cpu.ts";
import { percentile } from "../ledger.ts";
import { type Load, load, type Placed } from "../load.ts";
import { moodySystem } from "../moody-system.ts";
import { compare, type Outcome, quiet, type Run } from "../run.ts";
import type { Somebody } from "../world.ts";
import { healthyCustomers } from "./healthy-customers.ts";
import { failures, newTally, steady, type Tally } from "./steady.ts";

/** The request rate of healthy customers, at both gateways together. */
const HEALTHY_A_SECOND = 40;
/** One after the other, so that the noise of the machine shows as what windows of a kind differ by. */
const WINDOWS = ["alone", "beside", "alone", "beside", "alone", "beside"] as const;
/** Of the time of a toxic: four seconds in the short form. */
const WINDOW_SHARE = 1.6;
const WARM_UP_MS = 3_000;
const SETTLE_MS = 750;
const REPORTED_AGAIN_MS = 250;
const STORE_LATENCY_MS = 3_000;

type Kind = (typeof WINDOWS)[number];

/** A failure of one party, and those who meet it. */
interface Trouble {
  name: string;
  /** So many meet it again and again, each after a pause: few, since isolation is to be shown and not overload. */
  loops: number;
  pauseMs: number;
  /** Puts the fault in place. @returns what takes it away */
  begin(): Promise<() => unknown>;
  /** One request that meets the fault. @returns its status */
  meet(): Promise<number>;
}

/** The measurements of one window. */
interface Window {
  kind: Kind;
  tally: Tally;
  /** From the bank's report of a payment until the partner's webhook. */
  told: number[];
  cpu: number;
  answers: Map<string, Map<number, number>>;
}

/**
 * Healthy customers at a steady rate, alone and beside a dead bank, an order whose row is locked, a product that is
 * wanted by many while its row is locked, a slow document store and a partner that hangs.
 */
export async function isolation(run: Run): Promise<Outcome> {
  const { world, scale } = run;
  const living = load(world, run.ledger, run.random);
  const healthy = await healthyCustomers(run);
  const { troubles, rest, close } = await makeTroubles(run, living);
  const problems: string[] = [];
  const windows: Window[] = [];
  const lasts = WINDOW_SHARE * scale.toxicMs;
  await underLoad(run, healthy, "alone", WARM_UP_MS, []);
  for (const kind of WINDOWS) {
    windows.push(await underLoad(run, healthy, kind, lasts, kind === "beside" ? troubles : []));
    if (kind === "beside") await rest();
    await delay(SETTLE_MS);
  }
  await close();
  const { ms: drainedMs } = await quiet(run);
  for (const { name } of troubles) {
    const answers = windows.flatMap((window) => [...(window.answers.get(name) ?? [])]);
    const isFault =
      name === "hanging partner" ? answers.length > 0 : answers.some(([status]) => status >= 400);
    if (!isFault) problems.push(`${name}: nothing failed, so nothing was shown`);
  }
  const failed = ({ tally }: Window) => failures(tally).count;
  const found = coupling(
    windows.map((window) => ({
      ...{ kind: window.kind, failed: failed(window) },
      times: { answers: window.tally.times, "partners told": window.told },
    })),
  );
  const beside = windows.filter(({ kind }) => kind === "beside");
  const p99 = (kind: Kind) =>
    percentile(
      windows.filter((window) => window.kind === kind).flatMap(({ tally }) => tally.times),
      0.99,
    );
  const each = (show: (window: Window) => unknown) =>
    windows.map((one) => `${one.kind} ${show(one)}`).join(", ");
  return {
    promise: "P20",
    title: "healthy customers beside a dead bank, held rows, a slow store and a hanging partner",
    figures: {
      "healthy requests": each(({ tally }) => tally.sent),
      failed: each(failed),
      "p50 ms": each(({ tally }) => percentile(tally.times, 0.5)),
      "p99 ms": each(({ tally }) => percentile(tally.times, 0.99)),
      "p99 of all alone ms": p99("alone"),
      "p99 of all beside ms": p99("beside"),
      "partners told p99 ms": each((window) => percentile(window.told, 0.99)),
      "troubled answers": troubles
        .map(({ name }) => `${name} ${statuses(beside.map(({ answers }) => answers.get(name)))}`)
        .join("; "),
      "machine busy %": each(({ cpu }) => cpu),
      "load average": loadOfMinute(),
      "drained ms": drainedMs,
    },
    // Another program of the machine can make requests slow or fail, so that it counts when it is seen twice.
    late: found.length === 0 ? [] : [...found, ...beside.flatMap(({ tally }) => failures(tally).lines)],
    problems: [...problems, ...living.strange, ...(await compare(run))],
  };
}

/** One window: healthy customers at their rate, and those who meet the troubles, until its time is over. */
async function underLoad(
  run: Run,
  { next, toldTimes }: Awaited<ReturnType<typeof healthyCustomers>>,
  kind: Kind,
  lastsMs: number,
  troubles: readonly Trouble[],
): Promise<Window> {
  const stopping = new AbortController();
  const answers: Window["answers"] = new Map();
  const ends = await Promise.all(troubles.map((trouble) => trouble.begin()));
  const meetings = troubles.flatMap(({ name, loops, pauseMs, meet }) => {
    const byStatus = new Map<number, number>();
    answers.set(name, byStatus);
    return Array.from({ length: loops }, async () => {
      while (!stopping.signal.aborted) {
        const status = await meet();
        byStatus.set(status, (byStatus.get(status) ?? 0) + 1);
        await delay(pauseMs);
      }
    });
  });
  const tallies = run.cluster.gateways.map(() => newTally());
  const busy = cpuMeter();
  try {
    const loads = run.cluster.gateways.map(({ url }, index) =>
      steady({
        ...{ url, next, aSecond: HEALTHY_A_SECOND / run.cluster.gateways.length, tries: 1 },
        ...{ tally: tallies[index] as Tally, isBorne: () => false, stop: stopping.signal },
      }),
    );
    await delay(lastsMs);
    stopping.abort();
    const cpu = busy();
    await Promise.all(loads);
    return { kind, tally: merged(tallies), told: await toldTimes(), cpu, answers };
  } finally {
    stopping.abort();
    await Promise.all(ends.map((end) => end()));
    await Promise.all(meetings);
  }
}

/** The troubles, each with customers and, where it can be, a partner of its own. */
async function makeTroubles(run: Run, living: Load) {
  const { cluster, world } = run;
  const root = await admin(world.api);
  const [, , first, second] = world.customers as [Somebody, Somebody, Somebody, Somebody];
  const hot = world.kitchens[2] as Kitchen;
  const deadBank = await silentServer();
  world.leaving.push(() => deadBank.close());
  const { id: deadBankId } = await world.api.ok<{ id: string }>("POST /banks", {
    token: root,
    key: newId(),
    body: {
      title: "Dead bank",
      adapter: "sandbox",
      settings: { apiKey: newId(), webhookSecret: world.webhookSecret },
      webcheckout_url: deadBank.url,
      active: true,
    },
  });
  const hanging = await kitchen(world.api, root, [{ price: 500 }]);
  const system = await moodySystem(run, hanging.partnerId, "well");
  world.leaving.push(system.stop, hanging.close);
  await world.api.ok(`PUT /partners/${hanging.partnerId}/webhook`, {
    token: root,
    key: newId(),
    body: { url: system.url, enabled: true },
  });
  const buy = async (who: Somebody, { partnerId, products }: Kitchen, bankId: string): Promise<number> => {
    const token = await world.tokenOf(who);
    const lines = [{ product_id: products[0], quantity: 1 }];
    const check = await world.client.send<{ check_id: string; total: { amount_minor: number } }>(
      "POST /orders/check",
      { token, body: { partner_id: partnerId, lines, address: home } },
    );
    if (check.status !== 200) return check.status;
    const { check_id: id, total } = check.body;
    const { status, body } = await world.client.send<{ order_id: string }>("POST /orders/confirm", {
      ...{ token, key: newId(), body: { check_id: id, bank_id: bankId } },
    });
    if (status === 201) {
      const of = { customerId: who.id, partnerId, quantities: [1] };
      run.ledger.confirmed.set(body.order_id, { ...of, totalMinor: total.amount_minor });
    }
    return status;
  };
  // One for each time that the troubles begin.
  const victims: (Placed & { report: () => Promise<number> })[] = [];
  for (const kind of WINDOWS) {
    const victim = kind === "beside" ? await living.place(hot) : undefined;
    if (victim) victims.push({ ...victim, report: reportOf(run, victim) });
  }
  let [victim] = victims;
  const troubles: Trouble[] = [
    {
      ...{ name: "dead bank", loops: 2, pauseMs: 1_500 },
      begin: async () => () => undefined,
      meet: () => buy(first, hanging, deadBankId),
    },
    {
      ...{ name: "held order", loops: 3, pauseMs: 300 },
      async begin() {
        victim = victims.shift();
        const id = victim?.orderId ?? "";
        return await hold(cluster.url("orders"), "SELECT 1 FROM orders WHERE id = $1 FOR UPDATE", id);
      },
      meet: async () => (await victim?.report()) ?? 0,
    },
    {
      ...{ name: "hot product", loops: 2, pauseMs: 1_000 },
      begin: () =>
        hold(
          cluster.url("partners"),
          "SELECT 1 FROM availability WHERE product_id = $1 FOR UPDATE",
          hot.products[0] ?? "",
        ),
      meet: () => buy(second, hot, world.bankId),
    },
    {
      ...{ name: "slow store", loops: 3, pauseMs: 500 },
      async begin() {
        await cluster.proxies.documents.add({ type: "latency", attributes: { latency: STORE_LATENCY_MS } });
        return cluster.proxies.documents.heal;
      },
      async meet() {
        const token = await world.tokenOf(victim?.customer ?? first);
        return (await world.client.send(`GET /orders/${victim?.orderId}/history`, { token })).status;
      },
    },
    {
      ...{ name: "hanging partner", loops: 1, pauseMs: 1_500 },
      async begin() {
        system.mood = "hang";
        return () => {
          system.mood = "well";
        };
      },
      meet: async () => ((await living.paid(hanging)) ? 204 : 0),
    },
  ];
  return {
    troubles,
    /** The bank repeats its report until it is taken. */
    rest: async () => {
      while (victim && (await victim.report()) !== 204) await delay(REPORTED_AGAIN_MS);
    },
    /** No later request goes to the dead bank. */
    close: () => world.api.ok(`PATCH /banks/${deadBankId}`, { token: root, body: { active: false } }),
  };
}

/** The bank reports one payment again and again, as banks do until it is taken. */
function reportOf({ world, ledger }: Run, { orderId, totalMinor }: Placed): () => Promise<number> {
  const eventId = newId();
  const { id: paymentId } = world.bank.pay(orderId, totalMinor);
  const seen = { paymentId, orderId, amountMinor: totalMinor, acknowledged: false };
  ledger.paymentEvents.set(eventId, seen);
  const body = paymentReport(seen);
  return async () => {
    const headers = signed(world.webhookSecret, eventId, new Date(), body);
    const { status } = await world.client.send(`POST /webhooks/payments/${world.bankId}`, { headers, body });
    if (status === 204) seen.acknowledged = true;
    return status;
  };
}

/** Keeps a row locked, as a transaction does that was left open. @returns what ends it */
async function hold(url: string, sql: string, id: string): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("BEGIN");
  await client.query(sql, [id]);
  return () => client.end();
}

/** Takes connections and never answers. */
async function silentServer(): Promise<{ url: string; close(): void }> {
  const server = createServer((socket) => socket.on("error", () => undefined).resume());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => void server.close() };
}

function merged(tallies: readonly Tally[]): Tally {
  const all = newTally();
  for (const { sent, failed, byStatus, times } of tallies) {
    all.sent += sent;
    all.times.push(...times);
    for (const [why, count] of failed) all.failed.set(why, (all.failed.get(why) ?? 0) + count);
    for (const [status, count] of byStatus) all.byStatus.set(status, (all.byStatus.get(status) ?? 0) + count);
  }
  return all;
}

function statuses(maps: readonly (Map<number, number> | undefined)[]): string {
  const all = new Map<number, number>();
  for (const map of maps)
    for (const [status, count] of map ?? []) all.set(status, (all.get(status) ?? 0) + count);
  return [...all].map(([status, count]) => `${status || "none"}: ${count}`).join(" ");
}
