import { describe, expect, it } from "@jest/globals";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { confirm } from "../../services/orders/domain/order-customer.ts";
import { cancel } from "../../services/orders/domain/order-delivery.ts";
import type { Actor, Order } from "../../services/orders/domain/order-model.ts";
import {
  applyPayment,
  applyRefundEnd,
  canCount,
  completes,
  refundCustomer,
  retryFailedRefund,
} from "../../services/orders/domain/order-payment.ts";
import { allocateRefund, withPaymentStatus } from "../../services/orders/domain/order-refund.ts";
import { sampleQuote } from "../support/orders.ts";

const NOW_MS = Date.parse("2026-03-01T12:00:00.000Z");
const bank: Actor = { kind: "bank", name: "bank:b" };
const admin: Actor = { kind: "admin", name: "an admin" };
const euro = (amountMinor: number) => ({ amountMinor, currency: "EUR" });
const bankId = newId();

function pending(): Order {
  const quote = sampleQuote({ expiresAt: isoTime(NOW_MS + 1) });
  return confirm(quote, { id: newId(), name: "Ada" }, bankId, admin, NOW_MS).next;
}
const pay = (order: Order, amountMinor: number, paymentId: string = newId()) =>
  applyPayment(order, { bankId, eventId: newId(), paymentId, amount: euro(amountMinor) }, bank, NOW_MS);

it("an order that has received nothing, is unpaid", () => {
  expect(withPaymentStatus(pending()).paymentStatus).toBe("unpaid");
  expect(withPaymentStatus({ ...pending(), refundFailedMinor: 1 }).paymentStatus).toBe("unpaid");
});

it("an order shows each minor unit that failed or is pending", () => {
  const status = (change: Partial<Order>) =>
    withPaymentStatus({ ...pending(), paidMinor: 2950, ...change }).paymentStatus;
  expect(status({ refundFailedMinor: 1 })).toBe("refund_failed");
  expect(status({ refundPendingMinor: 1 })).toBe("refund_pending");
  expect(status({ refundedMinor: 1 })).toBe("partially_refunded");
  expect(status({ refundedMinor: 2949 })).toBe("partially_refunded");
  expect(status({ refundedMinor: 2950 })).toBe("refunded");
  expect(status({ paidMinor: 1 })).toBe("partially_paid");
});

describe("completes", () => {
  it("is true for exactly what a pending order waits for", () => {
    expect([2949, 2950, 2951].map((amount) => completes(pending(), euro(amount)))).toEqual([
      false,
      true,
      false,
    ]);
    const partly = pay(pending(), 2000).next;
    expect([950, 2950].map((amount) => completes(partly, euro(amount)))).toEqual([true, false]);
    expect(completes(pending(), { amountMinor: 2950, currency: "USD" })).toBe(false);
    expect(completes(pay(pending(), 2950).next, euro(2950))).toBe(false);
    expect(completes({ ...pending(), status: "cancelled" }, euro(2950))).toBe(false);
  });

  it("counts amounts as far as sums stay exact", () => {
    const order = pay(pending(), 1000).next;
    const left = Number.MAX_SAFE_INTEGER - 1000;
    expect([left, left + 1].map((amount) => canCount(order, euro(amount)))).toEqual([true, false]);
  });
});

