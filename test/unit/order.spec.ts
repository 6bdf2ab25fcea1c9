import { describe, expect, it } from "@jest/globals";
import { problemOf } from "../../contracts/message-check.ts";
import { type MessageType, messages } from "../../contracts/messages.ts";
import { type OrderStatus, orderStatus } from "../../contracts/orders.ts";
import {
  deadlines,
  isFinal,
  legalNext,
  type MoveName,
  move,
  moves,
} from "../../services/orders/domain/order.ts";
import { confirm } from "../../services/orders/domain/order-customer.ts";
import type { Actor, ActorKind, Order } from "../../services/orders/domain/order-model.ts";
import { sampleQuote } from "../support/orders.ts";

const NOW_MS = Date.parse("2026-03-01T12:00:00.000Z");
const minutes = (count: number) => NOW_MS + count * 60_000;
const at = (count: number) => new Date(minutes(count)).toISOString();
const actor = (kind: ActorKind): Actor => ({ kind, name: `a ${kind}` });
const customer = { id: "0198b000-0000-7000-8000-000000000001", name: "Ada Byron", phone: "+41790000000" };
const bankId = "0198b000-0000-7000-8000-000000000002";

const quote = sampleQuote({ expiresAt: at(10) });
const fresh = () => confirm(quote, customer, bankId, actor("customer"), NOW_MS);
const inState = (status: OrderStatus): Order => ({ ...fresh().next, status });

const table: Record<OrderStatus, OrderStatus[]> = {
  pending: ["paid", "cancelled", "expired"],
  paid: ["preparing", "ready", "cancelled"],
  preparing: ["ready", "cancelled"],
  ready: ["delivering", "cancelled"],
  delivering: ["delivered", "ready", "failed"],
  failed: ["ready", "cancelled"],
  delivered: [],
  cancelled: [],
  expired: [],
};

describe("the table of an order's states", () => {
  it.each(Object.entries(table))("from %s leads to the specified states only", (status, legal) => {
    expect(legalNext(status as OrderStatus).sort()).toEqual([...legal].sort());
  });

  it("allows a path from pending to every state, and from every state to a final one", () => {
    const reach = (from: OrderStatus, seen = new Set<OrderStatus>()): Set<OrderStatus> => {
      if (!seen.has(from)) for (const to of legalNext(from)) reach(to, seen.add(from));
      return seen.add(from);
    };
    expect([...reach("pending")].sort()).toEqual([...orderStatus.values].sort());
    for (const status of orderStatus.values) {
      expect([...reach(status)].some(isFinal)).toBe(true);
    }
  });

  it("has a deadline for every state that is not final, and for no other", () => {
    const waiting = orderStatus.values.filter((status) => !isFinal(status));
    expect(Object.keys(deadlines).sort()).toEqual([...waiting].sort());
  });

  it("has only deadlines whose moves are allowed for deadlines", () => {
    for (const [status, { action }] of Object.entries(deadlines)) {
      if (!("move" in action)) continue;
      expect((moves[action.move].may as Record<string, readonly string[]>).deadline).toContain(status);
    }
  });
});

/** The moves within a state. */
const WITHIN: readonly MoveName[] = ["pickUp", "offer", "decline", "expireOffer", "openToPool"];

