import { setTimeout as delay } from "node:timers/promises";
import { newId } from "../../lib/ids.ts";
import { home, type Kitchen, signed } from "../e2e/kitchen.ts";
import type { Random } from "../simulation/random.ts";
import { paymentReport } from "./bank.ts";
import { acknowledged, type Ledger } from "./ledger.ts";
import type { Somebody, World } from "./world.ts";

/** How long a customer whose order went strangely waits before the next one. */
const AGAIN_MS = 100;
/** How often each thing happens in an order's life. */
const chances = { repeated: 0.1, overpaid: 0.06, twice: 0.05, short: 0.05, unknown: 0.02, refusedOnce: 0.05 };
const endings = ["none", "accept", "ready", "reject", "cancel", "deliver"] as const;

/** How an order ends after its kitchen was notified. */
export type Ending = (typeof endings)[number];

/** An order that was confirmed. */
export interface Placed {
  orderId: string;
  totalMinor: number;
  customer: Somebody;
}

export interface Load {
  /** One order of this kitchen, confirmed and not paid. */
  place(kitchen: Kitchen, ending?: Ending): Promise<Placed | undefined>;
  /** The bank reports that exactly the total was paid. */
  pay(order: Placed): Promise<void>;
  /** One order of this kitchen, confirmed and paid exactly. @returns its id */
  paid(kitchen: Kitchen): Promise<string | undefined>;
  cancel(order: Placed): Promise<void>;
  /** Runs one order life after the other until it is stopped; resolves when all requests are answered. */
  run(until: () => boolean, concurrency: number): Promise<void>;
  /** Resolves when all requests, also of partners that were notified late, are answered. */
  settled(): Promise<void>;
  readonly lives: number;
  /** Unexpected results that external parties saw. */
  readonly strange: string[];
}

/**
 * Customers who check, confirm, pay in every way and cancel; kitchens that answer the webhooks by callbacks; a
 * courier. Everybody repeats what was not answered, as the interfaces ask them to.
 */
