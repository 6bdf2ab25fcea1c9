import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Client, connect } from "./client.ts";
import { covered } from "./covered.ts";
import { admin, check, customer, home, type Kitchen, kitchen, type Person } from "./world.ts";

const TEN_MINUTES_MS = 600_000;

let api: Client;
let root: string;
let me: Person;
let shop: Kitchen;

beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  me = await customer(api);
  shop = await kitchen(api, root, [{ price: 950 }, { price: 420, stock: 3 }]);
});
afterAll(async () => {
  await shop?.close();
  expect([...(api?.reached ?? [])]).toEqual(expect.arrayContaining([...covered["scenario-3"]]));
});

const cart = (change: object = {}) => ({
  partner_id: shop.partnerId,
  lines: [{ product_id: shop.products[0], quantity: 1 }],
  address: home,
  ...change,
});

describe("scenario 3, check", () => {
  it("a cart gets its prices from the catalogue, valid for ten minutes", async () => {
    const beforeMs = Date.now();
    const quote = await check(api, me, shop, [2, 3]);
    expect(quote.lines.map(({ quantity, unit_price }) => [quantity, unit_price.amount_minor])).toEqual([
      [2, 950],
      [3, 420],
    ]);
    expect(quote.fee).toEqual({ amount_minor: 290, currency: "EUR" });
    expect(quote.total).toEqual({ amount_minor: 2 * 950 + 3 * 420 + 290, currency: "EUR" });
    const checkedMs = Date.parse(quote.expires_at) - TEN_MINUTES_MS;
    expect(checkedMs).toBeGreaterThan(beforeMs - 1_000);
    expect(checkedMs).toBeLessThan(Date.now() + 1_000);
  });

  it("a changed cart gets another check", async () => {
    const [one, two] = [await check(api, me, shop, [1]), await check(api, me, shop, [2])];
    expect(one.check_id).not.toBe(two.check_id);
  });

  it.each([
    ["quantity 0", { lines: [{ product_id: newId(), quantity: 0 }] }],
    ["quantity 100", { lines: [{ product_id: newId(), quantity: 100 }] }],
    ["a price of the client's own", { total: { amount_minor: 1, currency: "EUR" } }],
    ["no lines", { lines: [] }],
    ["no address", { address: undefined }],
  ])("%s is refused as invalid", async (_, change) => {
    expect(await api.refused("POST /orders/check", { ...me, body: cart(change) })).toEqual({
      status: 422,
      code: "validation_error",
    });
  });

  it("a quantity above the stock is not available", async () => {
    const lines = [{ product_id: shop.products[1], quantity: 4 }];
    expect(await api.refused("POST /orders/check", { ...me, body: cart({ lines }) })).toEqual({
      status: 409,
      code: "product_unavailable",
    });
  });

  it("a product of another partner, or an unknown one, is not available", async () => {
    const lines = [{ product_id: newId(), quantity: 1 }];
    const { status } = await api.refused("POST /orders/check", { ...me, body: cart({ lines }) });
    expect([404, 409]).toContain(status);
  });

  it("a partner that is busy takes no orders", async () => {
    const busy = await kitchen(api, root);
    const busy_until = new Date(Date.now() + 3_600_000).toISOString();
    await api.ok(`PUT /partners/${busy.partnerId}/busy`, { token: root, body: { busy_until } });
    const body = cart({ partner_id: busy.partnerId, lines: [{ product_id: busy.products[0], quantity: 1 }] });
    expect(await api.refused("POST /orders/check", { ...me, body })).toEqual({
      status: 409,
      code: "partner_closed",
    });
    await busy.close();
  });

  it("a caller who is not a customer cannot check", async () => {
    expect(await api.refused("POST /orders/check", { token: root, body: cart() })).toMatchObject({
      status: 403,
    });
  });
});
