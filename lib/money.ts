import * as published from "dinero.js/currencies";

/** An amount in the currency's minor unit (cents); never a fraction, never beyond 2^53 - 1. */
export interface Money {
  amountMinor: number;
  /** ISO 4217, three capital letters. */
  currency: string;
}

/** The largest integer that JavaScript represents exactly. No payment, total or sum may be larger. */
export const AMOUNT_MAX_MINOR = Number.MAX_SAFE_INTEGER;

/** The package counts these two in fifths, as their coins are; ISO 4217 and payment systems count two decimals. */
const ISO_DIGITS: Readonly<Record<string, number>> = { MGA: 2, MRU: 2 };
/** The decimals of a code that is not in the list, for example one that was stored before codes were checked. */
const USUAL_DIGITS = 2;

/** ISO 4217: the decimals of each currency that money can be in. Metals, funds for testing and `XXX` are none. */
const digitsByCurrency: ReadonlyMap<string, number> = new Map(
  Object.values(published).map(({ code, exponent }) => [code, ISO_DIGITS[code] ?? exponent]),
);
export const currencies: readonly string[] = [...digitsByCurrency.keys()].sort();

export function isCurrency(code: unknown): code is string {
  return digitsByCurrency.has(code as string);
}

/** The number of decimals of the minor unit: 0 for JPY, 2 for EUR, 3 for KWD. */
export function minorUnitDigits(currency: string): number {
  return digitsByCurrency.get(currency) ?? USUAL_DIGITS;
}

/** The amount as a decimal text, for example `12.50`. It is exact for every amount. */
export function decimalText({ amountMinor, currency }: Money): `${number}` {
  const digits = minorUnitDigits(currency);
  const padded = String(Math.abs(amountMinor)).padStart(digits + 1, "0");
  const [whole, part] = [padded.slice(0, padded.length - digits), padded.slice(padded.length - digits)];
  return `${amountMinor < 0 ? "-" : ""}${whole}${part && `.${part}`}` as `${number}`;
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
