import { describe, expect, it } from "@jest/globals";
import type { Rejection } from "../../contracts/orders.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { confirm } from "../../services/orders/domain/order-customer.ts";
import type { Actor, Order } from "../../services/orders/domain/order-model.ts";
import { applyNotice, applyPartnerReport } from "../../services/orders/domain/order-partner.ts";
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
    expect(delayed.transition?.reason).toHaveLength(500);
  });

  it("is within a day, and past by more than the tolerance of clocks, has a remark", () => {
    const promise = (readyAt: string, reason?: string) =>
      applyPartnerReport(
        { ...paidOrder(), status: "preparing", readyAt: at(90) },
        { type: "order.delayed", readyAt, ...(reason && { reason }) },
        partner,
        NOW_MS,
      );
    expect(promise(at(24 * 60)).next.readyAt).toBe(at(24 * 60));
    for (const beyond of [isoTime(NOW_MS + 24 * 60 * MINUTE_MS + 1), "2026-02-31T25:00:00Z"]) {
      expect(() => promise(beyond)).toThrow(expect.objectContaining({ type: "VALIDATION_ERROR" }));
    }
    expect(promise(isoTime(NOW_MS - 5_000), "Busy").transition?.reason).toBe("Busy");
    expect(promise(isoTime(NOW_MS - 5_001), "Busy").transition?.reason).toMatch(/^Busy The promised/);
    expect(promise(isoTime(NOW_MS - 5_000)).transition).not.toHaveProperty("reason");
    expect(promise(at(30)).next).toMatchObject({ version: 2, readyAt: at(30), deadlineAt: at(30) });
  });
});

describe("a report of the partner", () => {
  const inState = (status: Order["status"], change: Partial<Order> = {}): Order => ({
    ...{ ...paidOrder(), status },
    ...change,
  });
  const report = (order: Order, type: "order.accepted" | "order.delayed" | "order.ready", readyAt?: string) =>
    applyPartnerReport(order, { type, ...(readyAt && { readyAt }) }, partner, NOW_MS).next;

  it("of an earlier state, or of the same promise, changes nothing", () => {
    for (const status of ["preparing", "ready", "delivering", "delivered", "failed"] as const) {
      const order = inState(status, { readyAt: at(30) });
      expect(report(order, "order.accepted")).toBe(order);
      if (status === "preparing") expect(report(order, "order.delayed", at(30))).toBe(order);
      else
        for (const type of ["order.ready", "order.delayed"] as const) expect(report(order, type)).toBe(order);
    }
  });

  it("of a delay, accepts a paid order, and is refused for one that has ended", () => {
    expect(report(inState("paid"), "order.delayed", at(40))).toMatchObject({
      status: "preparing",
      readyAt: at(40),
    });
    expect(() => report(inState("cancelled"), "order.delayed", at(40))).toThrow(
      expect.objectContaining({ type: "ILLEGAL_TRANSITION" }),
    );
  });

  it("on a notice, increases the version", () => {
    const order = inState("paid");
    expect(applyNotice(order, { outcome: "delivered" }, NOW_MS).next.version).toBe(order.version + 1);
  });
});

describe("a rejection", () => {
  const order = paidOrder();
  const [bread, butter] = order.lines.map(({ productId }) => productId) as [string, string];
  const reject = (rejection?: Rejection, from: Order = order, reason?: string) =>
    applyPartnerReport(
      from,
      { type: "order.rejected", ...(rejection && { rejection }), ...(reason && { reason }) },
      partner,
      NOW_MS,
    );
  const textOf = (...args: Parameters<typeof reject>) => reject(...args).next.reason;

  it("has a text of its reason, its products and the partner's own words", () => {
    expect(textOf()).toBe("The partner cannot prepare it.");
    expect(textOf(undefined, order, "Closed")).toBe("Closed");
    expect(textOf({ reason: "out_of_stock", outOfStock: [butter, bread], text: "Sorry." })).toBe(
      "Out of stock: Butter, Bread. Sorry.",
    );
    expect(textOf({ reason: "too_busy", outOfStock: [] })).toBe("Too many orders.");
    expect(textOf({ reason: "other", outOfStock: [], text: "Oven broken" })).toBe("Oven broken");
    expect(textOf({ reason: "other", outOfStock: [] })).toBe("The partner cannot prepare it.");
    expect(() => reject({ reason: "out_of_stock", outOfStock: [bread, newId()] })).toThrow(
      expect.objectContaining({
        data: { errors: [expect.objectContaining({ field: "outOfStock[1]", rule: "line" })] },
      }),
    );
  });

  it("of a cancelled order, changes nothing, unless it has further products", () => {
    const rejected = reject({ reason: "out_of_stock", outOfStock: [bread] }).next;
    expect(reject({ reason: "out_of_stock", outOfStock: [bread] }, rejected).next).toBe(rejected);
    expect(reject(undefined, rejected).next).toBe(rejected);
    const cancelled = { ...order, status: "cancelled" as const };
    expect(reject(undefined, cancelled).next).toBe(cancelled);
    for (const [known, ids] of [
      [rejected, [bread, butter]],
      [cancelled, [bread]],
    ] as const) {
      expect(() => reject({ reason: "out_of_stock", outOfStock: [...ids] }, known)).toThrow(
        expect.objectContaining({ type: "ILLEGAL_TRANSITION" }),
      );
    }
  });
});
