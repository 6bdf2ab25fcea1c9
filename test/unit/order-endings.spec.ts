import { describe, expect, it } from "@jest/globals";
import { type OrderStatus, orderStatus } from "../../contracts/orders.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { endings, isFinal, type MoveName, move, moves } from "../../services/orders/domain/order.ts";
import { confirm } from "../../services/orders/domain/order-customer.ts";
import type { ActorKind, Bearer, Order } from "../../services/orders/domain/order-model.ts";
import { applyPayment, refundCustomer } from "../../services/orders/domain/order-payment.ts";
import { sampleQuote } from "../support/orders.ts";

const NOW_MS = Date.parse("2026-03-01T12:00:00.000Z");
const bankId = newId();
const kinds: ActorKind[] = ["customer", "partner", "deliverer", "admin", "bank", "deadline"];
const enders: MoveName[] = ["cancel", "reject", "expire"];

/** The product's rules, written independently: state, actor, move, and the bearer of the loss. */
const expected: Record<string, Bearer> = {
  "pending customer cancel": "nobody",
  "pending admin cancel": "nobody",
  "pending deadline expire": "nobody",
  "paid customer cancel": "nobody",
  "paid partner reject": "partner",
  "paid partner cancel": "partner",
  "paid admin reject": "platform",
  "paid admin cancel": "platform",
  "paid deadline cancel": "partner",
  "preparing partner reject": "partner",
  "preparing partner cancel": "partner",
  "preparing admin reject": "platform",
  "preparing admin cancel": "platform",
  "ready admin cancel": "platform",
  "failed admin cancel": "platform",
};

/** An order in a state, with so much paid for it. */
function orderIn(status: OrderStatus, paidMinor: number): Order {
  const quote = sampleQuote({ expiresAt: isoTime(NOW_MS + 1) });
  const actor = { kind: "customer", name: "c" } as const;
  const { next } = confirm(quote, { id: newId(), name: "Ada" }, bankId, actor, NOW_MS);
  const payment = {
    bankId,
    eventId: newId(),
    paymentId: newId(),
    amount: { amountMinor: paidMinor, currency: "EUR" },
  };
  const paid = applyPayment(next, payment, { kind: "bank", name: "b" }, NOW_MS).next;
  return { ...paid, status };
}

describe("the table of an order's endings", () => {
  it("for every state, actor and move, ends the order with a full refund, or refuses", () => {
    const seen: Record<string, Bearer> = {};
    for (const status of orderStatus.values) {
      for (const kind of kinds) {
        for (const name of enders) {
          const order = orderIn(status, status === "pending" ? 1000 : 2950);
          const cell = `${status} ${kind} ${name}`;
          try {
            const { next, refunds } = move(order, name, { kind, name: kind }, NOW_MS);
            const [refund] = refunds;
            seen[cell] = refund?.borneBy as Bearer;
            expect([cell, refunds.length, refund?.amount.amountMinor]).toEqual([cell, 1, order.paidMinor]);
            expect(isFinal(next.status)).toBe(true);
            expect(next).toMatchObject({
              refundPendingMinor: order.paidMinor,
              paymentStatus: "refund_pending",
            });
          } catch (error) {
            expect(error).toMatchObject({ code: 409 });
          }
        }
      }
    }
    expect(seen).toEqual(expected);
  });

  it("has no cell for final states, and none without a move", () => {
    for (const [status, actors] of Object.entries(endings)) {
      expect(isFinal(status as OrderStatus)).toBe(false);
      for (const [kind, { by }] of Object.entries(actors)) {
        for (const name of by) {
          const may = moves[name].may as Partial<Record<string, readonly string[]>>;
          expect(may[kind]).toContain(status);
        }
      }
    }
  });

  it("charges an operator's refunds to the platform, and refunds of excess or late payments to no party", () => {
    const paid = orderIn("pending", 2950);
    const again = {
      bankId,
      eventId: newId(),
      paymentId: newId(),
      amount: { amountMinor: 10, currency: "EUR" },
    };
    const bank = { kind: "bank", name: "b" } as const;
    for (const status of ["paid", "delivered", "cancelled", "expired"] as const) {
      expect(applyPayment({ ...paid, status }, again, bank, NOW_MS).refunds).toMatchObject([
        { borneBy: "nobody" },
      ]);
    }
    const part = refundCustomer(
      { ...paid, status: "delivered" },
      { amountMinor: 5, currency: "EUR" },
      "cold",
      NOW_MS,
    );
    expect(part.refunds).toMatchObject([{ borneBy: "platform", amount: { amountMinor: 5 }, reason: "cold" }]);
  });
});
