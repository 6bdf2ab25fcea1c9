import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { problemOf } from "../../contracts/message-check.ts";
import type { NewMessage } from "../../contracts/messages.ts";
import { type OrderStatus, orderStatus } from "../../contracts/orders.ts";
import { legalNext } from "../../services/orders/domain/order.ts";
import { confirm, edit } from "../../services/orders/domain/order-customer.ts";
import { applyOverdueDeadline } from "../../services/orders/domain/order-deadline.ts";
import {
  assign,
  cancel,
  deliver,
  failDelivery,
  override,
  pickUp,
  release,
} from "../../services/orders/domain/order-delivery.ts";
import type { Actor, ActorKind, Decision, Order, Refund } from "../../services/orders/domain/order-model.ts";
import { decline, expireOffer, offer, openToPool } from "../../services/orders/domain/order-offers.ts";
import { applyPartnerReport } from "../../services/orders/domain/order-partner.ts";
import { applyPayment, applyRefundEnd, refundCustomer } from "../../services/orders/domain/order-payment.ts";
import { withRefundReopened } from "../../services/orders/domain/order-refund.ts";
import { sampleQuote } from "../support/orders.ts";

const START_MS = Date.parse("2026-03-01T12:00:00.000Z");
const customer = { id: "0198b000-0000-7000-8000-000000000001", name: "Ada Byron" };
const bankId = "0198b000-0000-7000-8000-000000000002";
const delivererIds = ["0198b000-0000-7000-8000-00000000000a", "0198b000-0000-7000-8000-00000000000b"];

/** One order's whole world: what a run has sent to it and what it has promised. */
interface World {
  order: Order;
  nowMs: number;
  receivedMinor: number;
  open: Refund[];
  done: Refund[];
  everyRefundId: string[];
  payments: number;
}

type Step = (world: World) => Decision | undefined;

const actor = (kind: ActorKind, name: string = kind): Actor => ({ kind, name });
const euro = (amountMinor: number) => ({ amountMinor, currency: "EUR" });

function pay(amountMinor: number): Step {
  return (world) => {
    world.payments += 1;
    const paymentId = `p${world.payments}`;
    const payment = { bankId, eventId: `e${world.payments}`, paymentId, amount: euro(amountMinor) };
    const decision = applyPayment(world.order, payment, actor("bank"), world.nowMs);
    world.receivedMinor += amountMinor;
    return decision;
  };
}

function settleOldest(done: boolean): Step {
  return (world) => {
    const refund = world.open.shift();
    if (refund && done) world.done.push(refund);
    return refund && applyRefundEnd(world.order, refund, done, world.nowMs);
  };
}

/** A refund that was done comes back. */
const bounceOldest: Step = (world) => {
  const refund = world.done.shift();
  return refund && applyRefundEnd(withRefundReopened(world.order, refund), refund, false, world.nowMs);
};

