import { isCurrency, type Money, minorUnitDigits } from "../../lib/money.ts";
import { BankError } from "./port.ts";

/*
 * Our amounts are in minor units of ISO 4217, Stripe's in its own "smallest unit" (docs.stripe.com/currencies). The
 * differences: ISK and UGX have no minor unit in ISO, but two digits at Stripe, which must be zero; MGA has two digits
 * in ISO and none at Stripe; currencies that Stripe does not list have two digits there. With three digits the last
 * must be zero.
 */
const DIGITS_AT_STRIPE: Readonly<Record<string, number>> = {
  ...{ ISK: 2, UGX: 2, MGA: 0 },
  ...{ UYI: 2, IQD: 2, LYD: 2, CLF: 2, UYW: 2 },
};
const LAST_DIGIT_ZERO = 10;

/** Converts to Stripe's unit. @throws BankError `refused` for an amount that Stripe cannot represent */
export function toStripe({ amountMinor, currency }: Money): number {
  const digits = digitsAtStripe(currency);
  const shift = digits - minorUnitDigits(currency);
  const amount = shift >= 0 ? amountMinor * 10 ** shift : amountMinor / 10 ** -shift;
  const roundEnough = digits < 3 || amount % LAST_DIGIT_ZERO === 0;
  if (!Number.isSafeInteger(amount) || !roundEnough) {
    throw new BankError("refused", `Stripe cannot represent this amount in ${currency}`);
  }
  return amount;
}

/** Converts from Stripe's unit; undefined when the result is no positive whole number of minor units. */
export function fromStripe(amount: unknown, currency: unknown): Money | undefined {
  if (typeof currency !== "string" || currency !== currency.toLowerCase()) return undefined;
  if (!Number.isSafeInteger(amount) || (amount as number) <= 0) return undefined;
  const code = currency.toUpperCase();
  if (!isCurrency(code)) return undefined;
  const shift = minorUnitDigits(code) - digitsAtStripe(code);
  const amountMinor = shift >= 0 ? (amount as number) * 10 ** shift : (amount as number) / 10 ** -shift;
  return Number.isSafeInteger(amountMinor) ? { amountMinor, currency: code } : undefined;
}

function digitsAtStripe(currency: string): number {
  return DIGITS_AT_STRIPE[currency] ?? minorUnitDigits(currency);
}
