import type { Money } from "../../lib/money.ts";

/** A checkout that the customer pays on the bank's own page. */
export interface CheckoutRequest {
  orderId: string;
  amount: Money;
  /** A repeat with the same key answers with the same checkout; nobody is asked to pay twice. */
  idempotencyKey: string;
  /** Where the bank reports what became of the payment. */
  callbackUrl: string;
  /** Where the customer's browser goes afterwards. */
  returnUrl?: string;
  /** What the customer reads on the page. */
  description: string;
  /** Gives up then; at most five seconds, which is also what it is without. */
  timeoutMs?: number;
}

/** What came in at the callback URL, untouched: header names in lower case, the body's very characters. */
export interface Callback {
  headers: Readonly<Record<string, string>>;
  body: string;
  /** Milliseconds of Unix time, for the age of the signature. */
  now: number;
}

/** Something that happened at the bank, as the bank itself says. */
export interface BankEvent {
  /** Unique with this bank; a repeat of the report carries the same. */
  eventId: string;
  paymentId: string;
  /** The order as the bank names it: not yet known to be one of ours. */
  orderId: string;
  amount: Money;
  kind: "paid" | "refunded" | "failed";
  /** Our id of the refund, with `refunded`. */
  refundId?: string;
}

/**
 * `refused`: not from this bank, or not lately; which of it is for the log only. `unusable`: genuine, but not
 * to be understood; it must be kept and looked at, never dropped.
 */
export type Verdict =
  | { kind: "event"; event: BankEvent }
  | { kind: "unusable"; eventId: string; reason: string }
  | { kind: "refused"; reason: "unsigned" | "wrong" | "stale" };

export interface RefundRequest {
  /** The bank's idempotency key: however often it is asked for, the money goes back once. */
  refundId: string;
  paymentId: string;
  amount: Money;
}

/** `pending`: the bank has taken it and will finish or fail it. */
export interface RefundState {
  state: "pending" | "completed" | "failed";
  reason?: string;
}

export interface Payment {
  paymentId: string;
  amount: Money;
}

/** One bank with one merchant's settings. Every call ends within five seconds and follows no redirect. */
export interface Bank {
  /** @throws BankError */
  openCheckout(request: CheckoutRequest): Promise<{ checkoutUrl: string }>;
  verify(callback: Callback): Verdict;
  /** @throws BankError; after `unclear` it may or may not have happened: look it up before any repeat */
  refund(request: RefundRequest): Promise<RefundState>;
  /**
   * What became of a refund; undefined: the bank has never heard of it. A bank that cannot say lacks the method,
   * and then a person has to look before anything is repeated.
   * @throws BankError
   */
  findRefund?(refundId: string): Promise<RefundState | undefined>;
  /** The successful payments of an order. @throws BankError */
  findPayments(orderId: string): Promise<Payment[]>;
}

/** What a kind of bank needs to be opened. */
export interface BankAdapter {
  /** The names of the settings, all of them required, all of them secret. */
  readonly settings: readonly string[];
  /** @throws Error when a setting is not of the right form (never showing its value) */
  open(settings: Readonly<Record<string, string>>, webcheckoutUrl: string): Bank;
}

/** `refused`: the bank said no and nothing happened. `unclear`: no answer, or none that tells. */
export class BankError extends Error {
  readonly kind: "refused" | "unclear";

  constructor(kind: "refused" | "unclear", message: string) {
    super(message);
    this.kind = kind;
  }
}
