import type { MessageType, NewMessage } from "../../../contracts/messages.ts";
import type {
  bearer,
  OrderStatus,
  PaymentStatus,
  Rejection,
  receiptOutcome,
} from "../../../contracts/orders.ts";
import type { PartnerSnapshot, QuotedLine } from "../../../contracts/partners.ts";
import type { Infer } from "../../../contracts/schema.ts";
import type { Address } from "../../../contracts/shared.ts";
import type { Money } from "../../../lib/money.ts";

/** A stored order. Amounts are in minor units of `currency`, times are ISO 8601 texts. */
export interface Order {
  id: string;
  /** Short, unique for the partner and the day. Orders of earlier releases have none. */
  number?: string;
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
  /** Requested from the bank, neither completed nor failed yet. */
  refundPendingMinor: number;
  /** Failed at the bank and not requested again. */
  refundFailedMinor: number;
  /** The payments in the order's currency, the oldest first. */
  receipts: Receipt[];
  address: Address;
  note?: string;
  bankId: string;
  checkoutUrl?: string;
  payBy: string;
  deadlineAt?: string;
  /** When Orders received the notice's result for the paid order; the time to accept starts here. */
  partnerNotifiedAt?: string;
  /** Why the platform could not notify the partner. */
  noticeProblem?: string;
  /** When the first alert of a missed deadline was raised. */
  alertedAt?: string;
  readyAt?: string;
  /** When the partner promised `readyAt`, by the partner's clock. */
  readySaidAt?: string;
  readySince?: string;
  /** The courier to whom the ready order is offered, until when, and all couriers who were offered it. */
  offeredTo?: string;
  offerUntil?: string;
  offersTried?: string[];
  /** When the ready order was opened to all couriers after the offers. */
  pooledAt?: string;
  /** When the deliverer confirmed the pickup at the partner. */
  pickedUpAt?: string;
  /** When the order was delivered, cancelled or expired. */
  closedAt?: string;
  reason?: string;
  /** Of an order that was rejected by hand. */
  rejection?: Rejection;
  handoverFailures: number;
  proofPhotoId?: string;
  /** The last move and its actor; they identify a repeat. */
  lastMove?: string;
  lastActor?: string;
  createdAt: string;
  updatedAt: string;
}

/** Whether the order is paid and its partner is not notified yet. */
export function awaitsNotice({ status, partnerNotifiedAt }: Order): boolean {
  return status === "paid" && partnerNotifiedAt === undefined;
}

export type ActorKind = "customer" | "partner" | "deliverer" | "admin" | "bank" | "deadline" | "platform";

/** The actor of a move. `name` is shown in the history: a user's id, `partner:<id>`, `bank:<id>` or `deadline`. */
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

/** The result of a command. If `next` is the same object as the given order, nothing changes. */
export interface Decision {
  next: Order;
  transition?: Transition;
  messages: NewMessage[];
  refunds: Refund[];
}

export type OrderMessage = MessageType & `order.${string}`;

export type Outcome = Infer<typeof receiptOutcome>;

/** A payment in the bank's report. */
export interface Payment {
  bankId: string;
  eventId: string;
  paymentId: string;
  amount: Money;
}

export type Bearer = Infer<typeof bearer>;

/** A received payment. `refundMinor` is the sum of its completed and pending refunds. */
export interface Receipt {
  paymentId: string;
  amountMinor: number;
  refundMinor: number;
}

/** A refund out of one payment. */
export interface Refund {
  /** Derived from order, version and payment, so that the same decision cannot be written twice. */
  id: string;
  paymentId: string;
  amount: Money;
  reason: string;
  /** The party that bears the cost; `nobody`: the money was the customer's own. */
  borneBy?: Bearer;
}
