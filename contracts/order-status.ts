import { type Infer, oneOf } from "./schema.ts";

/** The time for a partner to accept an order, in milliseconds since the partner was notified. */
export const ACCEPTANCE_TIMEOUT_MS = 600_000;

export const orderStatus = oneOf(
  "pending",
  "paid",
  "preparing",
  "ready",
  "delivering",
  "delivered",
  "failed",
  "cancelled",
  "expired",
);
export type OrderStatus = Infer<typeof orderStatus>;

export const paymentStatus = oneOf(
  "unpaid",
  "partially_paid",
  "paid",
  "refund_pending",
  "partially_refunded",
  "refunded",
  "refund_failed",
);
export type PaymentStatus = Infer<typeof paymentStatus>;
