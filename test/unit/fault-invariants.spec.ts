import { describe, expect, it } from "@jest/globals";
import type { Evidence } from "../faults/evidence.ts";
import { invariants, judge } from "../faults/invariants.ts";
import { GONE, ORDER, soundRun as ordersAndMoney } from "../support/sound-run.ts";

type Promised = keyof typeof invariants;

/** The run without faults, in which both customers were notified of their payments: one by a push, the other by a mail. */
function soundRun(): Evidence {
  const evidence = ordersAndMoney();
  const [pushed] = evidence.books.notifications;
  Object.assign(pushed ?? {}, { orderId: ORDER, event: "order.paid" });
  const news = { orderId: GONE, event: "order.paid", state: "sent", mailed: true };
  evidence.books.notifications.push({ id: "n3", messageId: "m3", addressee: "ada", ...news });
  return evidence;
}

/** Mistakes, each as it would show, and the promise that must be found broken. */
const planted: [mistake: string, promise: Promised, plant: (evidence: Evidence) => void][] = [
  [
    "an event that was acknowledged before its commit",
    "no acknowledged payment is lost",
    ({ books }) => void books.events.pop(),
  ],
  [
    "a receipt that was lost",
    "no acknowledged payment is lost",
    ({ books }) => void books.receipts.splice(0, 1),
  ],
  [
    "a receipt of another amount",
    "no acknowledged payment is lost",
    ({ books }) => Object.assign(books.receipts[0] ?? {}, { amount: 999 }),
  ],
  [
    "a receipt that is there twice",
    "no payment is booked twice or invented",
    ({ books }) =>
      void books.receipts.push({
        ...books.receipts[0],
        paymentId: "p1",
        orderId: ORDER,
        amount: 1000,
        outcome: "accepted",
      }),
  ],
  [
    "a receipt without a payment",
    "no payment is booked twice or invented",
    ({ books }) =>
      void books.receipts.push({ paymentId: "p9", orderId: ORDER, amount: 5, outcome: "overpaid" }),
  ],
  [
    "a payment that was counted twice",
    "no payment is booked twice or invented",
    ({ books }) => Object.assign(books.orders[0] ?? {}, { paid: 3000 }),
  ],
  [
    "a refund that never reached the bank",
    "each refund went back once, and all that is owed went back",
    ({ bank }) => void (bank.refunds as Map<string, unknown>).delete("r1"),
  ],
  [
    "a refund that went back twice under two ids",
    "each refund went back once, and all that is owed went back",
    ({ bank }) =>
      void (bank.refunds as Map<string, unknown>).set("r9", { id: "r9", paymentId: "p2", amountMinor: 1000 }),
  ],
  [
    "money that a cancelled order keeps",
    "each refund went back once, and all that is owed went back",
    ({ books }) => Object.assign(books.orders[1] ?? {}, { refunded: 0 }),
  ],
  [
    "a paid order that waits for its payment",
    "each refund went back once, and all that is owed went back",
    ({ books }) => Object.assign(books.orders[0] ?? {}, { status: "pending" }),
  ],
  [
    "a confirmed order that is gone",
    "each answer to a client has its effect",
    ({ books }) => void books.orders.pop(),
  ],
  [
    "a cancellation that did not happen",
    "each answer to a client has its effect",
    ({ books }) => void books.transitions.pop(),
  ],
  [
    "a callback that was answered and not kept",
    "each callback of a partner that was accepted is kept once, with its effect",
    ({ books }) => void books.callbacks.pop(),
  ],
  [
    "a callback that was kept without its effect",
    "each callback of a partner that was accepted is kept once, with its effect",
    ({ books }) => void books.transitions.splice(2, 1),
  ],
  [
    "two moves from the same state",
    "each history is one line",
    ({ books }) =>
      void books.transitions.splice(2, 0, {
        orderId: ORDER,
        version: 3,
        from: "pending",
        to: "cancelled",
        type: "order.cancelled",
      }),
  ],
  [
    "a state without a move",
    "each history is one line",
    ({ books }) => Object.assign(books.orders[0] ?? {}, { status: "delivered" }),
  ],
  [
    "a move that no order may make",
    "each history is one line",
    ({ books }) => {
      // From paid to delivered: each line goes on where the one before it ended, and the state is the last one's.
      const move = books.transitions.find(({ orderId, to }) => orderId === ORDER && to === "ready");
      Object.assign(move ?? {}, { to: "delivered" });
      Object.assign(books.orders[0] ?? {}, { status: "delivered" });
    },
  ],
  [
    "an order that begins in the middle of its life",
    "each history is one line",
    ({ books }) => void books.transitions.shift(),
  ],
  [
    "a partner that was not notified",
    "each paid order is sent to its partner under one id",
    ({ ledger, books }) => {
      ledger.told.length = 0;
      Object.assign(books.webhooks[0] ?? {}, { states: ["pending"] });
    },
  ],
  [
    "a partner that was notified under two ids",
    "each paid order is sent to its partner under one id",
    ({ ledger }) =>
      void ledger.told.push({
        partnerId: "bakery",
        webhookId: "w7",
        type: "order.paid",
        orderId: ORDER,
        status: 204,
      }),
  ],
  [
    "a partner that was notified of an unpaid order",
    "each paid order is sent to its partner under one id",
    ({ ledger }) =>
      void ledger.told.push({
        partnerId: "bakery",
        webhookId: "w8",
        type: "order.paid",
        orderId: "order-3",
        status: 204,
      }),
  ],
  [
    "one webhook id for two things",
    "no effect is outside its order",
    ({ ledger }) =>
      void ledger.told.push({
        partnerId: "bakery",
        webhookId: "w1",
        type: "order.paid",
        orderId: GONE,
        status: 204,
      }),
  ],
  [
    "pieces that vanished",
    "stock is conserved",
    ({ books }) => Object.assign(books.stock[0] ?? {}, { left: 97 }),
  ],
  [
    "pieces that a cancelled order holds",
    "stock is conserved",
    ({ books }) => {
      Object.assign(books.reservations[1] ?? {}, { state: "held", taken: 1 });
      Object.assign(books.stock[0] ?? {}, { left: 97 });
    },
  ],
  [
    "a receipt without its document",
    "documents tell what the tables tell",
    ({ books }) => void books.paymentDocuments.shift(),
  ],
  [
    "a document that is there twice",
    "documents tell what the tables tell",
    ({ books }) => void books.historyDocuments.push({ id: "again", orderId: ORDER, version: 1 }),
  ],
  [
    "the same news under two collapse ids",
    "no notification is sent twice",
    ({ ledger }) =>
      void ledger.pushes.push({ collapseId: "n2", token: "phone", event: "order.paid", orderId: ORDER }),
  ],
  [
    "a notification that is never sent",
    "no notification is sent twice",
    ({ books }) => Object.assign(books.notifications[0] ?? {}, { state: "pending" }),
  ],
  [
    "a push that was lost before it was recorded",
    "each paid order's customer was notified, or the reason is recorded",
    ({ ledger, books }) => {
      ledger.pushes.length = 0;
      books.notifications.shift();
    },
  ],
  [
    "a push that is called sent and came to no phone",
    "each paid order's customer was notified, or the reason is recorded",
    ({ ledger }) => void ledger.pushes.splice(0),
  ],
  [
    "a dead letter",
    "no message is dead",
    ({ books }) =>
      void books.deadLetters.push({ consumer: "orders", type: "order.paid", subject: ORDER, error: "boom" }),
  ],
  [
    "a second payment that fits no order, in the alert of the first one",
    "each payment without a matching order raises an alert of its own",
    ({ books }) => void books.receipts.push({ paymentId: "p5", amount: 5, outcome: "unmatched" }),
  ],
  [
    "a payment without an alert to operators",
    "each payment without a matching order raises an alert of its own",
    ({ books }) => {
      books.notifications = books.notifications.filter(({ messageId }) => messageId !== "m4");
    },
  ],
];

