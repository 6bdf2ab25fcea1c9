import { type Infer, oneOf } from "./schema.ts";

/** How long a partner has to accept an order, counted from the moment it was notified of the order. */
export const ACCEPTANCE_MS = 600_000;

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
