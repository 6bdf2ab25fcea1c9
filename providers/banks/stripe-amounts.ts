import { isCurrency, type Money, minorUnitDigits } from "../../lib/money.ts";
import { BankError } from "./port.ts";

/*
 * We count in the minor units of ISO 4217; Stripe says of its own what its "smallest unit" is
 * (docs.stripe.com/currencies). These differ: ISK and UGX have no minor unit, but Stripe counts them in hundredths that
 * must be zero; MGA has one by ISO and none at Stripe; what Stripe has in no list of its own counts hundredths there.
 * Of three decimals the last must be zero.
 */
const DIGITS_AT_STRIPE: Readonly<Record<string, number>> = {
  ...{ ISK: 2, UGX: 2, MGA: 0 },
  ...{ UYI: 2, IQD: 2, LYD: 2, CLF: 2, UYW: 2 },
};
const LAST_DIGIT_ZERO = 10;

/** The amount as Stripe counts it. @throws BankError `refused` for what Stripe has no whole number for */
export function toStripe({ amountMinor, currency }: Money): number {
  const digits = digitsAtStripe(currency);
  const shift = digits - minorUnitDigits(currency);
  const amount = shift >= 0 ? amountMinor * 10 ** shift : amountMinor / 10 ** -shift;
  const roundEnough = digits < 3 || amount % LAST_DIGIT_ZERO === 0;
  if (!Number.isSafeInteger(amount) || !roundEnough) {
    throw new BankError("refused", `Stripe takes no such amount in ${currency}`);
  }
  return amount;
}

/** An amount of Stripe's in our minor units; undefined for what is no positive whole number of them. */
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
