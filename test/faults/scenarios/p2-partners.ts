import { setTimeout as delay } from "node:timers/promises";
import { newId } from "../../../lib/ids.ts";
import { type Kitchen, kitchen } from "../../e2e/kitchen.ts";
import { admin } from "../../e2e/world.ts";
import { query } from "../../support/sql.ts";
import { percentile } from "../ledger.ts";
import { load } from "../load.ts";
import { type Mood, type MoodySystem, moodySystem } from "../moody-system.ts";
import { compare, type Outcome, quiet, type Run } from "../run.ts";

const ORDERS = 30;
const ORDERS_OF_BAD = 4;
/** A try may take ten seconds; then there is a wait of one, and the sweep that finds the next try. */
const TRIED_AGAIN_WITHIN_MS = 14_000;
const TOLD_WITHIN_MS = 10_000;
const POLL_MS = 50;
/** Of the p99 without them. */
const SHARE = 1.1;
/** The variation of the slowest of so few orders without a fault; docs/reliability/faults.md explains it. */
const NOISE_MS = 150;

const moods: Mood[] = ["hang", "reset", 500, 410, 429];

/** Partners whose systems misbehave in every way, beside others who must not notice. */
export async function badPartners(run: Run): Promise<Outcome> {
  const { world, ledger, random, cluster } = run;
  const root = await admin(world.api);
  const bad: { mood: Mood; place: Kitchen; system: MoodySystem }[] = [];
  for (const mood of moods) {
    const place = await kitchen(world.api, root, [{ price: 500 }]);
    const system = await moodySystem(run, place.partnerId, mood);
    const body = { url: system.url, enabled: true };
    await world.api.ok(`PUT /partners/${place.partnerId}/webhook`, { token: root, key: newId(), body });
    bad.push({ mood, place, system });
  }
  const { paid, strange } = load(world, ledger, random);
  // The others take everything at once: a try after a refusal would be no delay of ours, and each order is to count.
  world.mood = () => 204;
  const problems: string[] = [];
  const late: string[] = [];
  const measured = async () => {
    const ids: string[] = [];
    for (let n = 0; n < ORDERS; n += 1) {
      const id = await paid(world.kitchens[n % world.kitchens.length] as Kitchen);
      if (id) ids.push(id);
    }
    if (ids.length < ORDERS) problems.push(`of ${ORDERS} orders of others only ${ids.length} were placed`);
    const told = await within(
      TOLD_WITHIN_MS,
      () => toldAfter(run, ids),
      (found) => found.length === ids.length,
    );
    const missing = ids.length - told.length;
    if (missing > 0) late.push(`${missing} orders of others were not told within ${TOLD_WITHIN_MS} ms`);
    return [...told, ...Array<number>(missing).fill(TOLD_WITHIN_MS)];
  };
  await measured(); // the first orders warm the processes up
  const without = await measured();
  const orders = new Map<Mood, string[]>();
  for (const { mood, place } of bad) {
    const placed: string[] = [];
    for (let n = 0; n < ORDERS_OF_BAD; n += 1) {
      const id = await paid(place);
      if (id) placed.push(id);
    }
    // A 410 closes the partner, so that its later orders are refused.
    if (placed.length < (mood === 410 ? 1 : ORDERS_OF_BAD)) problems.push(`${mood}: ${placed.length} orders`);
    orders.set(mood, placed);
  }
  const beside = await measured();
  const patient = bad.filter(({ mood }) => mood !== 410);
  await within(
    TRIED_AGAIN_WITHIN_MS,
    async () => patient.every(({ system }) => mostTries(system.calls) > 1),
    (isTried) => isTried,
  );
  const triesBefore = Object.fromEntries(bad.map(({ mood, system }) => [mood, system.calls.length]));
  for (const { mood, system, place } of bad) {
    const ids = Map.groupBy(system.calls, ({ orderId }) => orderId);
    for (const [orderId, calls] of ids) {
      if (new Set(calls.map(({ webhookId }) => webhookId)).size > 1)
        problems.push(`${mood}: order ${orderId} was told under several ids`);
    }
    if (mood !== 410 && mostTries(system.calls) < 2) {
      problems.push(`${mood}: nothing was tried again within ${TRIED_AGAIN_WITHIN_MS} ms`);
    }
    const endpoint = `/partners/${place.partnerId}/webhook`;
    const { body } = await world.api.request<{ enabled?: boolean }>(`GET ${endpoint}`, { token: root });
    if (mood === 410 && body.enabled !== false) problems.push("410 did not disable the endpoint");
    if (mood === 410 && (await paid(place))) problems.push("410 did not close the partner");
    system.mood = "well";
    if (mood === 410) await enableAgain(run, place.partnerId, root, system.url);
  }
  // Partners that answer again get their orders at once or by the next attempt; none is dropped.
  const { ms: drainedMs } = await quiet(run, 60_000);
  for (const { mood, place, system } of bad) {
    const states = await query<{ order: string; state: string }>(
      cluster.url("partners"),
      `SELECT DISTINCT ON (m.id) m.order_id AS order, d.state FROM webhook_messages m
       JOIN webhook_deliveries d ON d.webhook_message_id = m.id WHERE m.partner_id = $1 AND m.type = 'order.paid'
       ORDER BY m.id, d.attempt DESC`,
      [place.partnerId],
    );
    const other = states.filter(({ state }) => state !== "accepted");
    const placed = orders.get(mood)?.length ?? 0;
    if (states.length !== placed || other.length > 0) {
      problems.push(
        `${mood}: of ${placed} orders ${states.length} are known and ${other.length} are not accepted but ${other[0]?.state}`,
      );
    }
    // Its orders are cancelled after ten minutes, when none has been accepted: the partner gets a webhook about that too.
    world.leaving.push(system.stop, place.close);
  }
  const [p99Without, p99Beside] = [percentile(without, 0.99), percentile(beside, 0.99)];
  if (p99Beside > p99Without * SHARE + NOISE_MS) {
    late.push(`others' p99 went from ${p99Without} to ${p99Beside} ms`);
  }
  const closed = bad.filter(({ mood }) => mood === 410).map(({ place }) => place.partnerId);
  const unexpected = strange.filter(
    (line) => !(line.includes('"code":"partner_closed"') && closed.some((id) => line.includes(id))),
  );
  return {
    promise: "P2",
    title: "partners that hang, reset, and answer 500, 410, 429",
    figures: {
      "orders of bad partners": [...orders.values()].flat().length,
      "orders of others measured": `${without.length} and ${beside.length}`,
      "tries while bad": JSON.stringify(triesBefore),
      "others' p99 without ms": p99Without,
      "others' p99 beside ms": p99Beside,
      "told after recovery ms": drainedMs,
    },
    late,
    problems: [...problems, ...unexpected, ...(await compare(run))],
  };
}

