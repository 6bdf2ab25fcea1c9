import { type Bank, openBank } from "../../providers/banks/index.ts";

/** The bank of the adapter's own tests. */
export const key = "sk_test_contract";
export const secret = `whsec_${"s".repeat(32)}`;
export const settings = { secretKey: key, webhookSecret: secret, returnUrl: "https://shop.example/done" };

/** @param url where Stripe is, @param more settings that differ */
export const opened = (url: string, more: Record<string, string> = {}): Bank =>
  openBank("stripe", { ...settings, ...more }, "https://checkout.stripe.com", { stripeApiUrl: url });

export const euro = (amountMinor: number) => ({ amountMinor, currency: "EUR" });
