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
import { confirm, edit } from "../../services/orders/domain/order-customer.ts";
import {
  assign,
  cancel,
  deliver,
  delivererGone,
  failDelivery,
  override,
  pickUp,
  release,
} from "../../services/orders/domain/order-delivery.ts";
import {
  courierNear,
  orderMessage,
  paymentMessage,
  refundCompleted,
  refundFailed,
} from "../../services/orders/domain/order-messages.ts";
import type { Actor, ActorKind, Order } from "../../services/orders/domain/order-model.ts";
import {
  decline,
  expireOffer,
  OFFERS_MAX,
  offer,
  openToPool,
} from "../../services/orders/domain/order-offers.ts";
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

const typeOf = (act: () => unknown): string => {
  try {
    act();
    return "nothing";
  } catch (error) {
    return (error as { type: string }).type;
  }
};
const [me, another] = ["0198b000-0000-7000-8000-00000000000a", "0198b000-0000-7000-8000-00000000000b"];
const deliverer = { kind: "deliverer", name: me } as const;

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
    expect(cancelled("deadline")).toThrow("The order is delivering; you can cancel while it is paid.");
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

  it("within a state, keeps the time of its alert; into another state, resets it", () => {
    const ready = { ...inState("ready"), alertedAt: at(-1) };
    const platform = actor("platform");
    expect(move(ready, "openToPool", platform, NOW_MS).next).toMatchObject({ alertedAt: at(-1) });
    const { next, transition } = move(ready, "assign", actor("admin"), NOW_MS, { delivererId: "d" });
    expect(next).not.toHaveProperty("alertedAt");
    expect(transition).not.toHaveProperty("reason");
  });

  it("that owes the customer nothing, leaves an excess whose refund has failed", () => {
    const receipts = [{ paymentId: "p", amountMinor: 3000, refundMinor: 0 }];
    const over = { ...inState("paid"), paidMinor: 3000, refundFailedMinor: 50, receipts };
    expect(move(over, "accept", actor("partner"), NOW_MS)).toMatchObject({
      next: { refundFailedMinor: 50, refundPendingMinor: 0 },
      refunds: [],
    });
  });

  it("names the deliverer who had the order before, if another one or none has it now", () => {
    const carried = { ...inState("delivering"), delivererId: "d" };
    const dataOf = (...args: Parameters<typeof move>) => move(...args).messages[0]?.data;
    expect(dataOf(carried, "release", actor("admin"), NOW_MS, { delivererId: undefined })).toMatchObject({
      formerDelivererId: "d",
    });
    const after = dataOf(carried, "pickUp", actor("deliverer"), NOW_MS);
    expect(after).toMatchObject({ delivererId: "d" });
    expect(after).not.toHaveProperty("formerDelivererId");
    const unnoticed = { ...inState("paid"), deadlineAt: at(2) };
    const noticed = { ...unnoticed, partnerNotifiedAt: at(0) };
    const told = (order: Order) =>
      orderMessage(order, { type: "order.paid", to: "paid", actor: actor("bank") }).data;
    expect(told(noticed)).toMatchObject({ deadlineAt: at(2) });
    expect(told(unnoticed)).not.toHaveProperty("deadlineAt");
  });

  it("into a final state, removes the deadline and records the time", () => {
    const { next } = move(inState("pending"), "expire", actor("deadline"), minutes(30));
    expect(next).toMatchObject({ status: "expired", closedAt: at(30) });
    expect(next).not.toHaveProperty("deadlineAt");
  });
});

describe("a message about money or a courier", () => {
  const payment = { bankId, paymentId: "p", eventId: "e", amount: { amountMinor: 5, currency: "EUR" } };
  const refund = { id: "r", paymentId: "p", amount: payment.amount, reason: "cold" };
  const order = { ...inState("paid"), version: 7 };

  it("of a payment, is the order's, or the bank's where no order matches", () => {
    const about = { bankId, paymentId: "p", eventId: "e", amount: payment.amount };
    expect(paymentMessage("payment.received", payment, "accepted", order)).toMatchObject({
      ...{ subject: order.id, data: { ...about, outcome: "accepted", version: 7, orderId: order.id } },
    });
    const unmatched = paymentMessage("payment.unmatched", payment, "unmatched");
    expect(unmatched).toMatchObject({
      subject: bankId,
      data: { ...about, outcome: "unmatched", version: 1 },
    });
    expect(unmatched.data).not.toHaveProperty("orderId");
  });

  it("has the order's number, if it has one", () => {
    const [orderId, position] = [order.id, { place: "pickup", distanceMeters: 9, delivererId: "d" } as const];
    const { number: _, ...unnumbered } = order;
    const of = (one: Order) => [refundCompleted(one, refund).data, courierNear(one, position).data];
    const { id: refundId, ...rest } = refund;
    const { partner } = order;
    const near = {
      ...position,
      orderId,
      version: 7,
      customer,
      partnerId: partner.id,
      partnerTitle: partner.title,
    };
    const money = { ...rest, refundId, orderId, version: 7, bankId };
    expect(of({ ...order, number: "K7-042" })).toEqual([
      { ...money, number: "K7-042" },
      { ...near, number: "K7-042" },
    ]);
    expect(of(unnumbered)).toEqual([money, near]);
  });

  it("of a failed refund, has the bank's reason", () => {
    const detail = (reason: string) =>
      (refundFailed(order, refund, reason).data as { detail: string }).detail;
    expect(detail("account closed")).toMatch(/ failed: account closed\.$/);
    expect(detail("")).toMatch(/ failed: no reason given\.$/);
  });
});

