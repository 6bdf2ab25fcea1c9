import { describe, expect, it } from "@jest/globals";
import type { Books } from "../faults/books.ts";
import { type Evidence, invariants, judge } from "../faults/invariants.ts";
import { newLedger } from "../faults/ledger.ts";

const ORDER = "order-1";
const GONE = "order-2";

/**
 * A run in which all went well: one order that was paid twice, sent back once and told to its kitchen in two tries;
 * another one that its customer cancelled.
 */
function sound(): Evidence {
  const ledger = newLedger();
  const confirmed = { customerId: "ada", partnerId: "bakery", quantities: [2] };
  ledger.confirmed.set(ORDER, { ...confirmed, totalMinor: 1000 });
  ledger.confirmed.set(GONE, { ...confirmed, totalMinor: 400 });
  const event = (paymentId: string, orderId: string, amountMinor: number) => ({
    paymentId,
    orderId,
    amountMinor,
    acknowledged: true,
  });
  ledger.paymentEvents.set("e1", event("p1", ORDER, 1000));
  ledger.paymentEvents.set("e2", event("p2", ORDER, 1000));
  ledger.paymentEvents.set("e3", event("p3", GONE, 400));
  ledger.callbacks.set("c1", { partnerId: "bakery", orderId: ORDER, type: "order.ready", status: 202 });
  ledger.done.push({ orderId: GONE, what: "cancel" });
  const call = { partnerId: "bakery", webhookId: "w1", type: "order.paid", orderId: ORDER };
  ledger.told.push({ ...call, status: 500 }, { ...call, status: 204 });
  ledger.pushes.push({ collapseId: "n1", token: "phone", event: "order.paid", orderId: ORDER });
  ledger.pushes.push({ collapseId: "n1", token: "phone", event: "order.paid", orderId: ORDER });
  const order = {
    id: ORDER,
    status: "ready",
    version: 4,
    total: 1000,
    paid: 2000,
    refunded: 1000,
    pending: 0,
  };
  const gone = {
    id: GONE,
    status: "cancelled",
    version: 4,
    total: 400,
    paid: 400,
    refunded: 400,
    pending: 0,
  };
  const move = (orderId: string, version: number, from: string, to: string) => ({
    orderId,
    version,
    from,
    to,
    type: `order.${to}`,
  });
  const books: Books = {
    orders: [order, gone],
    transitions: [
      { orderId: ORDER, version: 1, to: "pending", type: "order.created" },
      move(ORDER, 2, "pending", "paid"),
      move(ORDER, 4, "paid", "ready"),
      { orderId: GONE, version: 1, to: "pending", type: "order.created" },
      move(GONE, 2, "pending", "paid"),
      move(GONE, 3, "paid", "cancelled"),
    ],
    events: ["e1", "e2", "e3"].map((eventId) => ({ eventId })),
    receipts: [
      { paymentId: "p1", orderId: ORDER, amount: 1000, outcome: "accepted" },
      { paymentId: "p2", orderId: ORDER, amount: 1000, outcome: "overpaid" },
      { paymentId: "p3", orderId: GONE, amount: 400, outcome: "accepted" },
    ],
    refunds: [
      { id: "r1", orderId: ORDER, paymentId: "p2", amount: 1000, state: "completed" },
      { id: "r2", orderId: GONE, paymentId: "p3", amount: 400, state: "completed" },
    ],
    callbacks: [{ partnerId: "bakery", eventId: "c1", orderId: ORDER, type: "order.ready" }],
    webhooks: [
      {
        partnerId: "bakery",
        webhookId: "w1",
        type: "order.paid",
        orderId: ORDER,
        stopped: false,
        states: ["failed", "accepted"],
      },
      {
        partnerId: "bakery",
        webhookId: "w2",
        type: "order.paid",
        orderId: GONE,
        stopped: true,
        states: ["stopped"],
      },
    ],
    reservations: [
      { orderId: ORDER, productId: "bread", taken: 2, state: "committed" },
      { orderId: GONE, productId: "bread", taken: 0, state: "released" },
    ],
    stock: [{ productId: "bread", left: 98 }],
    notifications: [{ id: "n1", messageId: "m1", addressee: "ada", state: "sent" }],
    deadLetters: [],
    paymentDocuments: [
      { id: "d1", kind: "receipt", paymentId: "p1", amount: 1000 },
      { id: "d2", kind: "receipt", paymentId: "p2", amount: 1000 },
      { id: "d3", kind: "receipt", paymentId: "p3", amount: 400 },
      { id: "d4", kind: "refund", paymentId: "p2", amount: 1000 },
      { id: "d5", kind: "refund", paymentId: "p3", amount: 400 },
    ],
    historyDocuments: [],
  };
  books.historyDocuments = books.transitions.map(({ orderId, version }) => ({
    id: `${orderId} ${version}`,
    orderId,
    version,
  }));
  return {
    ledger,
    books,
    bank: {
      payments: new Map(
        [...ledger.paymentEvents.values()].map(({ paymentId: id, orderId, amountMinor }) => [
          id,
          { id, orderId, amountMinor },
        ]),
      ),
      refunds: new Map(
        books.refunds.map(({ id, paymentId, amount: amountMinor }) => [id, { id, paymentId, amountMinor }]),
      ),
    },
    stockBefore: new Map([["bread", 100]]),
  };
}

type Promised = keyof typeof invariants;

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
    "a receipt that nobody paid",
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
    "no answer to people is forgotten",
    ({ books }) => void books.orders.pop(),
  ],
  [
    "a cancellation that did not happen",
    "no answer to people is forgotten",
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
    "a partner that was not told",
    "the partner is told of each paid order, by one id",
    ({ ledger, books }) => {
      ledger.told.length = 0;
      Object.assign(books.webhooks[0] ?? {}, { states: ["pending"] });
    },
  ],
  [
    "a partner that was told twice under two ids",
    "the partner is told of each paid order, by one id",
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
    "a partner that was told of what nobody paid",
    "the partner is told of each paid order, by one id",
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
    "nobody is told twice",
    ({ ledger }) =>
      void ledger.pushes.push({ collapseId: "n2", token: "phone", event: "order.paid", orderId: ORDER }),
  ],
  [
    "a notification that nobody sends",
    "nobody is told twice",
    ({ books }) => Object.assign(books.notifications[0] ?? {}, { state: "pending" }),
  ],
  [
    "a dead letter",
    "no message is dead",
    ({ books }) =>
      void books.deadLetters.push({ consumer: "orders", type: "order.paid", subject: ORDER, error: "boom" }),
  ],
];

describe("the fault harness", () => {
  it("a run in which all went well, with a webhook and a push that came twice, has nothing against it", () => {
    expect(judge(sound())).toEqual([]);
  });

  it.each(planted)("%s is found: %s", (_mistake, promise, plant) => {
    const evidence = sound();
    plant(evidence);
    expect(judge(evidence).map((broken) => broken.promise)).toContain(promise);
  });

  it("every promise has a mistake that breaks it", () => {
    expect(new Set(planted.map(([, promise]) => promise))).toEqual(new Set(Object.keys(invariants)));
  });

  it("a callback that was refused, and one that nobody acknowledged, are no loss", () => {
    const evidence = sound();
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
