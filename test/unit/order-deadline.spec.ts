import { describe, expect, it } from "@jest/globals";
import { problemOf } from "../../contracts/message-check.ts";
import { type OrderStatus, orderStatus } from "../../contracts/orders.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { deadlineOf, deadlines, hasDeadline, isFinal } from "../../services/orders/domain/order.ts";
import { confirm } from "../../services/orders/domain/order-customer.ts";
import { applyOverdueDeadline } from "../../services/orders/domain/order-deadline.ts";
import { assign, failDelivery } from "../../services/orders/domain/order-delivery.ts";
import type { Actor, Order } from "../../services/orders/domain/order-model.ts";
import { applyNotice, applyPartnerReport, makeReady } from "../../services/orders/domain/order-partner.ts";
import { applyPayment } from "../../services/orders/domain/order-payment.ts";
import { sampleQuote } from "../support/orders.ts";

const START_MS = Date.parse("2026-03-01T12:00:00.000Z");
const MINUTE_MS = 60_000;
const bankId = newId();
const deadline: Actor = { kind: "deadline", name: "deadline" };
const admin: Actor = { kind: "admin", name: "admin" };
const partner: Actor = { kind: "partner", name: "partner:p" };

/** One order's life, every step at the very same moment, up to a state. */
function orderIn(status: OrderStatus, nowMs = START_MS): Order {
  const quote = sampleQuote({ expiresAt: isoTime(nowMs + 1) });
  const steps: [OrderStatus, (order: Order) => Order][] = [
    [
      "paid",
      (order) => {
        const amount = { amountMinor: 2950, currency: "EUR" };
        const payment = { bankId, eventId: newId(), paymentId: newId(), amount };
        const paid = applyPayment(order, payment, { kind: "bank", name: "b" }, nowMs).next;
        return applyNotice(paid, { outcome: "delivered" }, nowMs).next;
      },
    ],
    ["preparing", (order) => applyPartnerReport(order, { type: "order.accepted" }, partner, nowMs).next],
    ["ready", (order) => makeReady(order, partner, nowMs).next],
    ["delivering", (order) => assign(order, newId(), admin, nowMs).next],
    ["failed", (order) => failDelivery(order, admin, nowMs, "nobody there").next],
  ];
  let order = confirm(quote, { id: newId(), name: "Ada" }, bankId, admin, nowMs).next;
  for (const [reached, step] of steps) {
    if (order.status === status) break;
    order = step(order);
    expect(order.status).toBe(reached);
  }
  return order;
}

/** State, minutes until its deadline, what happens then, and after how many minutes again. */
const rows: [OrderStatus, number, { becomes: OrderStatus } | { alert: string; again: number }][] = [
  ["pending", 30, { becomes: "expired" }],
  ["paid", 10, { becomes: "cancelled" }],
  ["preparing", 20, { alert: "order.not_ready", again: 30 }],
  ["ready", 15, { alert: "order.no_deliverer", again: 15 }],
  ["delivering", 20, { alert: "order.deliverer_silent", again: 20 }],
  ["failed", 60, { alert: "order.undeliverable", again: 60 }],
];