describe("the fault harness", () => {
  it("finds nothing in a correct run, with a repeated webhook and a repeated push", () => {
    expect(judge(soundRun())).toEqual([]);
  });

  it.each(planted)("finds %s: %s", (_mistake, promise, plant) => {
    const evidence = soundRun();
    plant(evidence);
    expect(judge(evidence).map((broken) => broken.promise)).toContain(promise);
  });

  it("has a planted violation for every promise", () => {
    expect(new Set(planted.map(([, promise]) => promise))).toEqual(new Set(Object.keys(invariants)));
  });

  it("finds no loss in a push with a recorded failure and an outdated notification", () => {
    const evidence = soundRun();
    Object.assign(evidence.books.notifications.find(({ orderId }) => orderId === GONE) ?? {}, {
      state: "failed",
      mailed: false,
    });
    evidence.ledger.pushes.length = 0;
    evidence.books.notifications.shift();
    evidence.books.toldTooLate = [ORDER];
    expect(judge(evidence)).toEqual([]);
  });

  it("finds no loss in a refused callback and one without an answer", () => {
    const evidence = soundRun();
    evidence.ledger.callbacks.set("c2", {
      partnerId: "bakery",
      orderId: GONE,
      type: "order.ready",
      status: 409,
    });
    const event = { paymentId: "p8", orderId: ORDER, amountMinor: 1, acknowledged: false };
    evidence.ledger.paymentEvents.set("e8", event);
    expect(judge(evidence)).toEqual([]);
  });
});
