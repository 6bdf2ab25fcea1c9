import { setTimeout as delay } from "node:timers/promises";
import type { Offer } from "../../contracts/catalogue.ts";
import type { OrderStatus } from "../../contracts/orders.ts";
import { Random } from "../simulation/random.ts";
import { eventually } from "../support/eventually.ts";
import { lineOf, orderOf, type PartnersHarness, reservationOf } from "../support/partners.ts";
import { outcomeOf } from "./history.ts";

const STOCKS = [12, 20, 30];
const ORDERS_AT_ONCE = 12;
const PAUSE_MAX_MS = 10;
const QUIET_TIMEOUT_MS = 60_000;

export interface StockReport {
  orders: number;
  reserved: number;
  violations: string[];
}

type Says = "order.created" | "order.paid" | "order.cancelled" | "order.expired";

/** The messages of an order in sequence, with the state of its stock after all have been handled. */
const LIVES: readonly { says: readonly [Says, OrderStatus, OrderStatus?][]; ends: string }[] = [
  { says: [["order.created", "pending"]], ends: "held" },
  {
    says: [
      ["order.created", "pending"],
      ["order.paid", "paid", "pending"],
    ],
    ends: "committed",
  },
  {
    says: [
      ["order.created", "pending"],
      ["order.expired", "expired", "pending"],
    ],
    ends: "released",
  },
  {
    says: [
      ["order.created", "pending"],
      ["order.paid", "paid", "pending"],
      ["order.cancelled", "cancelled", "paid"],
    ],
    ends: "released",
  },
  {
    says: [
      ["order.created", "pending"],
      ["order.paid", "paid", "pending"],
      ["order.cancelled", "cancelled", "ready"],
    ],
    ends: "committed",
  },
];

/** How often the partner's staff changes an offer meanwhile. */
const CHANGES = 30;

/**
 * Many orders reserve the same few pieces at once, each more than once, while their messages arrive in any order and
 * twice. Meanwhile the partner's staff sets prices, adds and removes pieces and recounts them. A piece is always either
 * on sale or reserved, and the newest message of an order decides its reservation.
 * @param orders.blindly the staff overwrites the stock that it has read, which no operation permits
 */
