import { DROP_SCANNED_MAX, REPLAY_MAX } from "../../../contracts/dead-letters.ts";
import { operatorRoles } from "../../../contracts/meta.ts";
import { operatorEvents } from "../../../contracts/streams.ts";
import { STREAM_RULES, table } from "./route.ts";

const route = table("Operations");

/** Settings of the sandbox's payment system. */
const bankSettings = {
  apiKey: "sandbox-key-0d3a5da4",
  webhookSecret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
};

const admin = { access: ["admin"], success: 200 } as const;
const operators = { access: operatorRoles, success: 200 } as const;
/** Those who settle money. */
const finance = { access: ["finance", "admin"], success: 200 } as const;

/** Operations for operators: scenario 10. */
export const operationRoutes = [
  route("POST /banks", "orders.createBank", {
    ...admin,
    summary: "Register a bank",
    description: "Its settings contain secrets: they are stored encrypted and never shown again.",
    success: 201,
    example: { settings: bankSettings },
  }),
  route("PATCH /banks/{bank_id}", "orders.updateBank", {
    ...admin,
    summary: "Change a bank",
    example: { settings: bankSettings },
  }),
  route("POST /orders/{order_id}/refund", "orders.refund", {
    ...operators,
    summary: "Refund an order",
    description:
      "Without an amount, the whole amount that was not refunded yet. The role support may refund up to a limit of each order, a setting.",
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED", "REFUND_LIMIT"],
  }),
  route("GET /payments/unmatched", "orders.listUnmatched", {
    ...finance,
    summary: "Payments without a matching order",
    description: "That are not refunded yet; the newest first, each with its newest refund.",
  }),
  route("POST /payments/{receipt_id}/refund", "orders.refundPayment", {
    ...finance,
    summary: "Refund a payment without a matching order",
    problems: ["PAYMENT_SETTLED"],
  }),
  route("POST /payments/{receipt_id}/assign", "orders.assignPayment", {
    ...finance,
    summary: "Assign a payment to an order",
    description: "An order of the same bank and currency; the excess is refunded.",
    problems: ["PAYMENT_SETTLED", "ORDER_CHANGED"],
  }),
  route("POST /refunds/{refund_id}/retry", "orders.retryRefund", {
    ...finance,
    summary: "Request a failed refund again",
    problems: ["PAYMENT_SETTLED", "ORDER_CHANGED"],
  }),
  route("GET /disputes", "orders.listDisputes", {
    ...finance,
    summary: "Payments that customers dispute",
    description: "With their state at the bank, and whether it has taken the money.",
  }),
  route("POST /orders/{order_id}/reassign", "orders.reassign", {
    ...admin,
    summary: "Assign an order to a courier, or release it into the pool",
    description: [
      "`deliverer_id` is the id of a courier; `courier` has words of the name, the address or the phone number instead, which",
      "have to find one active courier. Without both the order goes into the pool. An operator may assign more orders to a",
      "courier than the courier may take.",
    ].join("\n"),
    example: { courier: undefined },
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  route("GET /events", "api.events", {
    ...operators,
    summary: "Follow all orders, alerts and couriers",
    description: [
      "Server-sent events: `order` whenever an order moves, `alert` for those whom its kind concerns, and `courier` whenever",
      "a courier begins or ends the duty, for admins.",
      STREAM_RULES,
    ].join("\n"),
    content: "events",
    events: operatorEvents,
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
    summary: "Change the state of an order by hand",
    description: "Legal transitions only; the reason is stored in its history.",
    problems: ["ILLEGAL_TRANSITION", "ORDER_CHANGED"],
  }),
  route("GET /orders/{order_id}/diagnosis", "orders.diagnosis", {
    ...operators,
    summary: "Why an order does not go on",
    description:
      "Findings first: each with a sentence, its evidence and what to do next. Then history, next deadline, undelivered messages, webhooks, receipts and refunds. Services that did not answer are in `not_asked`.",
  }),
  route("GET /orders/stuck", "orders.stuck", {
    ...operators,
    summary: "Orders that wait for an operator",
    description: "By cause, age and place, the first confirmed first; with their numbers in groups.",
  }),
  route("GET /dead-letters", "api.deadLetters", {
    ...admin,
    summary: "Dead letters: messages and webhooks that failed at their last attempt",
    description: "Of all services; `unreachable` names those that did not answer.",
  }),
  route("POST /dead-letters/{dead_letter_id}/replay", "api.replayDeadLetter", {
    ...admin,
    summary: "Requeue a dead letter",
    description: "Not a webhook that asks a partner to prepare an order that was cancelled.",
    success: 204,
    problems: ["ILLEGAL_TRANSITION"],
  }),
  route("POST /dead-letters/replay", "api.replayDeadLetters", {
    ...admin,
    summary: "Replay the dead letters of a service that match a filter",
    description:
      `The oldest first, at most ${REPLAY_MAX} with one request. Those that cannot be replayed are in \`refused\` and stay ` +
      "dead letters. Where the answer has a `next_cursor`, there are more: continue with it as `cursor`. With `limit` 0 " +
      "nothing is replayed: `left` is the number of matches. The audit log contains the filter and the numbers.",
  }),
  route("DELETE /dead-letters", "api.dropDeadLetters", {
    ...admin,
    summary: "Drop the dead letters of a service that match a filter",
    description:
      "The oldest first, at most `limit` with one request, and never a message that is still to be delivered. " +
      `A request examines ${DROP_SCANNED_MAX} dead letters at most. Repeat it while \`left\` is above 0; where ` +
      "the answer has a `next_cursor`, there are more to examine: continue with it as `cursor`. With `limit=0` nothing " +
      "is dropped: `left` is the number of matches. The audit log contains the filter and the number.",
  }),
  route("DELETE /dead-letters/{dead_letter_id}", "api.dropDeadLetter", {
    ...admin,
    summary: "Drop a dead letter",
    success: 204,
  }),
  route("GET /audit", "identity.audit", { ...admin, summary: "The audit log" }),
];
