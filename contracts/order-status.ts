import { type Infer, oneOf } from "./schema.ts";

/** The time for a partner to accept an order, in minutes since the partner was notified. Each partner can set its own. */
export const ACCEPTANCE_MINUTES_DEFAULT = 10;
export const ACCEPTANCE_MINUTES_MIN = 2;
export const ACCEPTANCE_MINUTES_MAX = 60;

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
