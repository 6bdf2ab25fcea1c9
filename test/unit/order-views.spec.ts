import { describe, expect, it } from "@jest/globals";
import type { Caller } from "../../contracts/meta.ts";
import { type OrderStatus, orderStatus } from "../../contracts/orders.ts";
import { newId } from "../../lib/ids.ts";
import { deliveryTokens } from "../../services/orders/actions/delivery-tokens.ts";
import { viewFor, viewOf } from "../../services/orders/actions/views.ts";
import { confirm } from "../../services/orders/domain/order-customer.ts";
import { sampleQuote } from "../support/orders.ts";

const [customerId, delivererId] = [newId(), newId()];
const tokens = deliveryTokens("handover-secret-of-the-tests-0123456");
const nowMs = Date.now();
const quote = { ...sampleQuote(), note: "Ring twice" };
const actor = { kind: "customer", name: customerId } as const;
const customer = { id: customerId, name: "Ada Byron", phone: "+41790000000" };
const order = confirm(quote, customer, newId(), actor, nowMs).next;
const view = { ...viewOf({ ...order, delivererId }), checkoutUrl: "https://bank.example/1" };
const shownTo = (role: Caller["role"], id: string, isPast: boolean, courierSeesPhone = true, of = view) =>
  viewFor(
    { role, id, sessionId: newId() } as Caller,
    of,
    { deliveryTokens: tokens, courierSeesPhone },
    isPast,
  );

describe.each([false, true])("an order that ended long ago: %p,", (isPast) => {
  it("shows its customer everything with PIN and tracking token", () => {
    const shown = shownTo("customer", customerId, isPast);
    expect(shown).toEqual({ ...view, pin: expect.any(String), trackingToken: expect.any(String) });
  });

  it("shows operators everything but these two", () => {
    expect(shownTo("admin", newId(), isPast)).toEqual(view);
  });

  it("shows the partner's staff the customer and no checkout page", () => {
    const { checkoutUrl: _, ...rest } = view;
    expect(shownTo("partner", newId(), isPast)).toEqual(rest);
  });

  it("shows a deliverer of the pool neither customer nor note, and the full address only while it lasts", () => {
    const { checkoutUrl: _, note: __, ...rest } = view;
    const { city, country } = view.address;
    expect(shownTo("deliverer", newId(), isPast)).toEqual({
      ...rest,
      customer: { id: customerId, name: expect.not.stringContaining("Ada") },
      address: isPast ? { line1: "-", postalCode: "-", city, country } : view.address,
    });
  });

  it("shows its own deliverer the customer while it lasts, and then what the pool shows", () => {
    const { checkoutUrl: _, ...rest } = view;
    const own = shownTo("deliverer", delivererId, isPast);
    const { phone: _phone, ...withoutPhone } = customer;
    expect(own).toEqual(isPast ? shownTo("deliverer", newId(), true) : { ...rest, customer: withoutPhone });
  });
});

describe("the customer's phone number", () => {
  const phoneIn = (status: OrderStatus, courierSeesPhone: boolean) =>
    shownTo("deliverer", delivererId, false, courierSeesPhone, { ...view, status }).customer.phone;

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
