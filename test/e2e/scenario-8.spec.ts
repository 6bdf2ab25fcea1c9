import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import sharp from "sharp";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, connect } from "./client.ts";
import { covered } from "./covered.ts";
import {
  admin,
  carriedOrder,
  customer,
  invited,
  type Kitchen,
  kitchen,
  type Order,
  type Person,
} from "./world.ts";

let api: Client;
let root: string;
let me: Person;
let shop: Kitchen;
let courier: Person;

beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  [me, courier, shop] = await Promise.all([
    customer(api, { name: "Zoë" }),
    invited(api, root, { role: "deliverer" }),
    kitchen(api, root),
  ]);
});
afterAll(async () => {
  await shop?.close();
  expect([...(api?.reached ?? [])]).toEqual(expect.arrayContaining([...covered["scenario-8"]]));
});

const seen = (id: string) => api.ok<Order>(`GET /orders/${id}`, me);
const deliver = (id: string, pin: string | undefined, more: object = {}, by = courier) =>
  api.request<Order & { code: string; data?: { tries_left: number } }>(`POST /orders/${id}/deliver`, {
    ...by,
    key: newId(),
    body: { pin, ...more },
  });

function wrong(pin: string | undefined): string {
  return pin === "0000" ? "0001" : "0000";
}

describe("scenario 8, deliver", () => {
  it("the delivery is followed live and by the public link, and the PIN ends it", async () => {
    const { order_id } = await carriedOrder(api, me, shop, courier);
    const { pin, tracking_token } = await seen(order_id);
    const stream = await api.follow(`GET /orders/${order_id}/events`, me);
    const { pickup_code: code } = await api.ok<{ pickup_code: string }>(`GET /orders/${order_id}`, {
      token: root,
    });
    await api.ok(`POST /orders/${order_id}/pickup`, { ...courier, key: newId(), body: { code } });
    await eventually(() => expect(stream.events.at(-1)?.data).toMatchObject({ type: "order.picked_up" }));
    const at = { latitude: 52.54, longitude: 13.41 };
    await api.ok(`POST /orders/${order_id}/location`, { ...courier, body: at });
    await eventually(() => {
      expect(stream.events.filter(({ event }) => event === "position").map(({ data }) => data)).toEqual([
        { ...at, at: expect.any(String) },
      ]);
    });
    const page = await api.ok(`GET /track/${tracking_token}`);
    expect(page).toMatchObject({ status: "delivering", first_name: "Zoë", position: at });
    expect(JSON.stringify(page)).not.toMatch(/Brandt|Kastanienallee|\+49|@/);
    expect(await deliver(order_id, wrong(pin))).toMatchObject({ status: 422, body: { code: "wrong_pin" } });
    expect((await deliver(order_id, pin)).body).toMatchObject({ status: "delivered" });
    expect((await deliver(order_id, pin)).body).toMatchObject({ status: "delivered" });
    await eventually(() => expect(stream.events.at(-1)?.data).toMatchObject({ type: "order.delivered" }));
    stream.end();
    expect(await api.refused(`POST /orders/${order_id}/location`, { ...courier, body: at })).toMatchObject({
      status: 409,
    });
  });

  it("the PIN is shown to the customer only", async () => {
    const { order_id } = await carriedOrder(api, me, shop, courier);
    expect(await seen(order_id)).toMatchObject({ pin: expect.stringMatching(/^\d{4}$/) });
    for (const token of [courier.token, root]) {
      const view = await api.ok<Order>(`GET /orders/${order_id}`, { token });
      expect([view.pin, view.tracking_token]).toEqual([undefined, undefined]);
    }
  });

  it("five wrong PINs lock the handover, also for the right one", async () => {
    const { order_id } = await carriedOrder(api, me, shop, courier);
    const { pin } = await seen(order_id);
    const codes: string[] = [];
    for (let tries = 0; tries < 5; tries++) codes.push((await deliver(order_id, wrong(pin))).body.code);
    expect(codes).toEqual(["wrong_pin", "wrong_pin", "wrong_pin", "wrong_pin", "handover_locked"]);
    expect(await deliver(order_id, pin)).toMatchObject({ status: 409, body: { code: "handover_locked" } });
  });

  it("another courier can neither report a position nor deliver", async () => {
    const other = await invited(api, root, { role: "deliverer" });
    const { order_id } = await carriedOrder(api, me, shop, courier);
    const { pin } = await seen(order_id);
    expect((await deliver(order_id, pin, {}, other)).status).toBe(404);
    const body = { latitude: 1, longitude: 1 };
    expect(await api.refused(`POST /orders/${order_id}/location`, { ...other, body })).toMatchObject({
      status: 404,
    });
    expect((await seen(order_id)).status).toBe("delivering");
  });

  it("a partner that requires a photo of the handover gets one", async () => {
    const careful = await kitchen(api, root, undefined, "pin_and_photo");
    const { order_id } = await carriedOrder(api, me, careful, courier);
    const { pin } = await seen(order_id);
    expect(await deliver(order_id, pin)).toMatchObject({ status: 422, body: { code: "proof_required" } });
    const image = await sharp({ create: { width: 60, height: 40, channels: 3, background: "olive" } })
      .png()
      .toBuffer();
    const { photo_id } = await api.ok<{ photo_id: string }>(`PUT /orders/${order_id}/proof`, {
      ...courier,
      image,
    });
    expect((await deliver(order_id, pin, { photo_id })).body).toMatchObject({ status: "delivered" });
    const photo = await api.request(`GET /orders/${order_id}/proof`, me);
    expect(photo.headers.get("content-type")).toMatch(/^image\//);
    await careful.close();
  });

  it("an order that cannot be delivered fails with its reason", async () => {
    const { order_id } = await carriedOrder(api, me, shop, courier);
    const body = { reason: "Nobody at the door." };
    expect(await api.ok(`POST /orders/${order_id}/fail`, { ...courier, key: newId(), body })).toMatchObject({
      status: "failed",
    });
    expect(await seen(order_id)).toMatchObject({ status: "failed", reason: body.reason });
  });

  it("an invented tracking link is not found", async () => {
    expect(await api.refused(`GET /track/${"A".repeat(51)}`)).toEqual({ status: 404, code: "not_found" });
  });
});
