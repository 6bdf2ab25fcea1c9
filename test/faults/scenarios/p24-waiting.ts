import { execFile } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { newId } from "../../../lib/ids.ts";
import type { Kitchen, Received } from "../../e2e/kitchen.ts";
import { query } from "../../support/sql.ts";
import { type UntoldOrder, unfair } from "../fair-waiting.ts";
import { type Load, load, type Placed } from "../load.ts";
import { letDeadlinesPass, letTimePass } from "../passing-time.ts";
import { compare, type Outcome, quiet, type Run } from "../run.ts";

const AWAY = { minutes: 180, stepMinutes: 30 };
/** A try that the platform could not make, and a message that could not be handled, is tried again within a minute. */
const RETRY_MINUTES = 1;
const MINUTE_MS = 60_000;
const WITHIN_MS = 30_000;
const POLL_MS = 200;
/** Standard input, output and error are open at all times: with this limit no further file or socket can be opened. */
const NO_FURTHER_SOCKET = 3;

/** The status that an order reaches in the end. Customers cancel theirs after the three hours. */
const wanted = ["delivered", "delivered", "paid", "cancelled"] as const;

interface Order extends Placed {
  wanted: (typeof wanted)[number];
  fault: string;
  cause: RegExp;
  /** The first finding of the diagnosis before the return. */
  finding: string;
}

/** The state of an order before its partner can be notified, and at the end. */
type Before = Pick<UntoldOrder, "movesUntold" | "alerts" | "diagnosis" | "found">;

/**
 * Partners cannot be notified of paid orders for three hours by the clock, for reasons of the platform: a dead letter at
 * Partners, a machine that has no free socket, and NATS away. Meanwhile nothing is cancelled, no party is charged and an
 * operator gets the reason; afterwards each partner is notified once and has its whole time, and the orders continue.
 */
export async function fairWaiting(run: Run): Promise<Outcome> {
  const { cluster, world } = run;
  const [first, second, third] = world.kitchens as [Kitchen, Kitchen, Kitchen];
  const living = load(world, run.ledger, run.random);
  const timesLeft = noteTimesLeft(run);
  const problems: string[] = [];
  await quiet(run);

  const dead = await placed(living, first, {
    fault: "a dead letter at Partners",
    cause: /order\.paid is a dead letter of Partners/,
    finding: "dead_letter",
  });
  const socketless = await placed(living, second, {
    fault: "no free socket",
    cause: /EMFILE/,
    finding: "partner_not_notified",
  });
  const inTrouble = [...dead, ...socketless];
  const cure = await poison(run, dead);
  const release = await withoutSockets(cluster.members.partners.pid);
  let heldUp: UntoldOrder[];
  try {
    for (const order of inTrouble) await living.pay(order);
    await eventually("Orders learns why partners are not told", async () => {
      await letTimePass(cluster, RETRY_MINUTES);
      return (await unexplained(run, inTrouble)) === 0;
    });
    heldUp = await away(run, living, inTrouble, timesLeft, async () => {
      await release();
      await cure();
      await replayDead(run, inTrouble);
      await letTimePass(cluster, RETRY_MINUTES);
    });
  } finally {
    await release();
    await cure();
  }

  const reason = {
    fault: "NATS away",
    cause: /has been waiting in the outbox of Orders/,
    finding: "broker_away",
  };
  const unsent = await placed(living, third, reason);
  const mistaken = await living.place(third, "deliver");
  await cluster.proxies.nats.cut();
  let late: UntoldOrder[];
  let planted: UntoldOrder[] = [];
  try {
    for (const order of [...unsent, ...(mistaken ? [mistaken] : [])]) await living.pay(order);
    // The test of this check: an order whose time to accept counts from its payment.
    if (mistaken) await countFromPayment(run, mistaken);
    late = await away(run, living, unsent, timesLeft, async () => {
      if (mistaken) {
        const order: Order = { ...mistaken, ...reason, wanted: "delivered" };
        planted = [await evidence(run, order, await before(run, order), timesLeft, Date.now())];
      }
      await cluster.proxies.nats.heal();
    });
  } finally {
    await cluster.proxies.nats.heal();
  }
  const found = unfair(planted);
  for (const sign of ["became cancelled", "the partner bears"]) {
    if (!found.some((line) => line.includes(sign)))
      problems.push(`the check does not see that an order ${sign}`);
  }
  const { ms: drainedMs } = await quiet(run);
  const orders = [...heldUp, ...late];
  if (orders.length < 3 * wanted.length) problems.push(`only ${orders.length} orders were placed`);
  return {
    promise: "P24",
    title: "partners that cannot be told for three hours by the clock",
    figures: {
      orders: orders.length,
      "minutes away": AWAY.minutes,
      "alerts raised": orders.reduce((all, { alerts }) => all + alerts.length, 0),
      "moves while not told": orders.reduce((all, { movesUntold }) => all + movesUntold.length, 0),
      "charged to partners": orders.reduce((all, { chargedMinor }) => all + chargedMinor, 0),
      "least time to accept s": Math.round(
        Math.min(...orders.flatMap(({ timeLeftMs }) => timeLeftMs ?? [])) / 1000,
      ),
      "planted mistakes found": found.length,
      "drained ms": drainedMs,
    },
    late: [],
    problems: [...problems, ...unfair(orders), ...living.strange, ...(await compare(run))],
  };
}