const deliverer = (index: number) => actor("deliverer", delivererIds[index]);
/** Commands whose repeat must change nothing. */
const repeatable = fc.oneof(
  fc.constantFrom<Step>(
    ({ order, nowMs }) => cancel(order, actor("customer", customer.id), nowMs, "changed my mind"),
    ({ order, nowMs }) => cancel(order, actor("admin"), nowMs, "operator"),
    ({ order, nowMs }) => cancel(order, actor("partner"), nowMs),
  ),
  fc
    .constantFrom("order.accepted", "order.delayed", "order.ready", "order.rejected")
    .map<Step>((type) => ({ order, nowMs }) => {
      const readyAt = new Date(Math.ceil(nowMs / 3_600_000 + 1) * 3_600_000).toISOString();
      return applyPartnerReport(order, { type, readyAt }, actor("partner", "partner:p"), nowMs);
    }),
  fc.nat(1).map<Step>(
    (index) =>
      ({ order, nowMs }) =>
        assign(order, delivererIds[index] as string, deliverer(index), nowMs),
  ),
  fc.nat(1).map<Step>((index) => ({ order, nowMs }) => {
    if (order.status === "delivering" && order.delivererId !== delivererIds[index]) return undefined;
    return release(order, deliverer(index), nowMs);
  }),
  fc.nat(1).map<Step>(
    (index) =>
      ({ order, nowMs }) =>
        failDelivery(order, deliverer(index), nowMs, "nobody there"),
  ),
  fc.nat(1).map<Step>(
    (index) =>
      ({ order, nowMs }) =>
        decline(order, delivererIds[index] as string, deliverer(index), nowMs),
  ),
  fc.nat(1).map<Step>(
    (index) =>
      ({ order, nowMs }) =>
        pickUp(order, true, deliverer(index), nowMs),
  ),
  fc.nat(1).map<Step>(
    (index) =>
      ({ order, nowMs }) =>
        deliver(order, { pinIsRight: true }, deliverer(index), nowMs),
  ),
  fc.constantFrom(...orderStatus.values).map<Step>(
    (to) =>
      ({ order, nowMs }) =>
        override(order, to, actor("admin"), nowMs, "by hand"),
  ),
);
const once = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(1, 500, 2949, 2950, 2950, 2951, 6000).map(pay) },
  { weight: 2, arbitrary: fc.constantFrom(true, true, false).map(settleOldest) },
  fc.constant(bounceOldest),
  fc.nat({ max: 4000 }).map<Step>(
    (amount) =>
      ({ order, nowMs }) =>
        refundCustomer(order, euro(amount), "goodwill", nowMs),
  ),
  fc.constant<Step>(({ order, nowMs }) => refundCustomer(order, undefined, "goodwill", nowMs)),
  fc.constant<Step>(({ order, nowMs }) => deliver(order, { pinIsRight: false }, deliverer(0), nowMs)),
  fc.nat(1).map<Step>(
    (index) =>
      ({ order, nowMs }) =>
        offer(order, delivererIds[index] as string, nowMs, 30_000),
  ),
  fc.constantFrom<Step>(
    ({ order, nowMs }) => expireOffer(order, nowMs),
    ({ order, nowMs }) => openToPool(order, nowMs),
  ),
  fc.constant<Step>(({ order, nowMs }) => edit(order, { note: "ring twice" }, nowMs)),
  fc.constant<Step>(({ order, nowMs }) => applyOverdueDeadline(order, actor("deadline"), nowMs)),
  fc.integer({ min: 1, max: 40 }).map<Step>((minutes) => (world) => {
    world.nowMs += minutes * 60_000;
    return applyOverdueDeadline(world.order, actor("deadline"), world.nowMs);
  }),
);

/** The first steps of an ordinary life, as many as the number says: most random walks would end before. */
const beginning = fc.nat(5).map((count) => happy.slice(0, count));
const happy: Step[] = [
  pay(2950),
  ({ order, nowMs }) =>
    applyPartnerReport(order, { type: "order.accepted" }, actor("partner", "partner:p"), nowMs),
  ({ order, nowMs }) =>
    applyPartnerReport(order, { type: "order.ready" }, actor("partner", "partner:p"), nowMs),
  ({ order, nowMs }) => assign(order, delivererIds[0] as string, deliverer(0), nowMs),
  ({ order, nowMs }) => failDelivery(order, deliverer(0), nowMs, "nobody there"),
];

/** @returns undefined when the step was refused */
function take(world: World, step: Step): Decision | undefined {
  let decision: Decision | undefined;
  try {
    decision = step(world);
  } catch (error) {
    expect(error).toMatchObject({ type: expect.any(String), code: expect.any(Number) });
    expect((error as { code: number }).code).toBeLessThan(500);
  }
  if (!decision) return undefined;
  check(world.order, decision);
  world.order = frozen(decision.next);
  world.open.push(...decision.refunds);
  world.everyRefundId.push(...decision.refunds.map(({ id }) => id));
  return decision;
}

/** Freezes an order, so that code that modifies it instead of deciding on a new one fails. */
function frozen<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) frozen(part);
  return Object.freeze(value);
}

