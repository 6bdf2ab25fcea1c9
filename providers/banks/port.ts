import type { Money } from "../../lib/money.ts";

/** A checkout that the customer pays on the bank's own page. */
export interface CheckoutRequest {
  orderId: string;
  amount: Money;
  /** A repeat with the same key returns the same checkout, so a customer cannot pay twice. */
  idempotencyKey: string;
  /** The bank sends its reports about the payment to this URL. */
  callbackUrl: string;
  /** The customer's browser goes to this URL afterwards. */
  returnUrl?: string;
  /** Shown to the customer on the page. */
  description: string;
  /** The lines of the order, for a bank whose page shows them. They add up to the amount. */
  lines?: readonly CheckoutLine[];
  /** Time limit of the payment, RFC 3339. Some banks close the page some time after it. */
  payBy?: string;
  /** Time limit in milliseconds. Default and maximum: 5,000. */
  timeoutMs?: number;
}

export interface CheckoutLine {
  title: string;
  quantity: number;
  unitAmountMinor: number;
}

export interface Checkout {
  checkoutUrl: string;
  /** The bank's id of the checkout, for `findPayments` and `closeCheckout`. Not every bank has one. */
  reference?: string;
}

/** An unverified request to the callback URL. Header names are in lower case; the body is unchanged. */
export interface Callback {
  headers: Readonly<Record<string, string>>;
  body: string;
  /** Milliseconds of Unix time, for the age of the signature. */
  now: number;
}

/** A verified report of a payment or refund. */
export interface BankEvent {
  /** Unique per bank; a repeated report has the same id. */
  eventId: string;
  paymentId: string;
  /** The order id in the report. The caller must check that the order exists. */
  orderId: string;
  amount: Money;
  /** `refund_failed` may come long after the bank reported the refund as completed. */
  kind: "paid" | "refunded" | "refund_failed" | "failed";
  /** With `refunded` and `refund_failed`: our id of the refund; the bank's id for a refund that was made there. */
  refundId?: string;
}

/** A customer's claim for the money at their own bank, also called a chargeback. */
export interface Dispute {
  /** The bank's id of it. */
  disputeId: string;
  paymentId: string;
  amount: Money;
  reason: string;
  /** `closed`: ended without a chargeback. */
  state: "open" | "won" | "lost" | "closed";
  /** Whether the bank has taken the money from the merchant. */
  withdrawn: boolean;
  /** Time of the report, RFC 3339. Reports may arrive out of order. */
  at: string;
}

/**
 * The result of verifying a report. `refused`: the signature or its time is wrong; the reason is for the log only.
 * `unusable`: genuine, but it cannot be read; it must be stored for an operator, never dropped. `noted`: genuine, but
 * it has no effect here.
 */
export type Verdict =
  | { kind: "event"; event: BankEvent }
  | { kind: "disputed"; eventId: string; dispute: Dispute }
  | { kind: "noted"; eventId: string; what: string }
  | { kind: "unusable"; eventId: string; reason: string }
  | { kind: "refused"; reason: "unsigned" | "wrong" | "stale" };

export interface RefundRequest {
  /** Our id, which is also the idempotency key: a repeated request refunds once. */
  refundId: string;
  paymentId: string;
  amount: Money;
  /** For the bank's own records. */
  orderId?: string;
}

/** `pending`: the bank has accepted the refund and will complete or fail it. */
export interface RefundState {
  state: "pending" | "completed" | "failed";
  reason?: string;
}

export interface Payment {
  paymentId: string;
  amount: Money;
  /** Sum of all refunds, pending ones included; absent when the bank does not report it. */
  refundedMinor?: number;
}

/** One bank with one merchant's settings. Every call ends within five seconds and follows no redirect. */
export interface Bank {
  /** @throws BankError */
  openCheckout(request: CheckoutRequest): Promise<Checkout>;
  verify(callback: Callback): Verdict;
  /** @throws BankError; after `unclear` the refund may have happened: find it before any repeat */
  refund(request: RefundRequest): Promise<RefundState>;
  /**
   * The state of a refund; undefined when the bank does not know it. A bank that cannot find refunds lacks this
   * method: then an operator has to check before a repeat.
   * @param paymentId the refunded payment
   * @throws BankError
   */
  findRefund?(refundId: string, paymentId: string): Promise<RefundState | undefined>;
  /** The successful payments of an order. @param reference of its checkout, where there is one @throws BankError */
  findPayments(orderId: string, reference?: string): Promise<Payment[]>;
  /**
   * Closes the page of an order that can no longer be paid. A closed or paid checkout stays unchanged. A bank that
   * cannot close pages lacks this method.
   * @throws BankError
   */
  closeCheckout?(reference: string): Promise<void>;
}

/** Settings that all banks of a platform share. */
export interface BankEnvironment {
  /** URL of Stripe's API. Only tests set another one. */
  readonly stripeApiUrl?: string | undefined;
}

/** Opens banks of one kind. */
export interface BankAdapter {
  /** Names of the required settings. All settings are secret. */
  readonly settings: readonly string[];
  /** Names of the optional settings. */
  readonly optional: readonly string[];
  /** @throws Error when a setting is not of the right form (never showing its value) */
  open(
    settings: Readonly<Record<string, string>>,
    webcheckoutUrl: string,
    environment: BankEnvironment,
  ): Bank;
}

/**
 * `refused`: the bank rejected the request and did nothing. `unclear`: no answer, or an answer that leaves the outcome
 * open. `unreadable`: an answer to a query that cannot be parsed; a repeat would get the same.
 */
export class BankError extends Error {
  readonly kind: "refused" | "unclear" | "unreadable";
  /** Whether the bank answered. If so, the error does not mean that the bank is unreachable. */
  readonly isAnswered: boolean;

  constructor(kind: BankError["kind"], message: string, isAnswered = true) {
    super(message);
    this.kind = kind;
    this.isAnswered = isAnswered;
  }
}
