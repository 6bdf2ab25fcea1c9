import { DROP_SCANNED_MAX } from "../../../contracts/dead-letters.ts";
import { table } from "./route.ts";

const route = table("Operations");

/** Settings of the sandbox's payment system. */
const bankSettings = {
  apiKey: "sandbox-key-0d3a5da4",
  webhookSecret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
};

const admin = { access: ["admin"], success: 200 } as const;

/** Operations for operators: scenario 10. */
export const operationRoutes = [
  route("POST /banks", "orders.createBank", {
    ...admin,
    summary: "Register a bank",
    description: "Its settings hold secrets: they are kept encrypted and never shown again.",
    success: 201,
    example: { settings: bankSettings },
  }),
  route("PATCH /banks/{bank_id}", "orders.updateBank", {
    ...admin,
    summary: "Change a bank",
    example: { settings: bankSettings },
  }),
  route("POST /orders/{order_id}/refund", "orders.refund", {
    ...admin,
    summary: "Refund an order",
    description: "Without an amount, all that was kept.",
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  route("GET /payments/unmatched", "orders.listUnmatched", {
    ...admin,
    summary: "Payments that match no order",
    description: "And have not gone back yet; the newest first, each with its newest refund.",
  }),
  route("POST /payments/{receipt_id}/refund", "orders.refundPayment", {
    ...admin,
    summary: "Send a payment back that matches no order",
    problems: ["PAYMENT_SETTLED"],
  }),
  route("POST /payments/{receipt_id}/assign", "orders.assignPayment", {
    ...admin,
    summary: "Say which order a payment is for",
    description: "An order of the same bank and currency; what it cannot use goes back.",
    problems: ["PAYMENT_SETTLED", "ORDER_CHANGED"],
  }),
  route("POST /refunds/{refund_id}/retry", "orders.retryRefund", {
    ...admin,
    summary: "Request a failed refund again",
    problems: ["PAYMENT_SETTLED", "ORDER_CHANGED"],
  }),
  route("GET /disputes", "orders.listDisputes", {
    ...admin,
    summary: "Payments that customers dispute",
    description: "With their state at the bank, and whether it has taken the money.",
  }),
  route("POST /orders/{order_id}/reassign", "orders.reassign", {
    ...admin,
    summary: "Give an order to another deliverer, or back to the pool",
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  route("GET /couriers", "orders.couriers", {
    ...admin,
    summary: "Couriers with their duty",
    description:
      "Those who have been on duty at least once, with position, vehicle and the number of orders under way.",
  }),
  route("PUT /couriers/{courier_id}/capacity", "orders.setCourierCapacity", {
    ...admin,
    summary: "Set how many orders a courier may deliver at once",
    description: "Without `orders_at_once` the setting of the platform applies again.",
  }),
  route("POST /orders/{order_id}/override", "orders.override", {
    ...admin,
    summary: "Move an order by hand",
    description: "Along the legal moves only; the reason is kept in its history.",
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  route("GET /orders/{order_id}/diagnosis", "orders.diagnosis", {
    ...admin,
    summary: "Why is this order where it is?",
    description: "History, next deadline, undelivered messages, receipts and refunds in one answer.",
  }),
  route("GET /dead-letters", "api.deadLetters", {
    ...admin,
    summary: "Dead letters: messages and webhooks that failed at their last attempt",
    description: "Of all services; `unreachable` names those that did not answer.",
  }),
  route("POST /dead-letters/{dead_letter_id}/replay", "api.replayDeadLetter", {
    ...admin,
    summary: "Have a message handled again",
    description: "Not a webhook that asks a partner to prepare an order that was cancelled.",
    success: 204,
    problems: ["ILLEGAL_TRANSITION"],
  }),
  route("DELETE /dead-letters", "api.dropDeadLetters", {
    ...admin,
    summary: "Drop the dead letters of a service that match a filter",
    description:
      "The oldest first, at most `limit` with one request, and never a message that is still to be delivered. " +
      `A request looks at ${DROP_SCANNED_MAX} dead letters at most. Repeat it while \`left\` is above 0; where ` +
      "the answer has a `next_cursor`, there is more to look at: go on with it as `cursor`. With `limit=0` nothing " +
      "is dropped: `left` tells how many match. The audit log keeps the filter and the number.",
  }),
  route("DELETE /dead-letters/{dead_letter_id}", "api.dropDeadLetter", {
    ...admin,
    summary: "Drop a message for good",
    success: 204,
  }),
  route("GET /audit", "identity.audit", { ...admin, summary: "What was done, by whom" }),
];
