import { callbackHeaders, STANDARD_WEBHOOK_HEADERS } from "../../../contracts/banks.ts";
import {
  bankReports,
  partnerCallbacks,
  stripeReport,
  stripeReportTypes,
} from "../../../contracts/webhooks.ts";
import { table } from "./route.ts";

const route = table("Callbacks");

/** Signed callbacks of banks and partners: scenarios 5 and 6. */
export const callbackRoutes = [
  route("POST /webhooks/payments/{bank_id}", "orders.receivePayment", {
    summary: "Report of a bank about a payment",
    description: [
      "Answered after the payment is committed; a repeat gets the same answer and has no effect.",
      "Signed as the bank's adapter requires: `sandbox` by Standard Webhooks, `stripe` by Stripe-Signature.",
    ].join(" "),
    access: "signed",
    success: 204,
    body: { signed: "body" },
    reports: {
      ...bankReports,
      ...Object.fromEntries(stripeReportTypes.map((type) => [type, stripeReport])),
    },
    signedBy: Object.values(callbackHeaders).flat(),
    idempotencyKey: "never",
    problems: ["EVENT_MISMATCH"],
  }),
  route("POST /webhooks/partners/{partner_id}", "partners.receiveCallback", {
    summary: "Report of a partner's system about an order",
    description: [
      "`order.accepted`, `order.rejected`, `order.delayed` or `order.ready`, signed by Standard Webhooks.",
      "Answered after the order has changed.",
    ].join(" "),
    access: "signed",
    success: 202,
    body: { signed: "body" },
    reports: partnerCallbacks,
    signedBy: STANDARD_WEBHOOK_HEADERS,
    idempotencyKey: "never",
    problems: ["BAD_JSON", "EVENT_MISMATCH", "NOT_FOUND", "ILLEGAL_TRANSITION", "VALIDATION_ERROR"],
  }),
];
