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
  /** The same, one by one, for a bank whose page shows it; they add up to the amount. */
  lines?: readonly CheckoutLine[];
  /** Until when it has to be paid, RFC 3339: a bank that can closes the page some time after it. */
  payBy?: string;
  /** Gives up then; at most five seconds, which is also what it is without. */
  timeoutMs?: number;
}

export interface CheckoutLine {
  title: string;
  quantity: number;
  unitAmountMinor: number;
}

export interface Checkout {
  checkoutUrl: string;
  /** The bank's own name for it, by which it is looked up best; a bank that needs none gives none. */
  reference?: string;
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
  /** `refund_failed`: it did not arrive after all, perhaps long after the bank had called it done. */
  kind: "paid" | "refunded" | "refund_failed" | "failed";
  /** Our id of the refund, with `refunded` and `refund_failed`; the bank's own for one that is none of ours. */
  refundId?: string;
}

/** A payment whose customer asks the money back at their own bank: a dispute, or chargeback. */
export interface Dispute {
  /** The bank's own name for it. */
  disputeId: string;
  paymentId: string;
  amount: Money;
  reason: string;
  /** `closed`: it came to no chargeback. */
  state: "open" | "won" | "lost" | "closed";
  /** Whether the bank has taken the money from the merchant. */
  withdrawn: boolean;
  /** When the bank reported it, RFC 3339: reports may overtake each other. */
  at: string;
}

/**
 * `refused`: not from this bank, or not lately; which of it is for the log only. `unusable`: genuine, but not
 * to be understood; it must be kept and looked at, never dropped. `noted`: genuine, understood, and of no effect
 * here.
 */
export type Verdict =
  | { kind: "event"; event: BankEvent }
  | { kind: "disputed"; eventId: string; dispute: Dispute }
  | { kind: "noted"; eventId: string; what: string }
  | { kind: "unusable"; eventId: string; reason: string }
  | { kind: "refused"; reason: "unsigned" | "wrong" | "stale" };

export interface RefundRequest {
  /** The bank's idempotency key: however often it is asked for, the money goes back once. */
  refundId: string;
  paymentId: string;
  amount: Money;
  /** Whose it is, for the bank's own books. */
  orderId?: string;
}

/** `pending`: the bank has taken it and will finish or fail it. */
export interface RefundState {
  state: "pending" | "completed" | "failed";
  reason?: string;
}

export interface Payment {
  paymentId: string;
  amount: Money;
  /** What has gone back of it, or is on its way, by whoever; absent: the bank does not say. */
  refundedMinor?: number;
}

/** One bank with one merchant's settings. Every call ends within five seconds and follows no redirect. */
export interface Bank {
  /** @throws BankError */
  openCheckout(request: CheckoutRequest): Promise<Checkout>;
  verify(callback: Callback): Verdict;
  /** @throws BankError; after `unclear` it may or may not have happened: look it up before any repeat */
  refund(request: RefundRequest): Promise<RefundState>;
  /**
   * What became of a refund; undefined: the bank has never heard of it. A bank that cannot say lacks the method,
   * and then a person has to look before anything is repeated.
   * @param paymentId the payment that it was to come from
   * @throws BankError
   */
  findRefund?(refundId: string, paymentId: string): Promise<RefundState | undefined>;
  /** The successful payments of an order. @param reference of its checkout, if there is one @throws BankError */
  findPayments(orderId: string, reference?: string): Promise<Payment[]>;
  /**
   * Closes the page of an order that can no longer be paid; one that is closed or paid stays as it is. A bank that
   * closes none lacks the method.
   * @throws BankError
   */
  closeCheckout?(reference: string): Promise<void>;
}

/** What all banks of a platform share. */
export interface BankEnvironment {
  /** Where Stripe's API is; it is another one in tests only. */
  readonly stripeApiUrl?: string | undefined;
}

/** What a kind of bank needs to be opened. */
export interface BankAdapter {
  /** The names of the settings that it cannot be opened without; all settings are secret. */
  readonly settings: readonly string[];
  /** The names of those that it may have besides. */
  readonly optional: readonly string[];
  /** @throws Error when a setting is not of the right form (never showing its value) */
  open(
    settings: Readonly<Record<string, string>>,
    webcheckoutUrl: string,
    environment: BankEnvironment,
  ): Bank;
}

/**
 * `refused`: the bank said no and nothing happened. `unclear`: no answer, or none that tells. `unreadable`: an answer to
 * a question that nobody can make sense of; the bank is there, and a repeat hears the same.
 */
export class BankError extends Error {
  readonly kind: "refused" | "unclear" | "unreadable";
  /** Whether the bank answered at all; it is not known to be away then, whatever it said about one order. */
  readonly isAnswered: boolean;

  constructor(kind: BankError["kind"], message: string, isAnswered = true) {
    super(message);
    this.kind = kind;
    this.isAnswered = isAnswered;
  }
}