/** One order for each status that an order shall reach, none of which is paid yet. */
async function placed(
  living: Load,
  kitchen: Kitchen,
  reason: Pick<Order, "fault" | "cause" | "finding">,
): Promise<Order[]> {
  const orders: Order[] = [];
  for (const status of wanted) {
    const order = await living.place(kitchen, status === "delivered" ? "deliver" : "none");
    if (order) orders.push({ ...order, ...reason, wanted: status });
  }
  return orders;
}

/** Three hours pass, the way is free again, and all that follows is done. */
async function away(
  run: Run,
  living: Load,
  orders: readonly Order[],
  timesLeft: ReadonlyMap<string, number>,
  comeBack: () => Promise<void>,
): Promise<UntoldOrder[]> {
  await letDeadlinesPass(run.cluster, AWAY);
  const known = new Map<Order, Before>();
  for (const order of orders) known.set(order, await before(run, order));
  for (const order of orders) if (order.wanted === "cancelled") await living.cancel(order);
  // Time may pass once more while they come back.
  const backAtMs = Date.now() - RETRY_MINUTES * MINUTE_MS;
  await comeBack();
  await eventually("the orders go on", async () => {
    const statuses = await statusesOf(run, orders);
    return orders.every(
      ({ orderId, wanted }) =>
        statuses.get(orderId) === wanted && (wanted !== "paid" || timesLeft.has(orderId)),
    );
  }).catch(() => undefined); // the evidence says what is missing
  await quiet(run, WITHIN_MS);
  const all: UntoldOrder[] = [];
  for (const [order, seen] of known) all.push(await evidence(run, order, seen, timesLeft, backAtMs));
  return all;
}

/** The operator's view and the order's history while its partner cannot be notified. */
async function before({ cluster, world }: Run, { orderId }: Order): Promise<Before> {
  const moves = await query<{ to: string }>(
    cluster.url("orders"),
    `SELECT to_status AS to FROM order_transitions WHERE order_id = $1 AND from_status = 'paid'`,
    [orderId],
  );
  const alerts = await query<{ detail: string }>(
    cluster.url("orders"),
    `SELECT data ->> 'detail' AS detail FROM outbox WHERE type = 'alert.raised' AND subject = $1`,
    [orderId],
  );
  const { body } = await world.client.settle<{
    partner_notice?: { problem?: string };
    findings: { cause: string }[];
  }>(`GET /orders/${orderId}/diagnosis`, { token: await world.tokenOf(world.operator) });
  return {
    movesUntold: moves.map(({ to }) => to),
    alerts: alerts.map(({ detail }) => detail),
    diagnosis: body.partner_notice?.problem ?? "nothing",
    found: body.findings[0]?.cause ?? "nothing",
  };
}

async function evidence(
  { cluster, ledger }: Run,
  order: Order,
  seen: Before,
  timesLeft: ReadonlyMap<string, number>,
  backAtMs: number,
): Promise<UntoldOrder> {
  const { orderId } = order;
  const [row] = await query<{ status: string; notifiedAtMs?: number; leftMs?: number; charged: number }>(
    cluster.url("orders"),
    `SELECT status, extract(epoch FROM partner_notified_at)::float * 1000 AS "notifiedAtMs",
       CASE WHEN status = 'paid' THEN extract(epoch FROM deadline_at - partner_notified_at)::float * 1000 END
         AS "leftMs",
       (SELECT coalesce(sum(amount_minor), 0)::float FROM refunds
        WHERE order_id = orders.id AND borne_by = 'partner') AS charged
     FROM orders WHERE id = $1`,
    [orderId],
  );
  const told = ledger.told.filter((call) => call.orderId === orderId && call.type === "order.paid");
  const left = [timesLeft.get(orderId), row?.leftMs].filter((ms) => typeof ms === "number");
  return {
    ...{ orderId, fault: order.fault, cause: order.cause, finding: order.finding, wanted: order.wanted },
    ...{ backAtMs, ...seen },
    chargedMinor: row?.charged ?? 0,
    toldUnder: told.filter(({ status }) => status < 300).map(({ webhookId }) => webhookId),
    notifiedAtMs: row?.notifiedAtMs ?? undefined,
    timeLeftMs: left.length > 0 ? Math.min(...left) : undefined,
    status: row?.status ?? "not there",
  };
}

