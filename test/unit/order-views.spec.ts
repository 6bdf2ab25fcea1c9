import { describe, expect, it } from "@jest/globals";
import type { Caller } from "../../contracts/meta.ts";
import { type OrderStatus, type OrderView, orderStatus } from "../../contracts/orders.ts";
import { type Clock, isoTime } from "../../lib/clock.ts";
import { cursorOf } from "../../lib/cursor.ts";
import { deliveryTokens } from "../../lib/delivery-tokens.ts";
import { newId } from "../../lib/ids.ts";
import { beforeOf, pageOf } from "../../services/orders/actions/pages.ts";
import { firstName, viewFor, viewOf, withPickupCode } from "../../services/orders/actions/views.ts";
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

describe("a view of an order", () => {
  it("without a position of the address, has an area without one", () => {
    const { position: _, ...address } = view.address;
    expect(areaOf(address)).not.toHaveProperty("position");
  });

  it("shows a customer another's order as it is, without the secrets", () => {
    expect(shownTo("customer", newId())).toEqual(view);
  });

  it("has the pickup code for staff and operators until the end", () => {
    const codeFor = (role: Caller["role"], closedAt?: string) =>
      withPickupCode({ role, id: newId() } as Caller, view, closedAt ? { closedAt } : {}, tokens).pickupCode;
    const code = tokens.pickupCodeOf(view.id);
    expect([codeFor("partner"), codeFor("admin")]).toEqual([code, code]);
    expect([codeFor("customer"), codeFor("deliverer")]).toEqual([undefined, undefined]);
    expect([codeFor("partner", view.createdAt), codeFor("admin", view.createdAt)]).toEqual([
      undefined,
      undefined,
    ]);
  });

  it("names its customer by the first name alone where a deliverer sees it", () => {
    expect(firstName("Ada Byron King")).toBe("Ada");
  });
});

describe("a page of a list", () => {
  const rows = (count: number, skipped?: number) =>
    Object.assign(
      Array.from({ length: count }, (_, index) => ({ id: newId(), index })),
      skipped === undefined ? {} : { skipped },
    );
  const page = async (found: ReturnType<typeof rows>, limit?: number) => {
    const asked: number[] = [];
    const find = async (count: number) => {
      asked.push(count);
      return found;
    };
    const { items, nextCursor } = await pageOf(find, limit, ({ index }) => index);
    return { asked, items, next: nextCursor && found[items.length - 1]?.id === beforeOf(nextCursor) };
  };

  it("has twenty entries by default, and a cursor of the last one if more follow", async () => {
    expect(await page(rows(0))).toEqual({ asked: [21], items: [], next: undefined });
    expect(await page(rows(2), 2)).toEqual({ asked: [3], items: [0, 1], next: undefined });
    expect(await page(rows(3), 2)).toEqual({ asked: [3], items: [0, 1], next: true });
    // A row that cannot be read counts as one that follows, unless it leaves nothing to begin the next page with.
    expect(await page(rows(2, 1), 2)).toEqual({ asked: [3], items: [0, 1], next: true });
    expect(await page(rows(0, 3), 2)).toEqual({ asked: [3], items: [], next: undefined });
  });

  it("begins at the start without a cursor, and refuses one of another list", () => {
    expect(beforeOf(undefined)).toBeUndefined();
    const invalid = expect.objectContaining({ type: "VALIDATION_ERROR" });
    for (const cursor of ["", "no cursor", cursorOf(newId(), newId())]) {
      expect(() => beforeOf(cursor)).toThrow(invalid);
    }
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
