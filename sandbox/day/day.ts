import { setTimeout as delay } from "node:timers/promises";
import { answered, type Schemas, type Waybill } from "@waybill/client";
import { waitFor } from "../demo/client.ts";
import { sandboxPages } from "../demo/pages.ts";
import { mapConcurrent } from "../map-concurrent.ts";
import { type Cast, castOf, type DayPlaces, type ShopOfDay } from "./cast.ts";
import { couriers, dayPlan, type PlannedOrder, shops } from "./plan.ts";

/** Orders that go on at once. */
const AT_ONCE = 4;
const READY_IN_MINUTES = 15;

type Order = Schemas["Order"];

/** Moments of an order in milliseconds of Unix time, from its history. */
interface Moments {
  paid?: number;
  accepted?: number;
  ready?: number;
  delivered?: number;
}

interface Played {
  plan: PlannedOrder;
  number: string;
  end: string;
  moments: Moments;
}

/**
 * Plays a day by the API alone: three partners, one with a webhook and two by hand, four couriers and twenty customers. The
 * seed decides everything but the times and the order numbers. Prints a line for each order, and the times.
 */
export async function playDay(
  places: DayPlaces,
  { seed, customerCount }: { seed: number; customerCount: number },
  print: (line: string) => void,
): Promise<void> {
  print(`A day at ${places.apiUrl}, seed ${seed}`);
  print(
    `${shops.length} partners (1 with a webhook, 2 by hand), ${couriers.length} couriers, ${customerCount} customers`,
  );
  const cast = await castOf(places, customerCount);
  try {
    print("");
    print(HEAD);
    const plan = dayPlan(seed, customerCount);
    const played: Played[] = [];
    let printed = 0;
    await mapConcurrent(
      [...plan.entries()],
      async ([index, one]) => {
        played[index] = await playOrder(cast, sandboxPages(places.sandboxUrl), one);
        for (let next = played[printed]; next; next = played[printed]) {
          print(lineOf(next));
          printed++;
        }
      },
      AT_ONCE,
    );
    for (const line of summaryOf(played)) print(line);
  } finally {
    await cast.stop();
  }
}

async function playOrder(
  cast: Cast,
  pages: ReturnType<typeof sandboxPages>,
  plan: PlannedOrder,
): Promise<Played> {
  const shop = cast.shops[plan.shop] as ShopOfDay;
  const customer = cast.customers[plan.customer] as Waybill;
  const confirmed = await place(customer, shop, cast.bankId, plan);
  const id = confirmed.order_id;
  const params = { path: { order_id: id } };
  await pages.submit(confirmed.checkout_url, { action: "pay" });
  if (shop.staff) await serveByHand(shop.staff, customer, id, plan);
  const isEnded = plan.turn === "rejected" || plan.turn === "cancelled";
  if (!isEnded) {
    const first = cast.couriers[plan.courier] as Waybill;
    await take(first, id);
    const isReleased = plan.turn === "released";
    if (isReleased)
      await first.POST("/orders/{order_id}/release", { params, body: { reason: "A flat tyre." } });
    const last = isReleased ? (cast.couriers[plan.nextCourier] as Waybill) : first;
    if (isReleased) await take(last, id);
    await carry(last, customer, id, plan);
  }
  const { status } = await answered(customer.GET("/orders/{order_id}", { params }));
  const end = plan.turn === "rejected" ? "rejected" : status;
  return { plan, number: confirmed.number ?? "", end, moments: await momentsOf(customer, id, isEnded) };
}

async function place(customer: Waybill, shop: ShopOfDay, bankId: string, plan: PlannedOrder) {
  const address: Schemas["Address"] = {
    ...{ line1: `Kastanienallee ${plan.customer + 1}`, city: "Berlin", postal_code: "10435", country: "DE" },
    position: { latitude: 52.5386 + plan.customer / 10_000, longitude: 13.4098 },
  };
  const lines = plan.lines.map(({ product, quantity }) => ({
    product_id: shop.productIds[product] as string,
    quantity,
  }));
  const body = { partner_id: shop.id, lines, address };
  const { check_id } = await answered(customer.POST("/orders/check", { body }));
  return await answered(customer.POST("/orders/confirm", { body: { check_id, bank_id: bankId } }));
}

/** The staff see the paid order, and accept, cook and report it ready; or the order ends here. */
async function serveByHand(
  staff: Waybill,
  customer: Waybill,
  id: string,
  { answerMs, prepareMs, turn }: PlannedOrder,
): Promise<void> {
  const params = { path: { order_id: id } };
  await untilStatus(staff, id, "paid");
  if (turn === "cancelled") {
    await customer.POST("/orders/{order_id}/cancel", { params, body: { reason: "Changed my mind." } });
    return;
  }
  await delay(answerMs);
  if (turn === "rejected") {
    const body = { reason: "too_busy" as const, text: "Too many orders at once." };
    await staff.POST("/orders/{order_id}/reject", { params, body });
    return;
  }
  const body = { ready_in_minutes: READY_IN_MINUTES };
  await staff.POST("/orders/{order_id}/accept", { params, body });
  if (turn === "delayed") {
    const later = { ready_in_minutes: 2 * READY_IN_MINUTES, reason: "The oven is full." };
    await staff.POST("/orders/{order_id}/delay", { params, body: later });
  }
  await delay(prepareMs);
  await staff.POST("/orders/{order_id}/ready", { params });
}