export async function stockRaces(
  shop: PartnersHarness,
  { orders, seed, blindly = false }: { orders: number; seed: number; blindly?: boolean },
): Promise<StockReport> {
  const random = new Random(seed);
  const partner = await shop.openPartner();
  const offers: Offer[] = [];
  for (const stock of STOCKS) offers.push(await shop.product(partner.id, { title: `Bread ${stock}`, stock }));
  const expected = new Map<string, string>();
  let reserved = 0;
  let left = orders;
  const violations: string[] = [];

  const one = async () => {
    const lines = offers.filter(() => random.chance(0.6)).map((offer) => lineOf(offer, random.between(1, 3)));
    if (lines.length === 0) return;
    const wanted = reservationOf(partner, random.chance(0.5) ? lines : lines.toReversed());
    const reserve = () => outcomeOf(shop.bare("partners.reserve", wanted));
    const [outcome, again] = await Promise.all([reserve(), random.chance(0.3) ? reserve() : undefined]);
    for (const heard of [outcome, again]) {
      if (heard?.kind === "refusal" && heard.type !== "QUOTE_CHANGED")
        violations.push(`reserve: ${heard.type}`);
    }
    if (outcome.kind !== "answer" && again?.kind !== "answer") return;
    reserved += 1;
    const life = random.pick(LIVES);
    expected.set(wanted.orderId, life.ends);
    const news = life.says.map(([type, status, previousStatus], index) => ({
      type,
      order: orderOf(wanted, { version: index + 1, status, ...(previousStatus && { previousStatus }) }),
    }));
    const told = [...news, ...news.filter(() => random.chance(0.3))];
    await Promise.all(
      told.map(async ({ type, order }) => {
        await delay(random.between(0, PAUSE_MAX_MS));
        await shop.say(type, order);
      }),
    );
  };
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      await one();
    }
  };
  const added = new Map<string, number>();
  const staff = async () => {
    for (let change = 0; change < CHANGES; change++) {
      const { productId, title, price } = random.pick(offers);
      const offer = { partnerId: partner.id, productId };
      const more = random.between(-3, 3);
      const { stock = 0, version } = await shop.asAdmin("partners.getAvailability", offer);
      await delay(random.between(0, PAUSE_MAX_MS));
      const set = { ...offer, price, active: true };
      const acts = {
        price: () => shop.asAdmin("partners.setAvailability", set),
        change: () => shop.asAdmin("partners.changeStock", { ...offer, change: more }),
        count: () =>
          shop.asAdmin("partners.setAvailability", {
            ...set,
            stock: Math.max(0, stock + more),
            expectedVersion: version,
          }),
        overwrite: () =>
          shop.sql("UPDATE availability SET stock = $1 WHERE product_id = $2", [stock, productId]),
      };
      const does = blindly ? "overwrite" : random.pick(["price", "change", "count"] as const);
      const outcome = await outcomeOf(acts[does]() as Promise<object>);
      if (outcome.kind === "refusal") {
        if (!["PRODUCT_UNAVAILABLE", "PRECONDITION_FAILED"].includes(outcome.type))
          violations.push(`${does}: ${outcome.type}`);
      } else if (outcome.kind === "answer" && (does === "change" || does === "count")) {
        const net = does === "change" ? more : Math.max(0, stock + more) - stock;
        added.set(title, (added.get(title) ?? 0) + net);
      }
    }
  };
  await Promise.all([staff(), ...Array.from({ length: ORDERS_AT_ONCE }, worker)]);
  await eventually(
    async () => {
      const waiting = await shop.sql("SELECT 1 FROM inbox WHERE state = 'waiting' LIMIT 1");
      if (waiting.length > 0) throw new Error("messages wait");
    },
    { timeoutMs: QUIET_TIMEOUT_MS },
  );
  return {
    orders,
    reserved,
    violations: [...violations, ...(await wrongRows(shop, partner.id, expected, added))],
  };
}

async function wrongRows(
  shop: PartnersHarness,
  partnerId: string,
  expected: ReadonlyMap<string, string>,
  added: ReadonlyMap<string, number>,
): Promise<string[]> {
  const pieces = await shop.sql<{ title: string; stock: number; taken: number }>(
    `SELECT r.title, a.stock::integer, coalesce(sum(l.taken), 0)::integer AS taken
     FROM availability a JOIN products r ON r.id = a.product_id
     LEFT JOIN stock_reservation_lines l ON l.product_id = a.product_id
     WHERE a.partner_id = $1 GROUP BY r.title, a.stock`,
    [partnerId],
  );
  const lost = pieces
    .filter(({ title, stock, taken }) => {
      const there = Number(title.split(" ")[1]) + (added.get(title) ?? 0);
      return stock < 0 || stock + taken !== there;
    })
    .map(({ title, stock, taken }) => `${title}: ${stock} on sale, ${taken} taken`);
  const states = await shop.sql<{ id: string; state: string; holds: boolean }>(
    `SELECT s.order_id AS id, s.state, coalesce(bool_or(l.taken > 0), false) AS holds
     FROM stock_reservations s LEFT JOIN stock_reservation_lines l USING (order_id)
     WHERE s.partner_id = $1 GROUP BY s.order_id`,
    [partnerId],
  );
  const wrong = states
    .filter(({ id, state, holds }) => state !== expected.get(id) || holds !== (state !== "released"))
    .map(({ id, state, holds }) => `${id}: ${state} instead of ${expected.get(id)}, holds ${holds}`);
  const dead = await shop.sql<{ error: string }>("SELECT error FROM inbox WHERE state = 'dead'");
  return [...lost, ...wrong, ...dead.map(({ error }) => `dead letter: ${error}`)];
}