describe("receive", () => {
  it.each([
    [[2950], ["accepted"], "paid", "paid", []],
    [[2949], ["underpaid"], "pending", "partially_paid", []],
    [[2949, 1], ["underpaid", "accepted"], "paid", "paid", []],
    [[2000, 2000], ["underpaid", "overpaid"], "paid", "paid", [1050]],
    [[2951], ["overpaid"], "paid", "paid", [1]],
    [[2950, 2950], ["accepted", "overpaid"], "paid", "paid", [2950]],
  ])("of %j of 2950, is %j", (amounts, outcomes, status, paymentStatus, refunds) => {
    let order = pending();
    const seen: string[] = [];
    const back: number[] = [];
    for (const amount of amounts) {
      const decision = pay(order, amount);
      seen.push(decision.outcome);
      back.push(...decision.refunds.map(({ amount: { amountMinor } }) => amountMinor));
      order = decision.next;
    }
    expect([seen, order.status, order.paymentStatus, back]).toEqual([
      outcomes,
      status,
      paymentStatus,
      refunds,
    ]);
  });

  it("of too much in two payments, refunds the excess out of the later one", () => {
    const first = pay(pending(), 2000, "first").next;
    const { refunds } = pay(first, 2000, "second");
    expect(refunds).toMatchObject([
      { paymentId: "second", amount: euro(1050), borneBy: "nobody", reason: "order paid" },
    ]);
    expect(first).toMatchObject({ version: 2 });
  });

  it("of an order that has ended, or is paid, is refunded with the reason", () => {
    const paid = pay(pending(), 2950).next;
    const back = (status: Order["status"]) => {
      const { outcome, refunds, next } = pay({ ...paid, status }, 5);
      return [outcome, refunds[0]?.reason, next.version];
    };
    expect(back("cancelled")).toEqual(["late", "paid when it was cancelled", 3]);
    expect(back("expired")).toEqual(["late", "paid when it was expired", 3]);
    expect(back("ready")).toEqual(["overpaid", "paid more than once", 3]);
  });

  it("gives the same refund the same id, and another refund another id", () => {
    const order = pay(pending(), 2950, "p").next;
    const [once, again] = [cancel(order, admin, NOW_MS), cancel(order, admin, NOW_MS)];
    expect(again.refunds).toEqual(once.refunds);
    const later = refundCustomer(order, euro(10), "goodwill", NOW_MS).next;
    expect(cancel(later, admin, NOW_MS).refunds[0]?.id).not.toBe(once.refunds[0]?.id);
  });
});

describe("a refund with a limit", () => {
  it("counts the refunds before it, so that several small ones do not pass the limit", () => {
    const paid = pay(pending(), 2950, "p").next;
    const { next } = refundCustomer(paid, euro(1500), "cold", NOW_MS, 2000);
    expect(() => refundCustomer(next, euro(501), "cold", NOW_MS, 2000)).toThrow(
      expect.objectContaining({ type: "REFUND_LIMIT" }),
    );
    expect(refundCustomer(next, euro(500), "cold", NOW_MS, 2000).refunds).toHaveLength(1);
    expect(() => refundCustomer(paid, undefined, "all", NOW_MS, 2949)).toThrow();
    expect(refundCustomer(next, undefined, "all", NOW_MS).refunds).toMatchObject([{ amount: euro(1450) }]);
  });
});

