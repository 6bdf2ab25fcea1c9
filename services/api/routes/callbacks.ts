import { table } from "./route.ts";

const route = table("Callbacks");

/** Signed callbacks of banks and partners: scenarios 5 and 6. */
export const callbackRoutes = [
  route("POST /webhooks/payments/{bank_id}", "orders.receivePayment", {
    summary: "A bank tells of a payment",
    description: "Answered after the payment is committed; a repeat is answered the same and has no effect.",
    access: "signed",
    success: 204,
    body: { signed: "body" },
    idempotencyKey: "never",
    problems: ["EVENT_MISMATCH"],
  }),
  route("POST /webhooks/partners/{partner_id}", "partners.receiveCallback", {
    summary: "A partner's system tells of an order",
    description: [
      "`order.accepted`, `order.rejected`, `order.delayed` or `order.ready`, signed by Standard Webhooks.",
      "Answered after the order has moved.",
    ].join(" "),
    access: "signed",
    success: 202,
    body: { signed: "body" },
    idempotencyKey: "never",
    problems: ["BAD_JSON", "EVENT_MISMATCH", "NOT_FOUND", "ILLEGAL_TRANSITION", "VALIDATION_ERROR"],
  }),
];
