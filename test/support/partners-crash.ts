import { newId } from "../../lib/ids.ts";
import { lineOf, reservationOf, startPartners } from "./partners.ts";

/**
 * A process that reserves one order after the other, as Orders would, says what was promised to it, and never
 * gets to save an order. The test kills it.
 */
const { POSTGRES_URL = "", EXPIRES_AT = "" } = process.env;
const shop = await startPartners({ url: POSTGRES_URL, sweep: { intervalMs: 60_000, graceMs: 60_000 } });
const partner = await shop.openPartner();
const offers = [
  await shop.product(partner.id, { stock: 100_000 }),
  await shop.product(partner.id, { stock: 100_000 }),
];
process.stdout.write("started\n");
const worker = async () => {
  for (;;) {
    const lines = offers.map((offer) => lineOf(offer, 3));
    const wanted = reservationOf(partner, lines, { orderId: newId(), expiresAt: EXPIRES_AT });
    await shop.bare("partners.reserve", wanted);
    process.stdout.write(`${JSON.stringify(wanted)}\n`);
  }
};
await Promise.all([worker(), worker(), worker()]);
