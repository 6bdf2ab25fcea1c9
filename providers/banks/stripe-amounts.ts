import type { Money } from "../../lib/money.ts";
import { BankError } from "./port.ts";

/*
 * We count in the minor units of ISO 4217; Stripe has its own list of what its "smallest unit" is
 * (docs.stripe.com/currencies). They differ for some: ISK and UGX have no minor unit, but Stripe counts them in
 * hundredths that must be zero; MGA has one by ISO and none at Stripe; of three decimals the last must be zero.
 */
const NO_MINOR_UNIT = words("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF");
const THREE_DECIMALS = words("BHD IQD JOD KWD LYD OMR TND");
const NO_MINOR_UNIT_AT_STRIPE = words("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF");
const THREE_DECIMALS_AT_STRIPE = words("BHD JOD KWD OMR TND");
const LAST_DIGIT_ZERO = 10;

/** The amount as Stripe counts it. @throws BankError `refused` for what Stripe has no whole number for */
export function toStripe({ amountMinor, currency }: Money): number {
  const shift = decimalsAtStripe(currency) - decimalsByIso(currency);
  const amount = shift >= 0 ? amountMinor * 10 ** shift : amountMinor / 10 ** -shift;
  const roundEnough = !THREE_DECIMALS_AT_STRIPE.has(currency) || amount % LAST_DIGIT_ZERO === 0;
  if (!Number.isSafeInteger(amount) || !roundEnough) {
    throw new BankError("refused", `Stripe takes no such amount in ${currency}`);
  }
  return amount;
}

/** An amount of Stripe's in our minor units; undefined for what is no positive whole number of them. */
export function fromStripe(amount: unknown, currency: unknown): Money | undefined {
  if (typeof currency !== "string" || !/^[a-z]{3}$/.test(currency)) return undefined;
  if (!Number.isSafeInteger(amount) || (amount as number) <= 0) return undefined;
  const code = currency.toUpperCase();
  const shift = decimalsByIso(code) - decimalsAtStripe(code);
  const amountMinor = shift >= 0 ? (amount as number) * 10 ** shift : (amount as number) / 10 ** -shift;
  return Number.isSafeInteger(amountMinor) ? { amountMinor, currency: code } : undefined;
}

function decimalsByIso(currency: string): number {
  if (NO_MINOR_UNIT.has(currency)) return 0;
  return THREE_DECIMALS.has(currency) ? 3 : 2;
}

function decimalsAtStripe(currency: string): number {
  if (NO_MINOR_UNIT_AT_STRIPE.has(currency)) return 0;
  return THREE_DECIMALS_AT_STRIPE.has(currency) ? 3 : 2;
}

function words(text: string): ReadonlySet<string> {
  return new Set(text.split(" "));
}
