/** Mistakes that can be planted, each of which the checkers must find. */
export const plantable = [
  /** The inbox takes a message that it knows for a new one. */
  "no inbox dedupe",
  /** The stream loses a message before the inbox has committed it. */
  "acknowledge before commit",
  /** An order is saved whatever became of it since it was read. */
  "no version guard",
  /** After a refund with an unknown result, the next attempt uses a new key. */
  "refund repeated on timeout",
  /** A handler may commit after it lost the lease of its message. */
  "lease not fenced",
  /** A handler's effect is committed before the message is done. */
  "effect outside the transaction",
  /** Older news of an order overwrite newer ones. */
  "oldest version wins",
  /** Two reservations may count down from the same figure. */
  "stock read before the lock",
  /** Messages that a stream lost are not sent again. */
  "stream lost unnoticed",
  /** A second payment that the bank does not report is never found. */
  "paid orders are not polled",
  /** The time to accept an order runs while its partner was not notified. */
  "acceptance counts from the payment",
  /** A courier may have several offers at once. */
  "two offers for a courier",
  /** The pool gives away an order that is offered to a courier. */
  "offered orders are free",
] as const;

export type Fault = (typeof plantable)[number];

export class Faults {
  readonly #planted: Fault | undefined;

  constructor(planted?: Fault) {
    this.#planted = planted;
  }

  has(fault: Fault): boolean {
    return this.#planted === fault;
  }
}
