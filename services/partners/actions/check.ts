import type { Params } from "../../../contracts/actions.ts";
import { requirePostalCode } from "../../../contracts/addresses.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import type { Quote } from "../../../contracts/partners.ts";
import { isoTime } from "../../../lib/clock.ts";
import { newId } from "../../../lib/ids.ts";
import { money } from "../../../lib/money.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import { nextOpening } from "../domain/opening-hours.ts";
import { quoteOf } from "../domain/quote.ts";
import { findPartner, type PartnerRow } from "../store/partners.repository.ts";
import { offersOf } from "../store/products.repository.ts";
import { hoursOf, snapshotOf, takesOrders } from "../use-cases/views.ts";
import { noSuchPartner } from "./access.ts";

/**
 * Calculates what a cart costs now. Reserves and writes nothing.
 * @throws PARTNER_CLOSED with the next opening, PRODUCT_UNAVAILABLE with the unavailable lines
 */
export async function check(
  { postgres, clock }: PartnersDependencies,
  ctx: Ctx<Params<"partners.check">>,
): Promise<Quote> {
  callerOf(ctx, "customer");
  const { partnerId, lines, address, note } = ctx.params;
  requirePostalCode(address);
  const nowMs = clock.now();
  const partner = await findPartner(postgres.db, partnerId);
  if (!partner?.enabled || !partner.verified) throw noSuchPartner();
  if (!takesOrders(partner, nowMs)) throw closed(partner, nowMs);
  const products = lines.map((line) => line.productId);
  const offers = await offersOf(postgres.db, partnerId, products);
  const fee = money(partner.deliveryFeeMinor, partner.currency);
  const cart = { lines, address, note };
  return quoteOf(cart, snapshotOf(partner), fee, offers, { checkId: newId(nowMs), nowMs });
}

function closed(partner: PartnerRow, nowMs: number): Error {
  const busyMs = partner.busyUntil === undefined ? nowMs : Date.parse(partner.busyUntil);
  // An endpoint that answered 410 has no known time of return.
  const isGone = partner.webhookGoneAt !== undefined;
  const opensMs = isGone ? undefined : nextOpening(hoursOf(partner), Math.max(nowMs, busyMs));
  const opensAt = opensMs === undefined ? undefined : isoTime(opensMs);
  return fail("PARTNER_CLOSED", opensAt && `It opens at ${opensAt}.`, {
    partnerId: partner.id,
    ...(opensAt && { opensAt }),
  });
}