describe("the deadline of an order", () => {
  it("is in the table for every waiting state, and each row is tested here", () => {
    const waiting = orderStatus.values.filter((status) => !isFinal(status));
    expect(rows.map(([status]) => status).sort()).toEqual([...waiting].sort());
    expect(Object.keys(deadlines).sort()).toEqual([...waiting].sort());
  });

  it.each(rows)("that is %s, passes after %i minutes and not earlier", (status, minutes, effect) => {
    const order = orderIn(status);
    const atMs = START_MS + minutes * MINUTE_MS;
    expect(order.deadlineAt).toBe(isoTime(atMs));
    expect(applyOverdueDeadline(order, deadline, atMs - 1)).toBeUndefined();
    const decision = applyOverdueDeadline(order, deadline, atMs);
    if (!decision) throw new Error("nothing happened");
    const { next, transition, messages, refunds } = decision;
    for (const { type, data } of messages) expect([type, problemOf(type, data)]).toEqual([type, undefined]);
    if ("becomes" in effect) {
      expect(next.status).toBe(effect.becomes);
      expect(next).not.toHaveProperty("deadlineAt");
      expect(transition).toMatchObject({ from: status, actor: deadline });
      expect(messages[0]).toMatchObject({ type: `order.${effect.becomes}`, data: { actor: "deadline" } });
      expect(refunds).toHaveLength(status === "paid" ? 1 : 0);
      return;
    }
    expect(next).toMatchObject({ status, version: order.version + 1, alertedAt: isoTime(atMs) });
    expect(messages).toMatchObject([
      { type: "alert.raised", data: { kind: effect.alert, subject: order.id } },
    ]);
    // It alerts repeatedly until a party acts, and stores since when.
    const againMs = atMs + effect.again * MINUTE_MS;
    expect(next.deadlineAt).toBe(isoTime(againMs));
    expect(applyOverdueDeadline(next, deadline, againMs - 1)).toBeUndefined();
    expect(applyOverdueDeadline(next, deadline, againMs)).toMatchObject({
      next: { alertedAt: isoTime(atMs) },
      messages: [{ type: "alert.raised" }],
    });
  });

  it("of a partly paid order, refunds the payments when it expires", () => {
    const pending = orderIn("pending");
    const amount = { amountMinor: 1000, currency: "EUR" };
    const payment = { bankId, eventId: newId(), paymentId: newId(), amount };
    const part = applyPayment(pending, payment, { kind: "bank", name: "b" }, START_MS + MINUTE_MS).next;
    expect(part.deadlineAt).toBe(pending.deadlineAt);
    const expired = applyOverdueDeadline(part, deadline, START_MS + 30 * MINUTE_MS);
    expect(expired).toMatchObject({ next: { status: "expired" }, refunds: [{ amount }] });
  });

  it("of an order in preparation, moves with the partner's promised time, and its alert is reset", () => {
    const late = applyOverdueDeadline(orderIn("preparing"), deadline, START_MS + 20 * MINUTE_MS)
      ?.next as Order;
    const readyAt = isoTime(START_MS + 45 * MINUTE_MS);
    const delayed = applyPartnerReport(
      late,
      { type: "order.delayed", readyAt },
      partner,
      START_MS + 21 * MINUTE_MS,
    ).next;
    expect(delayed).toMatchObject({ readyAt, deadlineAt: readyAt });
    expect(delayed).not.toHaveProperty("alertedAt");
  });

  it("of a delivery, counts from the deliverer's last position", () => {
    const order = orderIn("delivering");
    const atMs = START_MS + 20 * MINUTE_MS;
    const seen = applyOverdueDeadline(order, deadline, atMs, { positionAt: isoTime(atMs - MINUTE_MS) });
    expect(seen).toMatchObject({ next: { deadlineAt: isoTime(atMs + 19 * MINUTE_MS) }, messages: [] });
    const lost = applyOverdueDeadline(order, deadline, atMs, { positionAt: isoTime(START_MS) });
    expect(lost).toMatchObject({
      messages: [
        {
          data: {
            kind: "order.deliverer_silent",
            detail: expect.stringMatching(/^The order has been delivering for too long/),
          },
        },
      ],
    });
  });

  it("of a paid order, does not run before its partner is notified, and the alert names the cause", () => {
    const { partnerNotifiedAt: _, ...known } = orderIn("paid");
    const paid: Order = { ...known, deadlineAt: isoTime(START_MS + 2 * MINUTE_MS) };
    let order = paid;
    for (let hours = 1; hours <= 3; hours += 1) {
      const atMs = START_MS + hours * 60 * MINUTE_MS;
      const decision = applyOverdueDeadline(order, deadline, atMs, { noticeProblem: "the broker is away" });
      expect(decision).toMatchObject({
        next: {
          ...{ status: "paid", alertedAt: isoTime(START_MS + 60 * MINUTE_MS) },
          deadlineAt: isoTime(atMs + 10 * MINUTE_MS),
        },
        messages: [{ type: "alert.raised", data: { kind: "order.partner_not_notified" } }],
        refunds: [],
      });
      expect(JSON.stringify(decision?.messages)).toContain("the broker is away");
      order = decision?.next as Order;
    }
    const notifiedMs = START_MS + 4 * 60 * MINUTE_MS;
    const notified = applyNotice(order, { outcome: "delivered" }, notifiedMs).next;
    expect(notified).toMatchObject({ deadlineAt: isoTime(notifiedMs + 10 * MINUTE_MS) });
    expect(notified).not.toHaveProperty("alertedAt");
    expect(applyOverdueDeadline(notified, deadline, notifiedMs + 10 * MINUTE_MS - 1)).toBeUndefined();
    expect(applyOverdueDeadline(notified, deadline, notifiedMs + 10 * MINUTE_MS)).toMatchObject({
      next: { status: "cancelled" },
      refunds: [{ borneBy: "partner" }],
    });
  });

  it.each(["unreachable", "no_endpoint"] as const)("of an order whose partner is %s, runs", (outcome) => {
    const { partnerNotifiedAt: _, ...paid } = orderIn("paid");
    const next = applyNotice(paid, { outcome, detail: "status 500" }, START_MS).next;
    expect(next).toMatchObject({ deadlineAt: isoTime(START_MS + 10 * MINUTE_MS) });
  });

  it("of an order whose partner the platform cannot notify, is an alert at once; a later report changes nothing", () => {
    const { partnerNotifiedAt: _, ...paid } = orderIn("paid");
    const held = applyNotice(paid, { outcome: "held_up", detail: "a dead letter" }, START_MS);
    expect(held).toMatchObject({
      next: { noticeProblem: "a dead letter", alertedAt: isoTime(START_MS) },
      messages: [{ data: { kind: "order.partner_not_notified" } }],
    });
    const preparing = orderIn("preparing");
    expect(applyNotice(preparing, { outcome: "held_up" }, START_MS).next).toBe(preparing);
  });

  it("of an order before its notice, is two minutes away; one without a deadline has none that passes", () => {
    const { partnerNotifiedAt: _, ...paid } = orderIn("paid");
    expect(deadlineOf(paid, START_MS)).toBe(isoTime(START_MS + 2 * MINUTE_MS));
    const { deadlineAt: __, ...ready } = orderIn("ready");
    expect(applyOverdueDeadline(ready, deadline, START_MS + 999 * MINUTE_MS)).toBeUndefined();
  });

  it("names the reason of a missing notice only of an order that lacks it, and counts positions only of a delivery", () => {
    const atMs = START_MS + 20 * MINUTE_MS;
    const known = { noticeProblem: "the broker is away", positionAt: isoTime(atMs) };
    const detailOf = (order: Order, facts: object) =>
      applyOverdueDeadline(order, deadline, atMs, facts)?.messages[0]?.data;
    expect(detailOf(orderIn("ready"), known)).toMatchObject({
      detail: "The order has been ready for too long (alert: it is assigned to no deliverer).",
    });
    const { partnerNotifiedAt: _, ...paid } = orderIn("paid");
    expect(detailOf(paid, {})).toMatchObject({ detail: expect.stringMatching(/has not begun\)\.$/) });
  });

  it("does not exist for ended orders", () => {
    for (const status of orderStatus.values.filter(isFinal)) {
      const order = { ...orderIn("pending"), status };
      expect(hasDeadline(status)).toBe(false);
      expect(deadlineOf(order, START_MS)).toBeUndefined();
      expect(applyOverdueDeadline(order, deadline, START_MS + 999 * MINUTE_MS)).toBeUndefined();
    }
  });
});
