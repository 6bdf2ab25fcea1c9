import { boolean, object, oneOf, optional, storedMoney, text, time, uuid } from "./schema.ts";

const atBank = { bankId: uuid, paymentId: text(200), orderId: optional(uuid), amount: storedMoney } as const;

export const refundState = oneOf("pending", "sent", "unknown", "completed", "failed");

/** A payment without a matching order, or in another currency than its order, that was not refunded yet. */
export const unmatchedPayment = object({
  id: uuid,
  ...atBank,
  /** The order's name in the bank's report. */
  statedOrder: text(200),
  at: time,
  /** Its newest refund. */
  refund: optional(object({ id: uuid, state: refundState, error: optional(text(2000)) })),
});

export const refund = object({ id: uuid, ...atBank, state: refundState, reason: text(500) });

/** `closed`: it ended without a chargeback. */
export const disputeState = oneOf("open", "won", "lost", "closed");

/** A payment that the customer has disputed at the bank. */
export const dispute = object({
  id: uuid,
  /** The bank's id of the dispute. */
  disputeId: text(200),
  ...atBank,
  reason: text(200),
  state: disputeState,
  /** Whether the bank has taken the money from us. */
  withdrawn: boolean,
  /** The bank's time of the newest report. */
  reportedAt: time,
});
