import type { NewMessage } from "../../contracts/messages.ts";
import type { OrderStatus, PaymentStatus } from "../../contracts/orders.ts";
import type { PartnerSnapshot, QuotedLine } from "../../contracts/partners.ts";
import type { Address } from "../../contracts/shared.ts";
import type { OrderMessage } from "./order-messages.ts";
import type { Receipt, Refund } from "./order-refund.ts";

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