describe("an offer", () => {
  const order = inState("ready");

  it("is for ten couriers at most, one after the other, and each answers until its end", () => {
    expect(OFFERS_MAX).toBe(10);
    const first = offer(order, me, NOW_MS, 60_000).next;
    expect(first).toMatchObject({ offeredTo: me, offerUntil: at(1), offersTried: [me] });
    const expired = expireOffer(first, minutes(1)).next;
    expect(expired).toMatchObject({ offersTried: [me] });
    expect(expired).not.toHaveProperty("offeredTo");
    expect(expireOffer(expired, minutes(1)).next).toBe(expired);
    expect(offer(expired, another, NOW_MS, 60_000).next).toMatchObject({ offersTried: [me, another] });
    expect(openToPool(expired, NOW_MS).next).toMatchObject({ pooledAt: at(0) });
  });

  it("is declined by its courier, once", () => {
    const offered = offer(order, me, NOW_MS, 60_000).next;
    const declined = decline(offered, me, deliverer, NOW_MS).next;
    expect(declined).toMatchObject({ status: "ready", offersTried: [me] });
    expect(declined).not.toHaveProperty("offeredTo");
    expect(decline(declined, me, deliverer, NOW_MS).next).toBe(declined);
    expect(typeOf(() => decline(offered, another, deliverer, NOW_MS))).toBe("NOT_FOUND");
    expect(typeOf(() => decline(order, another, deliverer, NOW_MS))).toBe("NOT_FOUND");
    expect(typeOf(() => decline({ ...offered, status: "delivering" }, me, deliverer, NOW_MS))).toBe(
      "NOT_FOUND",
    );
    expect(typeOf(() => decline({ ...declined, status: "delivering" }, me, deliverer, NOW_MS))).toBe(
      "NOT_FOUND",
    );
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

describe("assign", () => {
  const ready = (change: Partial<Order> = {}): Order => ({ ...inState("ready"), ...change });
  const refusal = (order: Order, by: Actor = deliverer) => typeOf(() => assign(order, me, by, NOW_MS));

  it("cancelled again, changes nothing", () => {
    const order = inState("cancelled");
    expect(cancel(order, actor("admin"), NOW_MS).next).toBe(order);
  });

  it("of an order that the deliverer has, changes nothing; another's and a delivered one are assigned already", () => {
    const own = { ...inState("delivering"), delivererId: me };
    expect(assign(own, me, deliverer, NOW_MS).next).toBe(own);
    expect(refusal({ ...own, delivererId: another })).toBe("ALREADY_ASSIGNED");
    expect(refusal({ ...own, status: "delivered" })).toBe("ALREADY_ASSIGNED");
    expect(refusal({ ...own, status: "delivered" }, actor("admin"))).toBe("ALREADY_ASSIGNED");
  });

  it("outside the pool, tells operators the reason and deliverers nothing", () => {
    for (const status of ["pending", "paid", "preparing", "failed", "cancelled"] as const) {
      expect(refusal(inState(status))).toBe("NOT_FOUND");
      expect(refusal(inState(status), actor("admin"))).toBe("ILLEGAL_TRANSITION");
    }
  });

  it("after five wrong PINs, is left to an operator, who gives five new tries", () => {
    expect(refusal(ready({ handoverFailures: 5 }))).toBe("HANDOVER_LOCKED");
    const pickedUpAt = at(-1);
    const { next } = assign(ready({ handoverFailures: 4, pickedUpAt }), me, deliverer, NOW_MS);
    expect(next).toMatchObject({ status: "delivering", delivererId: me, handoverFailures: 4 });
    expect(next).not.toHaveProperty("pickedUpAt");
    expect(assign(ready({ handoverFailures: 5 }), me, actor("admin"), NOW_MS).next).toMatchObject({
      ...{ delivererId: me, handoverFailures: 0 },
    });
  });

  it("while the order is offered to another deliverer, is left to this one and to operators", () => {
    const offered = { offeredTo: another, offerUntil: new Date(NOW_MS + 1).toISOString() };
    expect(refusal(ready(offered))).toBe("OFFERED_TO_ANOTHER");
    expect(refusal(ready({ ...offered, offerUntil: at(0) }))).toBe("nothing");
    expect(refusal(ready({ ...offered, offeredTo: me }))).toBe("nothing");
    expect(refusal(ready(offered), actor("admin"))).toBe("nothing");
  });
});

describe("release", () => {
  const carried: Order = {
    ...inState("delivering"),
    delivererId: me,
    pickedUpAt: at(-1),
    handoverFailures: 3,
  };

  it("by the deliverer, keeps the number of wrong PINs, and the deliverer is not offered the order again", () => {
    const { next, transition } = release(carried, deliverer, minutes(1), "Flat tyre");
    expect(next).toMatchObject({
      ...{ status: "ready", readySince: at(1), offersTried: [me], handoverFailures: 3 },
    });
    expect(next).not.toHaveProperty("delivererId");
    expect(next).not.toHaveProperty("pickedUpAt");
    expect(transition).toMatchObject({ reason: "Flat tyre" });
    expect(release(next, deliverer, minutes(2)).next).toBe(next);
    expect(typeOf(() => release(next, { ...deliverer, name: another }, minutes(2)))).toBe(
      "ILLEGAL_TRANSITION",
    );
    expect(
      release({ ...carried, delivererId: undefined } as never, deliverer, NOW_MS).next.offersTried,
    ).toBeUndefined();
  });

  it("by an operator, gives the next deliverer five tries, and leaves no one out", () => {
    const { next } = release(carried, actor("admin"), NOW_MS);
    expect(next).toMatchObject({ handoverFailures: 0 });
    expect(next.offersTried).toBeUndefined();
  });

  it("since the deliverer's account has ended, adds an alert to the message", () => {
    const { next, messages: told } = delivererGone(carried, NOW_MS);
    expect(next).toMatchObject({ status: "ready", handoverFailures: 3, lastActor: "platform" });
    expect(told.map(({ type }) => type)).toEqual(["order.released", "alert.raised"]);
    expect(told[1]?.data).toMatchObject({
      kind: "order.deliverer_gone",
      detail: expect.stringContaining(me),
    });
  });
});

describe("the way to the customer", () => {
  const carried: Order = { ...inState("delivering"), delivererId: me, lastMove: "assign", lastActor: me };
  const right = { pinIsRight: true, photoId: undefined };
  const wrong = { ...right, pinIsRight: false };

  it("begins with the pickup, once, with the right code", () => {
    for (const code of [true, false]) {
      const early = { ...inState("ready"), pickedUpAt: at(0) };
      expect(typeOf(() => pickUp(early, code, deliverer, NOW_MS))).toBe("ILLEGAL_TRANSITION");
    }
    expect(typeOf(() => pickUp(carried, false, deliverer, NOW_MS))).toBe("WRONG_PICKUP_CODE");
    const { next } = pickUp(carried, true, deliverer, minutes(1));
    expect(next).toMatchObject({ status: "delivering", pickedUpAt: at(1), version: 2 });
    expect(pickUp(next, true, deliverer, minutes(2)).next).toBe(next);
    expect(typeOf(() => pickUp(next, false, deliverer, minutes(2)))).toBe("WRONG_PICKUP_CODE");
  });

  it("ends with the right PIN, and with a photo if the partner requires one", () => {
    const { next } = deliver(carried, { ...right, photoId: "photo" }, deliverer, NOW_MS);
    expect(next).toMatchObject({ status: "delivered", proofPhotoId: "photo" });
    expect(deliver(next, right, deliverer, NOW_MS).next).toBe(next);
    expect(typeOf(() => deliver(next, wrong, deliverer, NOW_MS))).toBe("ILLEGAL_TRANSITION");
    expect(typeOf(() => deliver(next, right, actor("admin"), NOW_MS))).toBe("ILLEGAL_TRANSITION");
    const strict: Order = { ...carried, partner: { ...carried.partner, proof: "pin_and_photo" } };
    expect(typeOf(() => deliver(strict, right, deliverer, NOW_MS))).toBe("PROOF_REQUIRED");
    expect(deliver(strict, { ...right, photoId: "photo" }, deliverer, NOW_MS).next.status).toBe("delivered");
    expect(deliver(carried, right, deliverer, NOW_MS).next.status).toBe("delivered");
  });

  it("counts wrong PINs, and is locked at the fifth with an alert", () => {
    const fourth = deliver({ ...carried, handoverFailures: 3 }, wrong, deliverer, minutes(1));
    expect(fourth).toEqual({
      next: { ...carried, handoverFailures: 4, version: 2, updatedAt: at(1) },
      ...{ messages: [], refunds: [], refused: "WRONG_PIN" },
    });
    const fifth = deliver(fourth.next, wrong, deliverer, minutes(2));
    expect(fifth).toMatchObject({
      next: { ...fourth.next, handoverFailures: 5, version: 3, updatedAt: at(2) },
      ...{ messages: [{ data: { kind: "handover.locked" } }], refunds: [], refused: "HANDOVER_LOCKED" },
    });
    expect(typeOf(() => deliver(fifth.next, right, deliverer, NOW_MS))).toBe("HANDOVER_LOCKED");
  });

  it("that fails, is recorded once", () => {
    const { next } = failDelivery(carried, deliverer, NOW_MS, "Nobody opened");
    expect(next).toMatchObject({ status: "failed", reason: "Nobody opened" });
    expect(failDelivery(next, deliverer, NOW_MS, "Nobody opened").next).toBe(next);
    expect(typeOf(() => failDelivery(next, { ...deliverer, name: another }, NOW_MS, ""))).toBe(
      "ILLEGAL_TRANSITION",
    );
  });
});

describe("override", () => {
  const admin = actor("admin");
  const to = (from: OrderStatus, status: OrderStatus) =>
    override(inState(from), status, admin, minutes(1), "why");

  it("makes the move that leads to the state, with the operator's reason", () => {
    const moved = (from: OrderStatus, status: OrderStatus) => {
      const { next, transition } = to(from, status);
      return [next.status, next.lastMove, transition?.reason];
    };
    expect(moved("paid", "preparing")).toEqual(["preparing", "accept", "why"]);
    expect(moved("paid", "ready")).toEqual(["ready", "makeReady", "why"]);
    expect(moved("preparing", "ready")).toEqual(["ready", "makeReady", "why"]);
    expect(moved("delivering", "ready")).toEqual(["ready", "release", "why"]);
    expect(moved("failed", "ready")).toEqual(["ready", "release", "why"]);
    expect(moved("delivering", "delivered")).toEqual(["delivered", "deliver", "why"]);
    expect(moved("delivering", "failed")).toEqual(["failed", "fail", "why"]);
    expect(moved("ready", "cancelled")).toEqual(["cancelled", "cancel", "why"]);
  });

  it("to the present state, changes nothing; to one that is not next, or that needs others, is refused", () => {
    const order = inState("ready");
    expect(override(order, "ready", admin, NOW_MS, "why").next).toBe(order);
    expect(typeOf(() => to("delivered", "ready"))).toBe("ILLEGAL_TRANSITION");
    expect(typeOf(() => to("pending", "delivering"))).toBe("ILLEGAL_TRANSITION");
    expect(typeOf(() => to("pending", "paid"))).toBe("VALIDATION_ERROR");
    expect(typeOf(() => to("pending", "expired"))).toBe("VALIDATION_ERROR");
    expect(typeOf(() => to("ready", "delivering"))).toBe("VALIDATION_ERROR");
  });
});

describe("edit", () => {
  const order = { ...inState("pending"), note: "Ring" };
  const address = { ...order.address, line1: "Elsewhere 1" };

  it("changes the given fields; a note of null or an empty text removes the note", () => {
    expect(edit(order, { address }, minutes(1))).toEqual({
      next: { ...order, address, version: 2, updatedAt: at(1) },
      ...{ messages: [], refunds: [] },
    });
    expect(edit(order, { note: "Knock" }, NOW_MS).next).toMatchObject({
      address: order.address,
      note: "Knock",
    });
    for (const note of [null, ""]) expect(edit(order, { note }, NOW_MS).next).not.toHaveProperty("note");
    expect(edit(order, {}, NOW_MS).next).toBe(order);
  });

  it("of another version than the expected one, or of an order that is not pending, is refused", () => {
    expect(edit(order, { expectedVersion: 1, note: "" }, NOW_MS).next.version).toBe(2);
    expect(typeOf(() => edit(order, { expectedVersion: 2, note: "" }, NOW_MS))).toBe("PRECONDITION_FAILED");
    expect(typeOf(() => edit(inState("paid"), { note: "" }, NOW_MS))).toBe("ILLEGAL_TRANSITION");
  });
});
