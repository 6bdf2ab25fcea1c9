import { describe, expect, it } from "@jest/globals";
import type { Caller } from "../../contracts/meta.ts";
import { type OrderStatus, type OrderView, orderStatus } from "../../contracts/orders.ts";
import { type Clock, isoTime } from "../../lib/clock.ts";
import { deliveryTokens } from "../../lib/delivery-tokens.ts";
import { newId } from "../../lib/ids.ts";
import { viewFor, viewOf } from "../../services/orders/actions/views.ts";
import { areaOf } from "../../services/orders/domain/area.ts";
import { confirm } from "../../services/orders/domain/order-customer.ts";
import { sampleQuote } from "../support/orders.ts";

const [customerId, delivererId] = [newId(), newId()];
const tokens = deliveryTokens("handover-secret-of-the-tests-0123456");
const nowMs = Date.now();
const quote = { ...sampleQuote(), note: "Ring twice" };
const actor = { kind: "customer", name: customerId } as const;
const customer = { id: customerId, name: "Ada Byron", phone: "+41790000000" };
const order = confirm(quote, customer, newId(), actor, nowMs).next;
const view: OrderView = { ...viewOf({ ...order, delivererId }), checkoutUrl: "https://bank.example/1" };
/** Deliverers see an ended order for an hour, staff for a day. */
const HOUR_MS = 3_600_000;
const visibility = {
  ...{ deliveryTokens: tokens, clock: { now: () => nowMs } as Clock, courierSeesPhone: true },
  ...{ deliveredVisibleMs: HOUR_MS, partnerVisibleMs: 24 * HOUR_MS },
};
const shownTo = (role: Caller["role"], id: string, of = view, courierSeesPhone = true) =>
  viewFor({ role, id, sessionId: newId() } as Caller, of, { ...visibility, courierSeesPhone });
const endedFor = (ms: number): OrderView => ({
  ...{ ...view, status: "delivered" as const },
  closedAt: isoTime(nowMs - ms),
});
const { checkoutUrl: _, ...forStaff } = view;
const { note: __, ...forOthers } = forStaff;
const area = areaOf(view.address);
const ofNobody = { customer: { id: customerId, name: "Customer" }, address: area };

describe.each([0, HOUR_MS, 1_000 * HOUR_MS])("an order that ended %p ms ago", (ms) => {
  const past = endedFor(ms);

  it("shows its customer everything with PIN and tracking token", () => {
    const shown = shownTo("customer", customerId, past);
    expect(shown).toEqual({ ...past, pin: expect.any(String), trackingToken: expect.any(String) });
  });

  it("shows operators everything but these two", () => {
    expect(shownTo("admin", newId(), past)).toEqual(past);
  });
});

describe("the customer's data in an order", () => {
  const { status, closedAt } = endedFor(HOUR_MS);

  it("are shown to the partner's staff until a day after its end, without the checkout page", () => {
    expect(shownTo("partner", newId())).toEqual(forStaff);
    const still = endedFor(24 * HOUR_MS - 1);
    expect(shownTo("partner", newId(), still)).toMatchObject({ customer, note: view.note });
    const past = endedFor(24 * HOUR_MS);
    const { status, closedAt } = past;
    expect(shownTo("partner", newId(), past)).toEqual({ ...forOthers, ...ofNobody, status, closedAt });
  });

  it("are shown to a deliverer from the assignment until an hour after the end", () => {
    const { phone: _phone, ...withoutPhone } = customer;
    const assigned = { ...view, status: "delivering" as const };
    expect(shownTo("deliverer", newId(), assigned)).toMatchObject(ofNobody);
    expect(shownTo("deliverer", delivererId, assigned)).toMatchObject({ customer, note: view.note });
    expect(shownTo("deliverer", delivererId, endedFor(HOUR_MS - 1))).toMatchObject({
      customer: withoutPhone,
    });
    const past = shownTo("deliverer", delivererId, endedFor(HOUR_MS));
    expect(past).toEqual({ ...forOthers, ...ofNobody, status, closedAt });
  });

  it("are shown to the deliverer of a failed order for an hour too: it waits for an operator", () => {
    const failed = { ...view, status: "failed" as const, updatedAt: isoTime(nowMs - HOUR_MS) };
    expect(shownTo("deliverer", delivererId, { ...failed, updatedAt: isoTime(nowMs) }).customer.name).toBe(
      customer.name,
    );
    expect(shownTo("deliverer", delivererId, failed)).toMatchObject(ofNobody);
  });

  it("are not in a position that is shown in place of the address: it has about a kilometre", () => {
    const position = { latitude: 46.94809, longitude: 7.44744 };
    const { city, country, postalCode } = view.address;
    expect(areaOf({ ...view.address, line2: "Third floor", position })).toEqual({
      ...{ line1: "-", postalCode, city, country },
      position: { latitude: 46.95, longitude: 7.45 },
    });
  });

  it("include the photo of the handover", () => {
    const photo = { ...endedFor(HOUR_MS), proofPhotoId: newId() };
    expect(shownTo("partner", newId(), photo)).toHaveProperty("proofPhotoId");
    expect(shownTo("deliverer", delivererId, photo)).not.toHaveProperty("proofPhotoId");
  });
});

describe("the customer's phone number", () => {
  const phoneIn = (status: OrderStatus, courierSeesPhone: boolean) =>
    shownTo("deliverer", delivererId, { ...view, status }, courierSeesPhone).customer.phone;

  it("is shown to the deliverer during the delivery only, and never with the setting never", () => {
    for (const status of orderStatus.values) {
      expect([status, phoneIn(status, true)]).toEqual([
        status,
        status === "delivering" ? customer.phone : undefined,
      ]);
      expect([status, phoneIn(status, false)]).toEqual([status, undefined]);
    }
  });
});
