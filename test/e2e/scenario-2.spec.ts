import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, connect } from "./client.ts";
import { covered } from "./covered.ts";
import { admin, customer, invited, type Kitchen, kitchen, type Money, type Person } from "./world.ts";

interface Offer {
  product_id: string;
  partner_id: string;
  title: string;
  price: Money;
  stock?: number;
}
interface Page {
  items: Offer[];
  next_cursor?: string;
}

let api: Client;
let root: string;
let me: Person;
let shop: Kitchen;

beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  me = await customer(api);
  const stocked = Array.from({ length: 7 }, (_, index) => ({ price: 100 + index, stock: 10 }));
  shop = await kitchen(api, root, stocked);
});
afterAll(async () => {
  await shop?.close();
  expect([...(api?.reached ?? [])]).toEqual(expect.arrayContaining([...covered["scenario-2"]]));
});

const offers = async (query = "") =>
  (await api.ok<Page>(`GET /products?partner_id=${shop.partnerId}${query}`, me)).items;
const listed = (check: (items: Offer[]) => void) => eventually(async () => check(await offers("&limit=100")));

describe("scenario 2, list products", () => {
  it("a partner's offers are listed by pages, each once, in a stable order", async () => {
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page: Page = await api.ok(
        `GET /products?partner_id=${shop.partnerId}&limit=3${cursor ? `&cursor=${cursor}` : ""}`,
        me,
      );
      expect(page.items.length).toBeLessThanOrEqual(3);
      seen.push(...page.items.map(({ product_id }) => product_id));
      cursor = page.next_cursor;
    } while (cursor);
    expect(seen).toHaveLength(7);
    expect(new Set(seen)).toEqual(new Set(shop.products));
    expect((await api.ok<Page>(`GET /partners/${shop.partnerId}/products?limit=100`, me)).items).toHaveLength(
      7,
    );
  });

  it("an unchanged page is not sent again", async () => {
    const first = await api.request(`GET /products?partner_id=${shop.partnerId}`, me);
    const etag = first.headers.get("etag") as string;
    const again = await api.request(`GET /products?partner_id=${shop.partnerId}`, {
      ...me,
      headers: { "If-None-Match": etag },
    });
    expect(again.status).toBe(304);
  });

  it("a search finds titles with words that begin with the text", async () => {
    const product = shop.products[3] as string;
    const path = `/partners/${shop.partnerId}/products/${product}`;
    await api.ok(`PATCH ${path}`, { token: root, body: { title: "Pumpkin soup with ginger" } });
    await eventually(async () => {
      const items = await offers("&q=pumpk%20soup");
      expect(items.map(({ product_id }) => product_id)).toEqual([product]);
    });
  });

  it("changes of price, stock or title are visible, inactive offers are not", async () => {
    const at = `/partners/${shop.partnerId}`;
    const [one, two, three] = shop.products as [string, string, string];
    const price = { amount_minor: 777, currency: "EUR" };
    const set = (product: string, body: object) =>
      api.ok(`PUT ${at}/availability/${product}`, { token: root, body: { price, ...body } });
    await set(one, { stock: 3, active: true });
    await set(two, { active: false });
    await api.ok(`PATCH ${at}/products/${three}`, { token: root, body: { title: "Renamed soup" } });
    await listed((items) => {
      const byId = new Map(items.map((item) => [item.product_id, item]));
      expect(byId.get(one)).toMatchObject({ price, stock: 3 });
      expect(byId.has(two)).toBe(false);
      expect(byId.get(three)).toMatchObject({ title: "Renamed soup" });
    });
    await api.ok(`DELETE ${at}/products/${three}`, { token: root });
    await listed((items) => expect(items.map(({ product_id }) => product_id)).not.toContain(three));
  });

  it("the stock of a product is changed by a difference, set with its version, and removed by null", async () => {
    const product = shop.products[3] as string;
    const at = `/partners/${shop.partnerId}/availability/${product}`;
    const price = { amount_minor: 650, currency: "EUR" };
    const set = { price, active: true };
    await api.ok(`PUT ${at}`, { token: root, body: { ...set, stock: 3 } });
    const change = { token: root, key: newId(), body: { change: 2 } };
    for (const _ of ["sent", "sent again"]) {
      expect(await api.ok(`POST ${at}/stock`, change)).toMatchObject({ stock: 5, price });
    }
    const { version } = await api.ok<{ version: number }>(`GET ${at}`, { token: root });
    const old = { "If-Match": `"${version - 1}"` };
    expect(await api.refused(`PUT ${at}`, { token: root, headers: old, body: set })).toEqual({
      status: 412,
      code: "precondition_failed",
    });
    const headers = { "If-Match": `W/"${version}"` };
    const sending = { token: root, headers, key: newId(), body: { ...set, stock: 9 } };
    const counted = await api.ok<{ version: number }>(`PUT ${at}`, sending);
    expect(counted).toMatchObject({ stock: 9 });
    // The version that it was sent with has gone, and the repeat is no lost race.
    expect(await api.ok(`PUT ${at}`, sending)).toEqual(counted);
    const uncounted = await api.ok(`PUT ${at}`, {
      token: root,
      headers: { "If-Match": `"${counted.version}"` },
      body: { ...set, stock: null },
    });
    expect(uncounted).not.toHaveProperty("stock");
  });

  it("null removes optional texts of a product and a partner, by HTTP and gRPC", async () => {
    const at = `/partners/${shop.partnerId}`;
    const product = `${at}/products/${shop.products[3]}`;
    const texts = { description: "Thick", image_url: "https://shop.example/soup.png" };
    expect(await api.ok(`PATCH ${product}`, { token: root, body: texts })).toMatchObject(texts);
    const bare = await api.ok(`PATCH ${product}`, {
      token: root,
      body: { description: null, image_url: null },
    });
    expect(bare).not.toHaveProperty("description");
    expect(bare).not.toHaveProperty("image_url");
    expect(await api.ok(`PATCH ${product}`, { token: root, body: {} })).toEqual(bare);
    await api.ok(`PATCH ${at}`, { token: root, body: { brand: "Mill" } });
    expect(await api.ok(`PATCH ${at}`, { token: root, body: { brand: null } })).not.toHaveProperty("brand");
  });

  it("a disabled partner has no offers, a busy one is not open", async () => {
    const other = await kitchen(api, root);
    const at = `/partners/${other.partnerId}`;
    const busy_until = new Date(Date.now() + 3_600_000).toISOString();
    expect(await api.ok(`PUT ${at}/busy`, { token: root, body: { busy_until } })).toMatchObject({
      open: false,
    });
    expect(await api.ok(`PUT ${at}/busy`, { token: root, body: {} })).toMatchObject({ open: true });
    await api.ok(`PATCH ${at}`, { token: root, body: { enabled: false } });
    await eventually(async () => {
      const { items } = await api.ok<Page>(`GET /products?partner_id=${other.partnerId}`, me);
      expect(items).toEqual([]);
    });
    await other.close();
  });

  it("partners are listed and shown", async () => {
    const { items } = await api.ok<{ items: { id: string }[] }>("GET /partners?limit=100", me);
    expect(items.length).toBeGreaterThan(0);
    expect(await api.ok(`GET /partners/${shop.partnerId}`, me)).toMatchObject({
      title: shop.title,
      open: true,
    });
  });

  it("a partner's staff can change only that partner's catalogue", async () => {
    const other = await kitchen(api, root);
    const staff = await invited(api, root, { role: "partner", partner_id: shop.partnerId });
    const body = { title: "Soup of the day", price: { amount_minor: 500, currency: "EUR" } };
    await api.ok(`POST /partners/${shop.partnerId}/products`, { ...staff, body, key: newId() });
    const elsewhere = await api.refused(`POST /partners/${other.partnerId}/products`, {
      ...staff,
      body,
      key: newId(),
    });
    expect([403, 404]).toContain(elsewhere.status);
    await other.close();
  });

  it("the list requires a token", async () => {
    expect(await api.refused("GET /products")).toEqual({ status: 401, code: "unauthenticated" });
  });
});