function check(before: Order, { next, transition, messages, refunds }: Decision): void {
  if (next !== before) expect(next.version).toBe(before.version + 1);
  else expect([transition, messages.length, refunds.length]).toEqual([undefined, 0, 0]);
  if (next.status !== before.status) {
    expect(legalNext(before.status)).toContain(next.status);
    expect(transition).toMatchObject({ from: before.status, to: next.status });
  }
  if (next.handoverFailures < before.handoverFailures) expect(transition?.actor.kind).toBe("admin");
  for (const { type, data } of messages) expect([type, problemOf(type, data)]).toEqual([type, undefined]);
  for (const { data } of messages) expect((data as { version: number }).version).toBe(next.version);
  expect(requestsIn(messages)).toEqual(refunds.map(({ id }) => id));
}

const requestsIn = (messages: NewMessage[]) =>
  messages
    .filter(({ type }) => type === "refund.requested")
    .map(({ data }) => (data as { refundId: string }).refundId);

function checkMoney({ order, receivedMinor, open, everyRefundId }: World): void {
  const sum = (amounts: number[]) => amounts.reduce((a, b) => a + b, 0);
  const kept = order.paidMinor - order.refundedMinor - order.refundPendingMinor;
  expect(order.paidMinor).toBe(receivedMinor);
  expect(kept).toBeGreaterThanOrEqual(0);
  expect(order.refundPendingMinor).toBe(sum(open.map(({ amount }) => amount.amountMinor)));
  expect(sum(order.receipts.map(({ amountMinor }) => amountMinor))).toBe(order.paidMinor);
  expect(sum(order.receipts.map(({ refundMinor }) => refundMinor))).toBe(
    order.refundedMinor + order.refundPendingMinor,
  );
  for (const { amountMinor, refundMinor } of order.receipts) {
    expect(refundMinor).toBeGreaterThanOrEqual(0);
    expect(refundMinor).toBeLessThanOrEqual(amountMinor);
  }
  expect(new Set(everyRefundId).size).toBe(everyRefundId.length);
  const ended: OrderStatus[] = ["cancelled", "expired"];
  if (ended.includes(order.status) && order.paymentStatus !== "refund_failed") expect(kept).toBe(0);
  if (order.status === "pending") expect(order.paidMinor).toBeLessThan(order.totalMinor);
}

function world(): World {
  const quote = sampleQuote({ expiresAt: new Date(START_MS + 600_000).toISOString() });
  const { next } = confirm(quote, customer, bankId, actor("customer", customer.id), START_MS);
  return {
    order: frozen(next),
    nowMs: START_MS,
    receivedMinor: 0,
    open: [],
    done: [],
    everyRefundId: [],
    payments: 0,
  };
}

describe("an order under any sequence of commands", () => {
  it("makes only legal moves, increases its version by one, and conserves the money", () => {
    const sequence = fc.array(fc.oneof(once, repeatable), { minLength: 1, maxLength: 40 });
    let moves = 0;
    fc.assert(
      fc.property(beginning, sequence, (first, steps) => {
        const run = world();
        for (const step of [...first, ...steps]) {
          if (take(run, step)?.transition) moves += 1;
          checkMoney(run);
        }
      }),
      { numRuns: 250 },
    );
    expect(moves).toBeGreaterThan(400);
  });

  it("returns the unchanged order for a command that is repeated at once", () => {
    const sequence = fc.array(once, { maxLength: 15 });
    fc.assert(
      fc.property(beginning, sequence, repeatable, sequence, repeatable, (start, first, a, second, b) => {
        const run = world();
        for (const step of [...start, ...first]) take(run, step);
        for (const step of [a, ...second, b]) {
          const done = take(run, step);
          if (!done || (step !== a && step !== b)) continue;
          const { order } = run;
          expect(take(run, step)?.next).toBe(order);
        }
      }),
      { numRuns: 250 },
    );
  });

  it("once delivered, cancelled or expired, keeps that state", () => {
    const sequence = fc.array(fc.oneof(once, repeatable), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(beginning, sequence, (first, steps) => {
        const run = world();
        let ended: OrderStatus | undefined;
        for (const step of [...first, ...steps]) {
          take(run, step);
          if (ended) expect(run.order.status).toBe(ended);
          if (legalNext(run.order.status).length === 0) ended = run.order.status;
        }
      }),
      { numRuns: 200 },
    );
  });
});
