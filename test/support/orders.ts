import type { Quote } from "../../contracts/partners.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import type { TestClaims } from "./tokens.ts";

const address = {
  line1: "Kirchgasse 3",
  city: "Bern",
  postalCode: "3011",
  country: "CH",
  position: { latitude: 46.948, longitude: 7.4474 },
};

/** A quote that adds up to 2950 EUR cents: two times 1000, once 500 and a fee of 450. */
export function sampleQuote(quote: Partial<Quote> = {}): Quote {
  const euro = (amountMinor: number) => ({ amountMinor, currency: "EUR" });
  return {
    checkId: newId(),
    expiresAt: isoTime(Date.now() + 600_000),
    partner: {
      id: newId(),
      title: "Bäckerei Aare",
      phone: "+41310000000",
      pickup: { ...address, line1: "Marktgasse 1" },
      preparationMinutes: 20,
      proof: "pin",
    },
    lines: [
      { productId: newId(), title: "Bread", quantity: 2, unitPrice: euro(1000) },
      { productId: newId(), title: "Butter", quantity: 1, unitPrice: euro(500) },
    ],
    fee: euro(450),
    total: euro(2950),
    address,
    ...quote,
  };
}

/** A staff member of the order's partner. */
export function staffOf({ quote }: { quote: Quote }): TestClaims {
  return { id: newId(), role: "partner", partnerId: quote.partner.id };
}

/** A deliverer with a new id. */
export const deliverer = () => ({ id: newId(), role: "deliverer" }) as const;