/** The time from the message of each of these orders to its successful webhook, at any attempt; only delivered ones. */
async function toldAfter({ cluster }: Run, orderIds: readonly string[]): Promise<number[]> {
  const told = await query<{ ms: number }>(
    cluster.url("partners"),
    `SELECT extract(epoch FROM d.updated_at - i.time)::float * 1000 AS ms
     FROM webhook_messages m JOIN webhook_deliveries d ON d.webhook_message_id = m.id
       JOIN inbox i ON i.message_id::text = m.message_id AND i.consumer = 'partners'
     WHERE m.order_id = ANY($1) AND m.type = 'order.paid' AND d.state = 'accepted'`,
    [orderIds],
  );
  return told.map(({ ms }) => ms);
}

/** Repeats `find` until the result is enough or the time is over, and returns the last result. */
async function within<T>(ms: number, find: () => Promise<T>, isEnough: (found: T) => boolean): Promise<T> {
  const untilMs = performance.now() + ms;
  for (;;) {
    const found = await find();
    if (isEnough(found) || performance.now() > untilMs) return found;
    await delay(POLL_MS);
  }
}

/** The maximal number of deliveries of one order. */
function mostTries(calls: readonly { orderId: string }[]): number {
  return Math.max(
    0,
    ...[...Map.groupBy(calls, ({ orderId }) => orderId).values()].map(({ length }) => length),
  );
}

/** The partner is back: it turns its endpoint on and has what it missed sent again, dead letters among it. */
async function enableAgain({ world }: Run, partnerId: string, token: string, url: string): Promise<void> {
  const at = `/partners/${partnerId}/webhook`;
  await world.api.ok(`PUT ${at}`, { token, key: newId(), body: { url, enabled: true } });
  const { items } = await world.api.ok<{ items: { id: string; message_id: string; state: string }[] }>(
    `GET ${at}/deliveries?limit=100`,
    { token },
  );
  const latest = new Map(items.toReversed().map((delivery) => [delivery.message_id, delivery]));
  for (const { id, state } of latest.values()) {
    if (state === "accepted") continue;
    await world.api.ok(`POST ${at}/deliveries/${id}/replay`, { token, key: newId() });
  }
}