/** Records the time that partners have to accept when they are notified. */
function noteTimesLeft({ world }: Run): ReadonlyMap<string, number> {
  const left = new Map<string, number>();
  const goOn = world.heard;
  world.mood = () => 204;
  world.heard = (place, event) => {
    const { order_id: orderId, respond_by: until } = event.data as Received["data"] & { respond_by?: string };
    if (event.type === "order.paid" && until) left.set(orderId, Date.parse(until) - Date.now());
    goOn(place, event);
  };
  return left;
}

/** Partners cannot write down that it has to tell its partners of these orders. @returns what mends it */
async function poison({ cluster }: Run, orders: readonly Order[]): Promise<() => Promise<unknown>> {
  const url = cluster.url("partners");
  const ids = orders.map(({ orderId }) => `'${orderId}'`).join(", ");
  await query(
    url,
    `ALTER TABLE webhook_messages ADD CONSTRAINT poisoned CHECK (order_id NOT IN (${ids})) NOT VALID`,
  );
  return () => query(url, "ALTER TABLE webhook_messages DROP CONSTRAINT IF EXISTS poisoned");
}

/** The process cannot open any further file or socket; what is open stays so. @returns what mends it */
async function withoutSockets(pid: number | undefined): Promise<() => Promise<void>> {
  const prlimit = async (...words: string[]) =>
    (await promisify(execFile)("prlimit", ["--pid", String(pid), ...words])).stdout.trim();
  const usual = await prlimit("--nofile", "--output=SOFT", "--noheadings");
  await prlimit(`--nofile=${NO_FURTHER_SOCKET}:`);
  return async () => void (await prlimit(`--nofile=${usual}:`));
}

/** As a release did that counted the time to accept from the payment. */
async function countFromPayment({ cluster }: Run, { orderId }: Placed): Promise<void> {
  await query(
    cluster.url("orders"),
    `UPDATE orders SET partner_notified_at = updated_at, deadline_at = updated_at + interval '10 minutes'
     WHERE id = $1 AND status = 'paid'`,
    [orderId],
  );
}

/** The number of these orders that are not reported as held up yet. */
async function unexplained({ cluster }: Run, orders: readonly Order[]): Promise<number> {
  const [found] = await query<{ count: number }>(
    cluster.url("orders"),
    "SELECT count(*)::integer AS count FROM orders WHERE id = ANY ($1) AND notice_problem IS NULL",
    [orders.map(({ orderId }) => orderId)],
  );
  return found?.count ?? 0;
}

/** The operator has the dead letters of these orders handled again, webhooks among them that were given up. */
async function replayDead({ world }: Run, orders: readonly Order[]): Promise<void> {
  const token = await world.tokenOf(world.operator);
  const idsOf = (some: readonly Order[]) => new Set(some.map(({ orderId }) => orderId));
  const ids = idsOf(orders);
  const cancelled = idsOf(orders.filter((order) => order.wanted === "cancelled"));
  const { items } = await world.api.ok<{ items: { id: string; subject: string }[] }>(
    "GET /dead-letters?limit=100",
    { token },
  );
  for (const { id, subject } of items) {
    if (!ids.has(subject)) continue;
    const operation = `POST /dead-letters/${id}/replay`;
    const { status, body } = await world.api.request<{ code?: string }>(operation, { token, key: newId() });
    // A customer has cancelled this one meanwhile: its partner is not asked to prepare it.
    const isCalledOff = body?.code === "illegal_transition" && cancelled.has(subject);
    if (status !== 204 && !isCalledOff) throw new Error(`${operation} was answered ${status}`);
  }
}

async function statusesOf({ cluster }: Run, orders: readonly Order[]): Promise<Map<string, string>> {
  const found = await query<{ id: string; status: string }>(
    cluster.url("orders"),
    "SELECT id, status FROM orders WHERE id = ANY ($1)",
    [orders.map(({ orderId }) => orderId)],
  );
  return new Map(found.map(({ id, status }) => [id, status]));
}

async function eventually(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    if (performance.now() > untilMs) throw new Error(`after ${WITHIN_MS} ms not yet: ${what}`);
    await delay(POLL_MS);
  }
}
