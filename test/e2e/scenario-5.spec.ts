import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { startPaymentSystem } from "../../sandbox/payment-system/server.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, connect } from "./client.ts";
import { covered } from "./covered.ts";
import {
  admin,
  atCheckout,
  customer,
  type Kitchen,
  kitchen,
  order,
  orderWhen,
  type Person,
  signed,
} from "./world.ts";

const SECRET = `whsec_${Buffer.from("the secret of the test's bank").toString("base64")}`;
const MINUTE_MS = 60_000;

let api: Client;
let root: string;
let me: Person;
let shop: Kitchen;
let bank: { url: string; stop(): Promise<void> };
let bankId: string;

beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  me = await customer(api);
  shop = await kitchen(api, root);
  bank = await startPaymentSystem({
    host: "127.0.0.1",
    port: 0,
    apiKey: "a".repeat(32),
    webhookSecret: SECRET,
  });
  const body = {
    title: "Bank of the test",
    adapter: "sandbox",
    settings: { apiKey: "a".repeat(32), webhookSecret: SECRET },
    webcheckout_url: bank.url,
    active: true,
  };
  bankId = (await api.ok<{ id: string }>("POST /banks", { token: root, key: newId(), body })).id;
});
afterAll(async () => {
  await Promise.all([shop?.close(), bank?.stop()]);
  expect([...(api?.reached ?? [])]).toEqual(expect.arrayContaining([...covered["scenario-5"]]));
});

const euros = (minor: number) => (minor / 100).toFixed(2);
const toldOf = (orderId: string) =>
  shop.received.filter(({ type, data }) => type === "order.paid" && data.order_id === orderId);

/** Sends the bank's report of a payment. The caller chooses the signature. */
async function report(
  data: object,
  options: { id?: string; secret?: string; at?: Date; to?: string; type?: string } = {},
) {
  const { id = newId(), secret = SECRET, at = new Date(), to = bankId, type = "payment.succeeded" } = options;
  const body = JSON.stringify({ type, data });
  const headers = secret ? signed(secret, id, at, body) : {};
  return await api.request(`POST /webhooks/payments/${to}`, { body, headers });
}

