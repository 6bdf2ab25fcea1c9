import { describe, expect, it } from "@jest/globals";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { confirm } from "../../services/orders/domain/order-customer.ts";
import type { Actor, Order } from "../../services/orders/domain/order-model.ts";
import { applyPartnerReport } from "../../services/orders/domain/order-partner.ts";
import { sampleQuote } from "../support/orders.ts";

const NOW_MS = Date.parse("2026-03-01T12:00:00.000Z");
const MINUTE_MS = 60_000;
const partner: Actor = { kind: "partner", name: "partner:p" };
const at = (minutes: number) => isoTime(NOW_MS + minutes * MINUTE_MS);

function paidOrder(): Order {
  const quote = sampleQuote({ expiresAt: at(10) });
  const actor: Actor = { kind: "customer", name: "c" };
  const { next } = confirm(quote, { id: newId(), name: "Ada" }, newId(), actor, NOW_MS);
  return { ...next, status: "paid", paymentStatus: "paid", paidMinor: next.totalMinor };
}

describe("a partner's promise of the time when an order is ready", () => {
  it("is the partner's latest, in any order of its reports", () => {
    const [earlier, later] = [
      { type: "order.delayed", readyAt: at(30), saidAt: at(-3) } as const,
      { type: "order.delayed", readyAt: at(45), saidAt: at(-1) } as const,
    ];
    const accepted = applyPartnerReport(paidOrder(), { type: "order.accepted" }, partner, NOW_MS).next;
    for (const reports of [
      [earlier, later],
      [later, earlier],
      [later, earlier, later],
    ]) {
      const order = reports.reduce(
        (one, report) => applyPartnerReport(one, report, partner, NOW_MS).next,
        accepted,
      );
      expect(order).toMatchObject({ readyAt: at(45), deadlineAt: at(45) });
    }
  });

  it("is part of every report of a delay", () => {
    const accepted = applyPartnerReport(paidOrder(), { type: "order.accepted" }, partner, NOW_MS).next;
    expect(() => applyPartnerReport(accepted, { type: "order.delayed" }, partner, NOW_MS)).toThrow(
      expect.objectContaining({
        type: "VALIDATION_ERROR",
        data: { errors: [expect.objectContaining({ field: "readyAt", rule: "required" })] },
      }),
    );
  });

  it("made by a clock that is ahead, does not prevent later ones", () => {
    const accepted = applyPartnerReport(
      paidOrder(),
      { type: "order.accepted", readyAt: at(20), saidAt: at(1_000) },
      partner,
      NOW_MS,
    ).next;
    const report = { type: "order.delayed", readyAt: at(40), saidAt: at(2) } as const;
    expect(applyPartnerReport(accepted, report, partner, NOW_MS + MINUTE_MS).next).toMatchObject({
      readyAt: at(40),
    });
  });

  it("in the past, counts as now, and the history shows it", () => {
    const accepted = applyPartnerReport(
      paidOrder(),
      { type: "order.accepted", readyAt: at(-30) },
      partner,
      NOW_MS,
    );
    expect(accepted).toMatchObject({
      next: { status: "preparing", readyAt: at(0), deadlineAt: at(0) },
      transition: { reason: "The promised time was past and counts as now." },
    });
    const delayed = applyPartnerReport(
      { ...accepted.next, readyAt: at(10) },
      { type: "order.delayed", readyAt: at(-5), reason: "x".repeat(500) },
      partner,
      NOW_MS,
    );
    expect(delayed.next.readyAt).toBe(at(0));
    expect(delayed.transition?.reason).toMatch(/^x+… The promised time was past and counts as now\.$/);
    expect(delayed.transition?.reason?.length).toBeLessThanOrEqual(500);
  });
});
