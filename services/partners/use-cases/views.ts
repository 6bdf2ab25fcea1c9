import type { Availability, Offer, Product } from "../../../contracts/catalogue.ts";
import type { Caller } from "../../../contracts/meta.ts";
import type { Hours, Partner, PartnerSnapshot } from "../../../contracts/partners.ts";
import { money } from "../../../lib/money.ts";
import { isOpenAt } from "../domain/opening-hours.ts";
import type { OfferRow } from "../store/offers.repository.ts";
import type { PartnerRow } from "../store/partners.repository.ts";
import type { AvailabilityRow, ProductRow } from "../store/products.repository.ts";

export function hoursOf({ timeZone, openingSpans }: PartnerRow): Hours {
  return { timeZone, spans: openingSpans };
}

/** Whether the partner takes orders at this moment. */
export function takesOrders(partner: PartnerRow, nowMs: number): boolean {
  const busy = partner.busyUntil !== undefined && Date.parse(partner.busyUntil) > nowMs;
  const reachable = partner.webhookGoneAt === undefined;
  return partner.enabled && partner.verified && reachable && !busy && isOpenAt(hoursOf(partner), nowMs);
}

export function partnerView(partner: PartnerRow, nowMs: number): Partner {
  const { timeZone: _zone, openingSpans: _spans, webhookGoneAt: _gone, ...rest } = partner;
  return { ...rest, hours: hoursOf(partner), open: takesOrders(partner, nowMs) };
}

/** The partner as this caller may see it. Only operators and its own staff see the URL of its system. */
export function partnerViewFor(caller: Caller, partner: PartnerRow, nowMs: number): Partner {
  const view = partnerView(partner, nowMs);
  if (caller.role === "admin" || caller.partnerId === partner.id) return view;
  const { apiUrl: _apiUrl, ...shown } = view;
  return shown;
}

export function snapshotOf(partner: PartnerRow): PartnerSnapshot {
  const { id, title, brand, phone, address, preparationMinutes, acceptanceMinutes, proof } = partner;
  return {
    id,
    title,
    ...(brand !== undefined && { brand }),
    phone,
    pickup: address,
    preparationMinutes,
    acceptanceMinutes,
    proof,
  };
}

export function productView({ ownerPartnerId: _owner, ...product }: ProductRow): Product {
  return product;
}

export function availabilityView({ priceMinor, currency, ...rest }: AvailabilityRow): Availability {
  return { ...rest, price: money(priceMinor, currency) };
}

/** @param managed true for operators and staff of the partner: adds `active` and `version` */
export function offerView(offer: OfferRow, managed: boolean): Offer {
  const { priceMinor, currency, active, version, ...rest } = offer;
  return { ...rest, price: money(priceMinor, currency), ...(managed && { active, version }) };
}
