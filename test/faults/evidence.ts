import type { BankPayment, BankRefund } from "./bank.ts";
import type { Books } from "./books.ts";
import type { Ledger } from "./ledger.ts";

/** Everything that a run is judged by: what was seen outside, what was written down, and the bank's own books. */
export interface Evidence {
  ledger: Ledger;
  books: Books;
  bank: { payments: ReadonlyMap<string, BankPayment>; refunds: ReadonlyMap<string, BankRefund> };
  /** Pieces of each product before the run. */
  stockBefore: ReadonlyMap<string, number>;
}

/** @returns what is wrong, a line each */
export type Invariant = (evidence: Evidence) => string[];

/** Reports items that occur more than once, by their key. */
export function repeated<T>(all: readonly T[], key: (one: T) => string, what: string): string[] {
  return [...Map.groupBy(all, key)].flatMap(([name, same]) =>
    same.length > 1 ? [`${what} ${name} is there ${same.length} times`] : [],
  );
}

/** Of amounts, in minor units. */
export function sum(all: readonly { amount: number }[]): number {
  return all.reduce((total, { amount }) => total + amount, 0);
}

/** Reports the difference between tables and documents: missing, surplus and duplicate documents. */
export function difference(what: string, wanted: readonly string[], found: readonly string[]): string[] {
  const [wants, has] = [new Set(wanted), new Set(found)];
  return [
    ...[...wants].filter((one) => !has.has(one)).map((one) => `${what} ${one} has no document`),
    ...[...has]
      .filter((one) => !wants.has(one))
      .map((one) => `a document tells the ${what} ${one}, the tables do not`),
    ...(found.length === has.size
      ? []
      : [`${found.length - has.size} documents of ${what} tell the same twice`]),
  ];
}
