import type { Books } from "../faults/books.ts";
import type { Evidence } from "../faults/evidence.ts";
import { newLedger } from "../faults/ledger.ts";

export const ORDER = "order-1";
/** The one that was cancelled. */
export const GONE = "order-2";
/** The order id of a payment that matches no order. */
const UNKNOWN = "order-3";

/**
 * A run without faults: one order that was paid twice, refunded once and sent to its kitchen in two attempts;
 * another one that its customer cancelled; and a payment that fits no order.
 */
export function soundRun(): Evidence {
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
  ledger.paymentEvents.set("e4", event("p4", UNKNOWN, 300));
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
    events: ["e1", "e2", "e3", "e4"].map((eventId) => ({ eventId })),
    receipts: [
      { paymentId: "p1", orderId: ORDER, amount: 1000, outcome: "accepted" },
      { paymentId: "p2", orderId: ORDER, amount: 1000, outcome: "overpaid" },
      { paymentId: "p3", orderId: GONE, amount: 400, outcome: "accepted" },
      { paymentId: "p4", amount: 300, outcome: "unmatched" },
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
    notifications: [
      { id: "n1", messageId: "m1", addressee: "ada", state: "sent" },
      { id: "n4", messageId: "m4", addressee: "operator", state: "sent" },
    ],
    alerts: [{ id: "m4", kind: "payment.unmatched", subject: "p4" }],
    deadLetters: [],
    paymentDocuments: [
      { id: "d1", kind: "receipt", paymentId: "p1", amount: 1000 },
      { id: "d2", kind: "receipt", paymentId: "p2", amount: 1000 },
      { id: "d3", kind: "receipt", paymentId: "p3", amount: 400 },
      { id: "d6", kind: "receipt", paymentId: "p4", amount: 300 },
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