describe("move", () => {
  const kinds: ActorKind[] = ["customer", "partner", "deliverer", "admin", "bank", "deadline"];
  const cases = (Object.keys(moves) as MoveName[]).flatMap((name) =>
    orderStatus.values.flatMap((status) => kinds.map((kind) => ({ name, status, kind }))),
  );

  it("for each move, state and actor, follows the table or refuses with the legal states", () => {
    for (const { name, status, kind } of cases) {
      const order = inState(status);
      const may = moves[name].may as Partial<Record<ActorKind, readonly OrderStatus[]>>;
      if (may[kind]?.includes(status)) {
        const { next, transition } = move(order, name, actor(kind), minutes(1));
        expect(next).toMatchObject({ status: moves[name].to, version: 2, lastActor: `a ${kind}` });
        expect(transition).toMatchObject({ from: status, to: moves[name].to, type: moves[name].message });
        expect([...table[status], ...(WITHIN.includes(name) ? [status] : [])]).toContain(next.status);
      } else {
        const type = name === "cancel" ? "ORDER_NOT_CANCELLABLE" : "ILLEGAL_TRANSITION";
        expect(() => move(order, name, actor(kind), NOW_MS)).toThrow(
          expect.objectContaining({ type, code: 409, data: { status, legal: expect.any(Array) } }),
        );
        expect(order).toEqual(inState(status));
      }
    }
    expect(cases).toHaveLength(15 * 9 * 6);
  });

  it("if refused, names the legal next states, or that the state is final", () => {
    const paid = (status: OrderStatus) => () => move(inState(status), "pay", actor("bank"), NOW_MS);
    expect(paid("ready")).toThrow("The order is ready and can become cancelled, delivering.");
    expect(paid("delivered")).toThrow("The order is delivered and stays as it is.");
  });

  it("refused to cancel, names the states in which the caller could", () => {
    const cancelled = (kind: ActorKind) => () => move(inState("delivering"), "cancel", actor(kind), NOW_MS);
    expect(cancelled("customer")).toThrow(
      "The order is delivering; you can cancel while it is pending or paid.",
    );
    expect(cancelled("deliverer")).toThrow("The order is delivering; it is not yours to cancel.");
  });

  it("adds a valid message for each move", () => {
    for (const { name, status, kind } of cases) {
      const may = moves[name].may as Partial<Record<ActorKind, readonly OrderStatus[]>>;
      if (!may[kind]?.includes(status)) continue;
      const decision = move(inState(status), name, actor(kind), minutes(1), { reason: "because" });
      for (const { type, data } of decision.messages)
        expect([type, problemOf(type, data)]).toEqual([type, undefined]);
      expect(decision.messages[0]).toMatchObject({
        type: moves[name].message,
        subject: quote.checkId,
        data: { version: 2, previousStatus: status, status: moves[name].to, reason: "because" },
      });
    }
  });

  it("has a message type for every move that there is a message for", () => {
    const told = new Set<string>(Object.values(moves).map(({ message }) => message));
    const known = (Object.keys(messages) as MessageType[]).filter((type) => type.startsWith("order."));
    // Two are published without a transition: the order is new, or its promise moved.
    expect(known.filter((type) => !told.has(type)).sort()).toEqual(["order.created", "order.delayed"]);
  });

  it("into a final state, removes the deadline and records the time", () => {
    const { next } = move(inState("pending"), "expire", actor("deadline"), minutes(30));
    expect(next).toMatchObject({ status: "expired", closedAt: at(30) });
    expect(next).not.toHaveProperty("deadlineAt");
  });
});

describe("confirm", () => {
  it("creates a pending order with the check's id and a deadline of thirty minutes for its payment", () => {
    const { next, transition, messages: told, refunds } = fresh();
    expect(next).toMatchObject({
      id: quote.checkId,
      status: "pending",
      paymentStatus: "unpaid",
      version: 1,
      totalMinor: 2950,
      feeMinor: 450,
      payBy: at(30),
      deadlineAt: at(30),
      ...{ paidMinor: 0, refundedMinor: 0, refundPendingMinor: 0, refundFailedMinor: 0, receipts: [] },
      handoverFailures: 0,
    });
    expect(transition).toMatchObject({ type: "order.created", to: "pending" });
    expect(told.map(({ type, data }) => [type, problemOf(type, data)])).toEqual([
      ["order.created", undefined],
    ]);
    expect(refunds).toEqual([]);
  });

  it("refuses a quote that is expired, has a wrong sum, mixes currencies or has a total of 0", () => {
    const refusal = (change: object, nowMs = NOW_MS) => {
      try {
        confirm({ ...quote, ...change }, customer, bankId, actor("customer"), nowMs);
      } catch (error) {
        return (error as { type: string }).type;
      }
      return "nothing";
    };
    // The five seconds are for the clocks of Partners and of this database, which are two.
    expect(refusal({}, minutes(10) + 4_999)).toBe("nothing");
    expect(refusal({}, minutes(10) + 5_000)).toBe("CHECK_EXPIRED");
    expect(refusal({ total: { amountMinor: 2949, currency: "EUR" } })).toBe("VALIDATION_ERROR");
    expect(refusal({ total: { amountMinor: 2950, currency: "CHF" } })).toBe("VALIDATION_ERROR");
    expect(refusal({ fee: { amountMinor: 450, currency: "CHF" } })).toBe("VALIDATION_ERROR");
    const nothing = { amountMinor: 0, currency: "EUR" };
    expect(refusal({ lines: [], fee: nothing, total: nothing })).toBe("VALIDATION_ERROR");
    expect(refusal({})).toBe("nothing");
  });
});