describe("a refund over several payments", () => {
  it("uses the newest payment first, and of each at most its balance", () => {
    const paid = pay(pay(pay(pending(), 1000, "a").next, 1000, "b").next, 950, "c").next;
    const part = refundCustomer(paid, euro(1500), "late", NOW_MS);
    expect(part.refunds.map(({ paymentId, amount }) => [paymentId, amount.amountMinor])).toEqual([
      ["c", 950],
      ["b", 550],
    ]);
    const rest = refundCustomer(part.next, undefined, "late", NOW_MS);
    expect(rest.refunds.map(({ paymentId, amount }) => [paymentId, amount.amountMinor])).toEqual([
      ["b", 450],
      ["a", 1000],
    ]);
  });

  it("that fails, is shown, returns its amount to the payment, and is settled by another refund", () => {
    const paid = pay(pending(), 2950, "p").next;
    const { next: cancelled, refunds } = cancel(paid, admin, NOW_MS);
    const [refund] = refunds;
    if (!refund) throw new Error("nothing goes back");
    const failed = applyRefundEnd(cancelled, refund, false, NOW_MS, "account closed");
    expect(failed.next).toMatchObject({
      paymentStatus: "refund_failed",
      refundPendingMinor: 0,
      refundedMinor: 0,
    });
    expect(failed.messages).toMatchObject([{ type: "alert.raised", data: { kind: "refund.failed" } }]);
    const again = refundCustomer(failed.next, undefined, "another account", NOW_MS);
    expect(again.next.paymentStatus).toBe("refund_pending");
    const [second] = again.refunds;
    if (!second) throw new Error("nothing goes back");
    expect(applyRefundEnd(again.next, second, true, NOW_MS).next).toMatchObject({
      paymentStatus: "refunded",
      refundedMinor: 2950,
    });
  });

  it("that failed, is retried out of its own payment, up to its balance", () => {
    const { next: cancelled, refunds } = cancel(pay(pending(), 2950, "p").next, admin, NOW_MS);
    const [refund] = refunds;
    if (!refund) throw new Error("nothing goes back");
    const failed = applyRefundEnd(cancelled, refund, false, NOW_MS).next;
    const again = retryFailedRefund(failed, refund, NOW_MS + 1);
    expect(again?.next).toMatchObject({
      ...{ version: failed.version + 1, updatedAt: isoTime(NOW_MS + 1), paymentStatus: "refund_pending" },
      ...{ refundPendingMinor: 2950, refundFailedMinor: 0, receipts: [{ refundMinor: 2950 }] },
    });
    expect([again?.refunds, again?.messages]).toMatchObject([[refund], [{ type: "refund.requested" }]]);
    // Nothing is left while it is on its way.
    expect(retryFailedRefund(again?.next as Order, refund, NOW_MS)).toBeUndefined();
    expect(retryFailedRefund(failed, { ...refund, amount: euro(2951) }, NOW_MS)).toBeUndefined();
    expect(
      retryFailedRefund(failed, { ...refund, amount: euro(1), paymentId: "unknown" }, NOW_MS),
    ).toBeUndefined();
  });

  it("that failed, is not retried out of a payment with too small a balance, even if the order's balance suffices", () => {
    const paid = pay(pay(pending(), 1000, "a").next, 1950, "b").next;
    const back = refundCustomer(paid, euro(1950), "late", NOW_MS);
    const [refund] = back.refunds;
    if (!refund) throw new Error("nothing goes back");
    const failed = applyRefundEnd(back.next, refund, false, NOW_MS).next;
    const some = refundCustomer(failed, euro(1), "late", NOW_MS).next;
    expect(retryFailedRefund(some, refund, NOW_MS)).toBeUndefined();
    expect(retryFailedRefund(failed, refund, NOW_MS)).toBeDefined();
  });

  it("of a failed refund and of a late payment, are separate", () => {
    const { next: cancelled, refunds } = cancel(pay(pending(), 2950, "p").next, admin, NOW_MS);
    const failed = applyRefundEnd(cancelled, refunds[0] as never, false, NOW_MS).next;
    const late = pay(failed, 100, "late");
    expect(late.outcome).toBe("late");
    expect(late.refunds).toMatchObject([{ paymentId: "late", amount: euro(100) }]);
    expect(late.next.paymentStatus).toBe("refund_failed");
  });
});

describe("a refund by an operator", () => {
  it("of a pending order, of nothing or of more than the balance, is refused", () => {
    const order = pay(pending(), 2950).next;
    const refused = (type: string) => expect.objectContaining({ type });
    const refund = (of: Order, amountMinor: number) => () =>
      refundCustomer(of, euro(amountMinor), "cold", NOW_MS);
    expect(refund(pay(pending(), 100).next, 1)).toThrow(refused("ILLEGAL_TRANSITION"));
    expect(refund(order, 0)).toThrow(refused("VALIDATION_ERROR"));
    expect(refund(order, 2951)).toThrow(refused("VALIDATION_ERROR"));
    expect(refund(order, 2950)().next).toMatchObject({ refundFailedMinor: 0, version: 3 });
    expect(() => allocateRefund(order, 2951, "cold", "nobody")).toThrow(RangeError);
    expect(refund(order, 1)().next).toMatchObject({ refundFailedMinor: 0 });
    const [ended] = refund(order, 1)().refunds;
    expect(applyRefundEnd(order, ended as never, true, NOW_MS + 1).next).toMatchObject({
      version: 3,
      updatedAt: isoTime(NOW_MS + 1),
    });
  });

  it("in another currency than the order's, is refused", () => {
    const order = pay(pending(), 2950).next;
    const refund = () => refundCustomer(order, { amountMinor: 100, currency: "CHF" }, "cold", NOW_MS);
    expect(refund).toThrow(
      expect.objectContaining({
        type: "VALIDATION_ERROR",
        data: { errors: [expect.objectContaining({ field: "amount.currency" })] },
      }),
    );
  });
});