describe("scenario 5, pay", () => {
  it("an order paid on the bank's page reaches the partner once, signed, with the products", async () => {
    const made = await order(api, me, shop, { quantities: [2, 1] });
    await atCheckout(made.checkout_url, { action: "pay" });
    const paid = await orderWhen(api, me, made.order_id, ({ status }) => expect(status).toBe("paid"));
    expect(paid).toMatchObject({ payment_status: "paid", paid: made.total });
    await eventually(() => expect(toldOf(made.order_id)).toHaveLength(1));
    const [told] = toldOf(made.order_id);
    expect(told?.data.lines.map(({ product_id, quantity }) => [product_id, quantity])).toEqual([
      [shop.products[0], 2],
      [shop.products[1], 1],
    ]);
    expect(told?.data.callback_url).toBe(`${api.url}/api/v1/webhooks/partners/${shop.partnerId}`);
    expect(shop.forged).toBe(0);
    await eventually(async () => {
      const { items } = await api.ok<{ items: { to: string }[] }>(`GET /orders/${made.order_id}/history`, me);
      expect(items.map(({ to }) => to)).toEqual(["pending", "paid"]);
    });
  });

  it("a declined payment leaves the order pending", async () => {
    const made = await order(api, me, shop);
    await atCheckout(made.checkout_url, { action: "decline" });
    await atCheckout(made.checkout_url, { action: "pay" });
    await orderWhen(api, me, made.order_id, ({ status }) => expect(status).toBe("paid"));
  });

  it("an underpaid order is prepared only after the rest is paid", async () => {
    const made = await order(api, me, shop);
    await atCheckout(made.checkout_url, { action: "underpay", amount: "5.00" });
    const partly = await orderWhen(api, me, made.order_id, (seen) =>
      expect(seen.payment_status).toBe("partially_paid"),
    );
    expect(partly).toMatchObject({ status: "pending", paid: { amount_minor: 500 } });
    expect(toldOf(made.order_id)).toEqual([]);
    await atCheckout(made.checkout_url, { action: "pay" });
    await orderWhen(api, me, made.order_id, ({ status, paid }) => {
      expect({ status, paid }).toEqual({ status: "paid", paid: made.total });
    });
  });

  it("of an overpaid order, only the excess is refunded", async () => {
    const made = await order(api, me, shop);
    await atCheckout(made.checkout_url, { action: "underpay", amount: euros(made.total.amount_minor + 700) });
    await orderWhen(api, me, made.order_id, ({ status, paid, refunded }) => {
      expect(status).toBe("paid");
      expect(paid.amount_minor - refunded.amount_minor).toBe(made.total.amount_minor);
    });
    await eventually(() => expect(toldOf(made.order_id)).toHaveLength(1));
  });

  it("an order paid twice is refunded once and prepared once", async () => {
    const made = await order(api, me, shop);
    await atCheckout(made.checkout_url, { action: "pay_twice" });
    await orderWhen(api, me, made.order_id, ({ paid, refunded }) => {
      expect(paid.amount_minor).toBe(2 * made.total.amount_minor);
      expect(refunded).toEqual(made.total);
    });
    await eventually(() => expect(toldOf(made.order_id)).toHaveLength(1));
  });

  it("a late payment is refunded in full", async () => {
    const made = await order(api, me, shop);
    await api.ok(`POST /orders/${made.order_id}/cancel`, {
      ...me,
      key: newId(),
      body: { reason: "No longer hungry." },
    });
    await atCheckout(made.checkout_url, { action: "pay" });
    await orderWhen(api, me, made.order_id, ({ status, payment_status, refunded }) => {
      expect({ status, payment_status, refunded }).toEqual({
        status: "cancelled",
        payment_status: "refunded",
        refunded: made.total,
      });
    });
    expect(toldOf(made.order_id)).toEqual([]);
  });

  it("a repeated report of the bank gets the same response and counts once", async () => {
    const made = await order(api, me, shop, { bankId });
    const id = newId();
    const data = { payment_id: `pay-${id}`, order_id: made.order_id, ...made.total };
    const answers = await Promise.all([1, 2, 3].map(() => report(data, { id })));
    expect(answers.map(({ status }) => status)).toEqual([204, 204, 204]);
    expect((await report({ ...data, amount_minor: 1 }, { id })).status).toBe(409);
    // The same payment under another event id is still the same money.
    expect((await report(data)).status).toBe(204);
    const paid = await orderWhen(api, me, made.order_id, ({ status }) => expect(status).toBe("paid"));
    expect(paid.paid).toEqual(made.total);
  });

  it("a report about an unknown order, or without a meaning, is accepted and stored", async () => {
    const amount = { amount_minor: 100, currency: "EUR" };
    expect((await report({ payment_id: newId(), order_id: newId(), ...amount })).status).toBe(204);
    expect((await report({ payment_id: newId(), order_id: "42", ...amount })).status).toBe(204);
    expect((await report({ anything: 1 }, { type: "something.else" })).status).toBe(204);
  });

  it("a forged report is refused with a byte-identical response", async () => {
    const made = await order(api, me, shop, { bankId });
    const data = { payment_id: newId(), order_id: made.order_id, ...made.total };
    const other = `whsec_${Buffer.from("somebody else's secret altogether").toString("base64")}`;
    const refused = [
      await report(data, { secret: "" }),
      await report(data, { secret: other }),
      await report(data, { at: new Date(Date.now() - 6 * MINUTE_MS) }),
      await report(data, { at: new Date(Date.now() + 6 * MINUTE_MS) }),
      await report(data, { to: newId() }),
      await report(data, { to: "nobody" }),
    ];
    expect(refused.map(({ status }) => status)).toEqual(refused.map(() => 401));
    expect(new Set(refused.map(({ bytes }) => bytes.toString())).size).toBe(1);
    expect(await api.ok(`GET /orders/${made.order_id}`, me)).toMatchObject({
      status: "pending",
      payment_status: "unpaid",
    });
  });

  it("the partner lists its webhooks, replays one, and replaces the secret", async () => {
    const at = `/partners/${shop.partnerId}/webhook`;
    const made = await order(api, me, shop);
    await atCheckout(made.checkout_url, { action: "pay" });
    await eventually(() => expect(toldOf(made.order_id)).toHaveLength(1));
    const seen = await api.request<{ secret?: string }>(`GET ${at}`, { token: root });
    expect(seen.body).not.toHaveProperty("secret");
    const delivery = await eventually(async () => {
      const { items } = await api.ok<{ items: { id: string; order_id?: string; state: string }[] }>(
        `GET ${at}/deliveries?limit=100`,
        { token: root },
      );
      const found = items.find(({ order_id, state }) => order_id === made.order_id && state === "accepted");
      expect(found).toBeDefined();
      return found as { id: string };
    });
    await api.ok(`POST ${at}/deliveries/${delivery.id}/replay`, { token: root, key: newId() });
    await eventually(() => expect(toldOf(made.order_id)).toHaveLength(2));
    const ids = toldOf(made.order_id).map(({ id }) => id);
    expect(ids[0]).toBe(ids[1]);
    const { secret } = await api.ok<{ secret: string }>(`POST ${at}/rotate-secret`, { token: root });
    expect(secret).not.toBe(shop.secret);
    // Signed by both for a while: the system of the test still has the old one.
    await api.ok(`POST ${at}/test`, { token: root, key: newId() });
    await eventually(() => expect(shop.received.some(({ type }) => type === "webhook.test")).toBe(true));
    shop.secret = secret;
    await api.ok(`POST ${at}/test`, { token: root, key: newId() });
    await eventually(() =>
      expect(shop.received.filter(({ type }) => type === "webhook.test")).toHaveLength(2),
    );
    expect(shop.forged).toBe(0);
  });
});
