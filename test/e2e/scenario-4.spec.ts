import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Client, connect } from "./client.ts";
import { covered } from "./covered.ts";
import {
  admin,
  type Confirmation,
  check,
  customer,
  home,
  type Kitchen,
  kitchen,
  type Order,
  order,
  type Person,
  sandboxBank,
} from "./world.ts";

let api: Client;
let root: string;
let me: Person;
let shop: Kitchen;
let bankId: string;

beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  me = await customer(api);
  shop = await kitchen(api, root, [{ price: 950 }, { price: 420, stock: 5 }]);
  bankId = await sandboxBank(api, me);
});
afterAll(async () => {
  await shop?.close();
  expect([...(api?.reached ?? [])]).toEqual(expect.arrayContaining([...covered["scenario-4"]]));
});

const confirm = (check_id: string, key = newId(), bank_id = bankId, by = me) =>
  api.request<Confirmation & { code: string }>("POST /orders/confirm", {
    token: by.token,
    key,
    body: { check_id, bank_id },
  });

describe("scenario 4, confirm", () => {
  it("a check becomes one pending order with a checkout page, even if confirmed repeatedly", async () => {
    const { check_id, total } = await check(api, me, shop, [1]);
    const key = newId();
    const first = await confirm(check_id, key);
    expect(first.status).toBe(201);
    expect(first.body).toMatchObject({ status: "pending", checkout_url: expect.stringMatching(/^http/) });
    expect(first.headers.get("location")).toBe(`/api/v1/orders/${first.body.order_id}`);
    const again = await Promise.all([confirm(check_id, key), confirm(check_id, key), confirm(check_id)]);
    for (const repeat of again.filter(({ status }) => status !== 409))
      expect(repeat.body).toEqual(first.body);
    expect(again.some(({ status }) => status === 201)).toBe(true);
    const { items } = await api.ok<{ items: Order[] }>("GET /orders?status=pending", me);
    expect(items.filter(({ id }) => id === first.body.order_id)).toHaveLength(1);
    expect(items.find(({ id }) => id === first.body.order_id)).toMatchObject({
      total,
      payment_status: "unpaid",
    });
  });

  it("the same Idempotency-Key with another body is refused", async () => {
    const [one, two] = [await check(api, me, shop, [1]), await check(api, me, shop, [2])];
    const key = newId();
    expect((await confirm(one.check_id, key)).status).toBe(201);
    expect(await confirm(two.check_id, key)).toMatchObject({
      status: 422,
      body: { code: "idempotency_mismatch" },
    });
  });

  it("without an Idempotency-Key the request is refused", async () => {
    const body = { check_id: newId(), bank_id: bankId };
    expect(await api.refused("POST /orders/confirm", { ...me, body })).toEqual({
      status: 400,
      code: "idempotency_key_required",
    });
  });

  it("an unknown check, or another customer's, is expired", async () => {
    expect(await confirm(newId())).toMatchObject({ status: 409, body: { code: "check_expired" } });
    const { check_id } = await check(api, me, shop);
    const other = await customer(api);
    expect(await confirm(check_id, newId(), bankId, other)).toMatchObject({
      status: 409,
      body: { code: "check_expired" },
    });
  });

  it("a price that changed since the check is refused with the difference", async () => {
    const { check_id } = await check(api, me, shop);
    const price = { amount_minor: 999, currency: "EUR" };
    const at = `PUT /partners/${shop.partnerId}/availability/${shop.products[0]}`;
    await api.ok(at, { token: root, body: { price, active: true } });
    const refused = await confirm(check_id);
    expect(refused).toMatchObject({ status: 409, body: { code: "quote_changed" } });
    expect(JSON.stringify(refused.body)).toContain("999");
    await api.ok(at, { token: root, body: { price: { ...price, amount_minor: 950 }, active: true } });
  });

  it("of two customers, one gets the last pieces", async () => {
    const other = await customer(api);
    const scarce = await kitchen(api, root, [{ price: 100, stock: 3 }]);
    const [mine, theirs] = [await check(api, me, scarce, [2]), await check(api, other, scarce, [2])];
    const both = await Promise.all([
      confirm(mine.check_id),
      confirm(theirs.check_id, newId(), bankId, other),
    ]);
    expect(both.map(({ status }) => status).sort()).toEqual([201, 409]);
    await scarce.close();
  });

  it("an inactive or unknown bank is refused", async () => {
    const made = await api.ok<{ id: string; active: boolean }>("POST /banks", {
      token: root,
      key: newId(),
      body: {
        title: "Closed bank",
        adapter: "sandbox",
        settings: {
          apiKey: "k".repeat(32),
          webhookSecret: `whsec_${Buffer.alloc(24, 1).toString("base64")}`,
        },
        webcheckout_url: "http://127.0.0.1:9/pay",
        active: true,
      },
    });
    const closed = await api.ok<{ id: string }>(`PATCH /banks/${made.id}`, {
      token: root,
      body: { active: false },
    });
    for (const bank of [closed.id, newId()]) {
      const { check_id } = await check(api, me, shop);
      expect(await confirm(check_id, newId(), bank)).toMatchObject({
        status: 409,
        body: { code: "bank_inactive" },
      });
    }
    const banks = await api.ok<{ items: { id: string }[] }>("GET /banks", me);
    expect(JSON.stringify(banks)).not.toContain("whsec_");
  });

  it("address and note of a pending order can be changed with the present version", async () => {
    const { order_id } = await order(api, me, shop);
    const read = await api.request<Order>(`GET /orders/${order_id}`, me);
    const change = (body: object, ifMatch: string) =>
      api.request<Order>(`PATCH /orders/${order_id}`, { ...me, body, headers: { "If-Match": ifMatch } });
    const etag = read.headers.get("etag") as string;
    const address = { ...home, line1: "Oderberger Straße 1" };
    expect(await change({ address, note: "Ring once." }, etag)).toMatchObject({
      status: 200,
      body: { address: { line1: address.line1 }, note: "Ring once." },
    });
    expect(await change({ note: "Too late." }, etag)).toMatchObject({ status: 412 });
  });

  it("another customer's order is not found", async () => {
    const { order_id } = await order(api, me, shop);
    const other = await customer(api);
    for (const operation of [`GET /orders/${order_id}`, `GET /orders/${order_id}/history`]) {
      expect(await api.refused(operation, other)).toEqual({ status: 404, code: "not_found" });
    }
    expect(
      await api.refused(`PATCH /orders/${order_id}`, { ...other, body: { note: "mine" } }),
    ).toMatchObject({
      status: 404,
    });
  });
});
