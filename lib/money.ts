/** An amount in the currency's minor unit (cents); never a fraction, never beyond 2^53 - 1. */
export interface Money {
  amountMinor: number;
  /** ISO 4217, three capital letters. */
  currency: string;
}

export class MoneyError extends Error {}

/** @throws MoneyError when the amount is not a whole number that JavaScript counts exactly. */
export function money(amountMinor: number, currency: string): Money {
  if (!Number.isSafeInteger(amountMinor)) throw new MoneyError(`not a whole minor amount: ${amountMinor}`);
  return { amountMinor, currency };
}

/** @throws MoneyError for different currencies or a sum beyond 2^53 - 1. */
export function add(a: Money, b: Money): Money {
  return money(a.amountMinor + b.amountMinor, sameCurrency(a, b));
}

/** @throws MoneyError when the product is beyond 2^53 - 1 or the quantity is no whole number. */
export function times(a: Money, quantity: number): Money {
  return money(a.amountMinor * quantity, a.currency);
}

export function sameMoney(a: Money, b: Money): boolean {
  return a.amountMinor === b.amountMinor && a.currency === b.currency;
}

function sameCurrency(a: Money, b: Money): string {
  if (a.currency !== b.currency) throw new MoneyError(`${a.currency} cannot meet ${b.currency}`);
  return a.currency;
}