/** The courier takes the order when the pool shows it. */
async function take(courier: Waybill, id: string): Promise<void> {
  await waitFor(
    () => `the order ${id} in the pool`,
    async () => {
      const query = { limit: 100 };
      const { items } = await answered(courier.GET("/deliveries/available", { params: { query } }));
      return items.find(({ order_id }) => order_id === id);
    },
  );
  await courier.POST("/orders/{order_id}/assign", { params: { path: { order_id: id } } });
}

/** The courier confirms the pickup, rides, and gets the PIN at the door. */
async function carry(
  courier: Waybill,
  customer: Waybill,
  id: string,
  { rideMs }: PlannedOrder,
): Promise<void> {
  const params = { path: { order_id: id } };
  const order = await answered(courier.GET("/orders/{order_id}", { params }));
  await courier.POST("/orders/{order_id}/pickup", { params, body: { code: order.number ?? "" } });
  await delay(rideMs);
  if (order.address.position) await courier.POST("/deliveries/position", { body: order.address.position });
  const { pin = "" } = await answered(customer.GET("/orders/{order_id}", { params }));
  await courier.POST("/orders/{order_id}/deliver", { params, body: { pin } });
}

function untilStatus(as: Waybill, id: string, status: Order["status"]): Promise<Order> {
  const params = { path: { order_id: id } };
  return waitFor(
    () => `the state ${status} of the order ${id}`,
    async () => {
      const order = await answered(as.GET("/orders/{order_id}", { params }));
      return order.status === status ? order : undefined;
    },
  );
}

/** The moments of the order, when its history has the last one. */
function momentsOf(customer: Waybill, id: string, isEnded: boolean): Promise<Moments> {
  const params = { path: { order_id: id } };
  return waitFor(
    () => `the history of the order ${id}`,
    async () => {
      const { items } = await answered(customer.GET("/orders/{order_id}/history", { params }));
      const at = (type: string) => {
        const found = items.find((step) => step.type === type);
        return found && Date.parse(found.at);
      };
      const last = isEnded ? (at("order.cancelled") ?? at("order.rejected")) : at("order.delivered");
      if (last === undefined) return undefined;
      const moments = {
        ...{ paid: at("order.paid"), accepted: at("order.accepted"), ready: at("order.ready") },
        delivered: at("order.delivered"),
      };
      return Object.fromEntries(
        Object.entries(moments).filter(([, moment]) => moment !== undefined),
      ) as Moments;
    },
  );
}

const HEAD = " at     number  partner       by       courier        accepted  ready  delivered";

/** Seconds after the payment. */
function after({ paid }: Moments, moment: number | undefined, width: number): string {
  const text = paid === undefined || moment === undefined ? "-" : `${((moment - paid) / 1_000).toFixed(1)} s`;
  return text.padStart(width);
}

function lineOf({ plan, number, end, moments }: Played): string {
  const shop = shops[plan.shop];
  const time = [Math.floor(plan.atMinute / 60), plan.atMinute % 60].map((n) => String(n).padStart(2, "0"));
  const riders = plan.turn === "released" ? [plan.courier, plan.nextCourier] : [plan.courier];
  const isEnded = end !== "delivered";
  const courier = isEnded ? end : riders.map((index) => couriers[index]).join(", ");
  return [
    ` ${time.join(":")}  ${number.padEnd(7)} ${(shop?.title ?? "").padEnd(13)}`,
    (shop?.byHand ? "hand" : "webhook").padEnd(8),
    courier.padEnd(14),
    after(moments, moments.accepted, 8),
    after(moments, moments.ready, 6),
    after(moments, moments.delivered, 9),
  ].join(" ");
}

function summaryOf(played: readonly Played[]): string[] {
  const times = (of: readonly Played[], from: keyof Moments, to: keyof Moments) =>
    of.flatMap(({ moments }) => {
      const [begin, end] = [moments[from], moments[to]];
      return begin === undefined || end === undefined ? [] : [end - begin];
    });
  const kinds = [true, false].map((byHand) => ({
    name: byHand ? "by hand" : "by webhook",
    of: played.filter(({ plan }) => shops[plan.shop]?.byHand === byHand),
  }));
  const count = (end: string) => played.filter((one) => one.end === end).length;
  return [
    "",
    ...kinds.map(
      ({ name, of }) => `${`Paid to accepted, ${name}:`.padEnd(32)}${spread(times(of, "paid", "accepted"))}`,
    ),
    `${"Accepted to delivered:".padEnd(32)}${spread(times(played, "accepted", "delivered"))}`,
    `${"Paid to delivered:".padEnd(32)}${spread(times(played, "paid", "delivered"))}`,
    `${played.length} orders: ${count("delivered")} delivered, ${count("rejected")} rejected, ${count("cancelled")} cancelled`,
  ];
}

function spread(timesMs: readonly number[]): string {
  const sorted = timesMs.toSorted((a, b) => a - b);
  const seconds = (ms: number | undefined) => `${((ms ?? 0) / 1_000).toFixed(1)} s`;
  return `median ${seconds(sorted[Math.floor(sorted.length / 2)])}, longest ${seconds(sorted.at(-1))}`;
}
