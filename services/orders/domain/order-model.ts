import type { MessageType, NewMessage } from "../../../contracts/messages.ts";
import type { bearer, OrderStatus, PaymentStatus, receiptOutcome } from "../../../contracts/orders.ts";
import type { PartnerSnapshot, QuotedLine } from "../../../contracts/partners.ts";
import type { Infer } from "../../../contracts/schema.ts";
import type { Address } from "../../../contracts/shared.ts";
import type { Money } from "../../../lib/money.ts";

/** An order as it is stored. Amounts are minor units of `currency`, moments ISO text. */
export interface Order {
  id: string;
  version: number;
  status: OrderStatus;
  paymentStatus: PaymentStatus;
  customer: { id: string; name: string; phone?: string };
  partner: PartnerSnapshot;
  delivererId?: string;
  lines: QuotedLine[];
  currency: string;
  feeMinor: number;
  totalMinor: number;
  paidMinor: number;
  refundedMinor: number;
  /** Asked of the bank, neither done nor failed yet. */
  refundPendingMinor: number;
  /** Failed at the bank and not asked again. */
  refundFailedMinor: number;
  /** What was paid for it in its currency, the oldest first. */
  receipts: Receipt[];
  address: Address;
  note?: string;
  bankId: string;
  checkoutUrl?: string;
  payBy: string;
  deadlineAt?: string;
  /** When Orders heard that the partner was notified of the paid order; the time to accept counts from here. */
  partnerNotifiedAt?: string;
  /** Why the partner could not be notified, for a reason that is the platform's. */
  noticeProblem?: string;
  /** Since when a missed deadline waits for an operator. */
  alertedAt?: string;
  readyAt?: string;
  /** When the partner made this promise, by the partner's clock. */
  readySaidAt?: string;
  readySince?: string;
  /** When it came to an end: delivered, cancelled or expired. */
  closedAt?: string;
  reason?: string;
  handoverFailures: number;
  proofPhotoId?: string;
  /** Who made the last move, by which a repeat of it is known. */
  lastMove?: string;
  lastActor?: string;
  createdAt: string;
  updatedAt: string;
}

/** Whether the order is paid and its partner was not notified yet. */
export function awaitsNotice({ status, partnerNotifiedAt }: Order): boolean {
  return status === "paid" && partnerNotifiedAt === undefined;
}

export type ActorKind = "customer" | "partner" | "deliverer" | "admin" | "bank" | "deadline" | "platform";

/** Who acts. `name` stands in the history: a user's id, `partner:<id>`, `bank:<id>` or `deadline`. */
export interface Actor {
  kind: ActorKind;
  name: string;
  traceId?: string;
}

/** One line of an order's history. */
export interface Transition {
  type: OrderMessage;
  from?: OrderStatus;
  to: OrderStatus;
  actor: Actor;
  reason?: string;
}

/** What a command comes to. Nothing was changed when `next` is the very order that went in. */
export interface Decision {
  next: Order;
  transition?: Transition;
  messages: NewMessage[];
  refunds: Refund[];
}

export type OrderMessage = MessageType & `order.${string}`;

export type Outcome = Infer<typeof receiptOutcome>;

/** A payment as the bank reported it. */
export interface Payment {
  bankId: string;
  eventId: string;
  paymentId: string;
  amount: Money;
}

export type Bearer = Infer<typeof bearer>;

/** A payment that arrived. `refundMinor` of it went back or is on its way; what failed is not among it. */
export interface Receipt {
  paymentId: string;
  amountMinor: number;
  refundMinor: number;
}

/** Money that goes back, out of one payment. */
export interface Refund {
  /** Derived from what it is for, so that the same decision cannot be written twice. */
  id: string;
  paymentId: string;
  amount: Money;
  reason: string;
  /** Whose loss it is; `nobody`: it never was anybody's but the customer's. */
  borneBy?: Bearer;
}