export function load(world: World, ledger: Ledger, random: Random): Load {
  const strange: string[] = [];
  const running = new Set<Promise<void>>();
  const plans = new Map<string, { ending: Ending; customer: Somebody }>();
  let lives = 0;

  const track = (work: Promise<void>) => {
    const tracked = work
      .catch((error: Error) => void strange.push(error.message))
      .finally(() => running.delete(tracked));
    running.add(tracked);
  };
  const settled = async () => {
    while (running.size > 0) await Promise.all(running);
  };
  const say = async (kitchen: Kitchen, type: string, orderId: string, data: object = {}) => {
    const id = newId();
    const at = new Date();
    const body = JSON.stringify({ type, timestamp: at.toISOString(), data: { order_id: orderId, ...data } });
    const seen = { partnerId: kitchen.partnerId, orderId, type, body, status: 0 };
    ledger.callbacks.set(id, seen);
    const reply = await world.client.settle(`POST /webhooks/partners/${kitchen.partnerId}`, {
      headers: signed(kitchen.secret, id, at, body),
      body,
    });
    seen.status = reply.status;
    if (![202, 409].includes(reply.status)) strange.push(`${type} was answered ${reply.status}`);
    return reply.status;
  };
  /** Sends the bank's report of one payment until it is accepted. Some reports are sent twice at the same time. */
  const report = async (orderId: string, amountMinor: number) => {
    const payment = world.bank.pay(orderId, amountMinor);
    const eventId = newId();
    const seen = { paymentId: payment.id, orderId, amountMinor, acknowledged: false };
    ledger.paymentEvents.set(eventId, seen);
    const body = paymentReport(seen);
    const once = async () => {
      const headers = signed(world.webhookSecret, eventId, new Date(), body);
      const { status } = await world.client.settle(`POST /webhooks/payments/${world.bankId}`, {
        headers,
        body,
      });
      if (status < 300 && status > 0) seen.acknowledged = true;
      else strange.push(`a payment was answered ${status}`);
    };
    await Promise.all(random.chance(chances.repeated) ? [once(), once()] : [once()]);
  };
  const pay = async (orderId: string, totalMinor: number) => {
    if (random.chance(chances.unknown)) await report(newId(), totalMinor);
    if (random.chance(chances.overpaid)) return report(orderId, totalMinor + 700);
    if (random.chance(chances.twice)) {
      await Promise.all([report(orderId, totalMinor), report(orderId, totalMinor)]);
      return;
    }
    if (random.chance(chances.short)) await report(orderId, 100);
    else return report(orderId, totalMinor);
    await report(orderId, totalMinor - 100);
  };
  const cancel = async (orderId: string, customer: Somebody) => {
    const token = await world.tokenOf(customer);
    const body = { reason: "changed my mind" };
    const { status } = await world.client.settle(`POST /orders/${orderId}/cancel`, {
      token,
      key: newId(),
      body,
    });
    if (status === 200) ledger.done.push({ orderId, what: "cancel" });
    else if (status !== 409) strange.push(`cancel was answered ${status}`);
  };
  const deliver = async (orderId: string, customer: Somebody) => {
    const token = await world.tokenOf(world.courier);
    const claim = await world.client.settle(`POST /orders/${orderId}/assign`, { token, key: newId() });
    if (claim.status !== 200) return void strange.push(`assign was answered ${claim.status}`);
    ledger.done.push({ orderId, what: "assign" });
    const seen = await world.client.settle<{ pin?: string }>(`GET /orders/${orderId}`, {
      token: await world.tokenOf(customer),
    });
    const { status } = await world.client.settle(`POST /orders/${orderId}/deliver`, {
      token,
      key: newId(),
      body: { pin: seen.body.pin },
    });
    if (status === 200) ledger.done.push({ orderId, what: "deliver" });
    else strange.push(`deliver was answered ${status}`);
  };
  const proceed = async (kitchen: Kitchen, orderId: string) => {
    const plan = plans.get(orderId);
    plans.delete(orderId);
    if (!plan) return;
    if (plan.ending === "reject") await say(kitchen, "order.rejected", orderId, { reason: "sold out" });
    if (plan.ending === "accept" || plan.ending === "deliver") await say(kitchen, "order.accepted", orderId);
    if (plan.ending !== "ready" && plan.ending !== "deliver") return;
    const status = await say(kitchen, "order.ready", orderId);
    if (plan.ending === "deliver" && status === 202) await deliver(orderId, plan.customer);
  };
  const refused = new Set<string>();
  world.mood = (_kitchen, { id, type }) => {
    if (type !== "order.paid" || refused.has(id) || !random.chance(chances.refusedOnce)) return 204;
    refused.add(id);
    return 500;
  };
  world.heard = (kitchen, event) => {
    if (event.type === "order.paid") track(proceed(kitchen, event.data.order_id));
  };

  const place = async (
    customer: Somebody,
    kitchen: Kitchen,
    quantities: number[],
  ): Promise<Placed | undefined> => {
    const token = await world.tokenOf(customer);
    const lines = quantities.map((quantity, index) => ({ product_id: kitchen.products[index], quantity }));
    const body = { partner_id: kitchen.partnerId, lines, address: home };
    const check = await world.client.settle<{ check_id: string; total: { amount_minor: number } }>(
      "POST /orders/check",
      { token, body },
    );
    if (check.status !== 200) {
      strange.push(`check was answered ${check.status}: ${JSON.stringify(check.body)}`);
      return undefined;
    }
    const { check_id, total } = check.body;
    const confirmed = await world.client.settle<{ order_id: string; code?: string }>("POST /orders/confirm", {
      token,
      key: newId(),
      body: { check_id, bank_id: world.bankId },
    });
    if (confirmed.status !== 201) {
      // The cache was lost, which is allowed: a check is then made again.
      if (confirmed.body?.code !== "check_expired") {
        strange.push(`confirm was answered ${confirmed.status}: ${JSON.stringify(confirmed.body)}`);
      }
      return undefined;
    }
    const { order_id: orderId } = confirmed.body;
    const totalMinor = total.amount_minor;
    ledger.confirmed.set(orderId, {
      ...{ totalMinor, customerId: customer.id, partnerId: kitchen.partnerId, quantities },
    });
    return { orderId, totalMinor, customer };
  };
  const life = async () => {
    const customer = random.pick(world.customers);
    const kitchen = random.pick(world.kitchens);
    const quantities = [random.between(1, 3), random.between(1, 2)];
    const ending = random.pick(endings);
    const placed = await place(customer, kitchen, quantities);
    if (!placed) return;
    plans.set(placed.orderId, { ending, customer });
    await pay(placed.orderId, placed.totalMinor);
    if (ending === "cancel") await cancel(placed.orderId, customer);
    lives += 1;
  };

  return {
    strange,
    get lives() {
      return lives;
    },
    async place(kitchen, ending = "none") {
      const placed = await place(random.pick(world.customers), kitchen, [1]);
      if (placed) plans.set(placed.orderId, { ending, customer: placed.customer });
      return placed;
    },
    pay: ({ orderId, totalMinor }) => report(orderId, totalMinor),
    cancel: ({ orderId, customer }) => cancel(orderId, customer),
    async paid(kitchen) {
      const placed = await place(random.pick(world.customers), kitchen, [1]);
      if (placed) await report(placed.orderId, placed.totalMinor);
      return placed?.orderId;
    },
    async run(until, concurrency) {
      const one = async () => {
        while (!until()) {
          await life().catch(async (error: Error) => {
            strange.push(error.message);
            await delay(AGAIN_MS);
          });
        }
      };
      await Promise.all(Array.from({ length: concurrency }, one));
      await settled();
    },
    settled,
  };
}

/** Until so many events were taken since now. */
export function untilEvents(ledger: Ledger, count: number): () => boolean {
  const before = acknowledged(ledger);
  return () => acknowledged(ledger) - before >= count;
}
