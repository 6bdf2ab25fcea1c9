import type { Quote } from "../../contracts/partners.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { euro } from "./bank.ts";
import { type Cluster, POISON } from "./cluster.ts";
import type { OfferRecord } from "./stores/reservations.ts";

const address = { line1: "Kirchgasse 3", city: "Bern", postalCode: "3011", country: "CH" };

/** A partner with three products: few pieces, more pieces, uncounted. */
export function openShop({ servers, checks }: Cluster, partnerId: string): void {
  const partner = {
    ...{
      id: partnerId,
      title: "Bäckerei Aare",
      phone: "+41310000000",
      email: "a@b.example",
      address,
    },
    ...{
      currency: "EUR",
      deliveryFeeMinor: 450,
      preparationMinutes: 20,
      acceptanceMinutes: 4,
      proof: "pin",
      timeZone: "UTC",
    },
    ...{ openingSpans: [], verified: true, enabled: true, version: 1 },
  };
  servers.partners.table("partners").set(partnerId, partner);
  for (const [title, stock] of [
    ["Bread", 4],
    ["Butter", 12],
    ["Honey", undefined],
  ] as const) {
    const offer: OfferRecord = {
      ...{
        partnerId: partnerId,
        productId: newId(),
        title,
        priceMinor: 500,
        currency: "EUR",
        active: true,
      },
      ...(stock !== undefined && { stock }),
    };
    servers.partners.table("availability").set(`${offer.partnerId}/${offer.productId}`, { ...offer });
    if (stock !== undefined) checks.stocked(offer.productId, stock);
  }
}

/** A quote of a customer's choice, a moment old: the pieces may be sold or reserved by now. */
export function quoteOf({ world, servers }: Cluster, partnerId: string): Quote {
  const { random } = world;
  const offers = servers.partners.all<OfferRecord>("availability");
  const chosen = offers.filter(() => random.chance(0.5));
  const lines = (chosen.length > 0 ? chosen : offers.slice(2)).map(({ productId, title, priceMinor }) => ({
    ...{ productId, title, quantity: random.between(1, 2), unitPrice: euro(priceMinor) },
  }));
  const sum = lines.reduce((all, { quantity, unitPrice }) => all + quantity * unitPrice.amountMinor, 450);
  const note = world.trouble(0.06) ? random.pick(Object.values(POISON)) : undefined;
  return {
    checkId: newId(),
    expiresAt: isoTime(servers.orders.nowMs() + 600_000),
    partner: {
      ...{ id: partnerId, title: "Bäckerei Aare", phone: "+41310000000", preparationMinutes: 20 },
      ...{ pickup: address, proof: "pin" },
    },
    ...{ lines, fee: euro(450), total: euro(sum), address, ...(note && { note }) },
  };
}
