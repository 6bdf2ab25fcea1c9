import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { filesOfConfirm, filesThatRan } from "../support/files-that-ran.ts";
import { sampleQuote } from "../support/orders.ts";
import { type OrdersHarness, PUBLIC_URL_OF_TESTS, startOrders } from "../support/orders-service.ts";
import { recordSchemaChecks } from "../support/schema-checks.ts";

const checksDuring = recordSchemaChecks();
let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
beforeEach(() => {
  shop.stand.reserve = async ({ orderId }) => (shop.quotes.get(orderId) ?? sampleQuote()).partner;
});
afterAll(() => shop.stop());

const customer = () => ({ id: newId(), role: "customer" }) as const;
const confirmation = (id: string, quote = sampleQuote(), bankId = shop.bankId) => ({
  bankId,
  quote,
  customer: { id, name: "Ada Byron" },
});
const orderCount = async (id: string) =>
  (await shop.sql<{ count: number }>("SELECT count(*)::integer AS count FROM orders WHERE id = $1", [id]))[0]
    ?.count;

describe("orders.confirm", () => {
  it("saves the order with its lines, history and message, and returns the bank's checkout page", async () => {
    const { confirmation, orderId, quote, customer } = await shop.confirmed({ note: "Ring twice" });
    expect(confirmation).toEqual({
      orderId: quote.checkId,
      number: expect.stringMatching(/^[A-Z]\d-\d{3}$/),
      status: "pending",
      checkoutUrl: expect.stringContaining(`${shop.bankUrl}/checkout/`),
      callbackUrl: `${PUBLIC_URL_OF_TESTS}/api/v1/webhooks/payments/${shop.bankId}`,
      payBy: expect.any(String),
    });
    const minutes = (Date.parse(confirmation.payBy) - Date.now()) / 60_000;
    expect(minutes).toBeGreaterThan(29);
    expect(minutes).toBeLessThan(31);
    const order = await shop.get({ customer, orderId });
    expect(order).toMatchObject({
      id: orderId,
      status: "pending",
      paymentStatus: "unpaid",
      version: 1,
      lines: quote.lines,
      total: quote.total,
      fee: quote.fee,
      note: "Ring twice",
      checkoutUrl: confirmation.checkoutUrl,
      deadlineAt: confirmation.payBy,
      pin: expect.stringMatching(/^\d{4}$/),
    });
    await eventually(() =>
      expect(shop.saidOf(orderId)).toMatchObject([
        { type: "order.created", source: "waybill/orders", data: { version: 1, status: "pending" } },
      ]),
    );
    expect(shop.reserved.at(-1)).toEqual({
      orderId,
      partnerId: quote.partner.id,
      lines: quote.lines,
      fee: quote.fee,
      expiresAt: confirmation.payBy,
    });
  });

  it("runs the files that docs/architecture.md names", async () => {
    const folder = "services/orders/";
    // The workers, which run at any time, have further ones.
    const ran = await filesThatRan(folder, () => shop.confirmed());
    expect(ran).toEqual(expect.arrayContaining(filesOfConfirm(folder)));
  });

  it("is checked by a schema once, as is its reservation by Partners", async () => {
    const fields = {
      confirm: "bankId, quote, customer",
      reserve: "orderId, partnerId, lines, fee, expiresAt",
    };
    // Its message is checked by the outbox, and by each inbox at any time after the commit.
    const isOfMessage = (names: string) => names.startsWith("version, orderId");
    // The first token of a node makes it call for the keys, without fields.
    const checks = (await checksDuring(() => shop.confirmed())).filter((names) => names !== "");
    expect(checks.filter((names) => !isOfMessage(names))).toEqual([fields.confirm, fields.reserve]);
  });

  it("stores the partner as of the reservation, not as of the check", async () => {
    const who = customer();
    const quote = sampleQuote();
    shop.stand.reserve = async () => ({ ...quote.partner, title: "New name" });
    const { orderId } = await shop.as(who, "orders.confirm", confirmation(who.id, quote));
    expect((await shop.get({ customer: who, orderId })).partner.title).toBe("New name");
  });

  it("repeated with the same bank, returns the same answer and reserves nothing more", async () => {
    const { confirmation: first, quote, customer: who } = await shop.confirmed();
    const before = shop.reserved.length;
    const again = await shop.as(who, "orders.confirm", confirmation(who.id as string, quote));
    expect(again).toEqual(first);
    expect(shop.reserved).toHaveLength(before);
  });

  it("repeated without its check, after a crash before the checkout page was stored, opens the page of the existing order", async () => {
    const { confirmation: first, customer: who, orderId } = await shop.confirmed();
    await shop.sql("UPDATE orders SET checkout_url = NULL, checkout_ref = NULL WHERE id = $1", [orderId]);
    const before = shop.reserved.length;
    const key = { key: newId(), bodyHash: "a".repeat(64) };
    const ask = () => shop.as(who, "orders.reopenCheckout", { orderId, bankId: shop.bankId }, key);
    expect(await ask()).toEqual(first);
    expect(await ask()).toEqual(first);
    expect(shop.reserved).toHaveLength(before);
    expect(await shop.get({ customer: who, orderId })).toMatchObject({ checkoutUrl: first.checkoutUrl });
  });

  it("repeated without its check, for an unknown, another's or an ended order, is CHECK_EXPIRED; at another bank CHECK_USED", async () => {
    const { customer: who, orderId } = await shop.confirmed();
    const ask = (of: string, as = who, bankId = shop.bankId) =>
      shop.as(as, "orders.reopenCheckout", { orderId: of, bankId });
    await expect(ask(newId())).rejects.toMatchObject({ type: "CHECK_EXPIRED" });
    await expect(ask(orderId, customer())).rejects.toMatchObject({ type: "CHECK_EXPIRED" });
    await expect(ask(orderId, who, newId())).rejects.toMatchObject({ type: "CHECK_USED" });
    await shop.as(who, "orders.cancel", { orderId });
    await shop.sql("UPDATE orders SET checkout_url = NULL, checkout_ref = NULL WHERE id = $1", [orderId]);
    await expect(ask(orderId)).rejects.toMatchObject({ type: "CHECK_EXPIRED" });
  });

  it("repeated with another bank, is refused with CHECK_USED", async () => {
    const { quote, customer: who } = await shop.confirmed();
    const other = await shop.as(shop.admin, "orders.createBank", {
      title: "Other bank",
      adapter: "sandbox",
      settings: { apiKey: "other", webhookSecret: `whsec_${"B".repeat(43)}=` },
      webcheckoutUrl: shop.bankUrl,
      active: true,
    });
    const asked = shop.as(who, "orders.confirm", confirmation(who.id as string, quote, other.id));
    await expect(asked).rejects.toMatchObject({ type: "CHECK_USED", code: 409 });
  });

  it("twenty times at once, creates one order and returns one answer", async () => {
    const who = customer();
    const quote = sampleQuote();
    shop.quotes.set(quote.checkId, quote);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => shop.as(who, "orders.confirm", confirmation(who.id, quote))),
    );
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(await orderCount(quote.checkId)).toBe(1);
    await shop.settled();
    expect(shop.saidOf(quote.checkId, "order.created")).toHaveLength(1);
  });

  it("with an Idempotency-Key, replays the answer, and refuses another body under it", async () => {
    const who = customer();
    const key = { key: newId(), bodyHash: "a".repeat(64) };
    const quote = sampleQuote();
    const first = await shop.as(who, "orders.confirm", confirmation(who.id, quote), key);
    const reserved = shop.reserved.length;
    await expect(shop.as(who, "orders.confirm", confirmation(who.id, quote), key)).resolves.toEqual(first);
    expect(shop.reserved).toHaveLength(reserved);
    const other = shop.as(who, "orders.confirm", confirmation(who.id), { ...key, bodyHash: "b".repeat(64) });
    await expect(other).rejects.toMatchObject({ type: "IDEMPOTENCY_MISMATCH" });
  });

  it("with a bank that is inactive or unknown, is refused before anything is reserved", async () => {
    const who = customer();
    const { id } = await shop.as(shop.admin, "orders.createBank", {
      title: "Closed bank",
      adapter: "sandbox",
      settings: { apiKey: "closed", webhookSecret: `whsec_${"B".repeat(43)}=` },
      webcheckoutUrl: shop.bankUrl,
      active: false,
    });
    const before = shop.reserved.length;
    for (const bankId of [id, newId()]) {
      const asked = shop.as(who, "orders.confirm", confirmation(who.id, sampleQuote(), bankId));
      await expect(asked).rejects.toMatchObject({ type: "BANK_INACTIVE", code: 409 });
    }
    expect(shop.reserved).toHaveLength(before);
  });

  it("of an expired check or one with a wrong total, is refused before anything is reserved", async () => {
    const who = customer();
    const before = shop.reserved.length;
    const late = sampleQuote({ expiresAt: new Date(Date.now() - 6_000).toISOString() });
    await expect(shop.as(who, "orders.confirm", confirmation(who.id, late))).rejects.toMatchObject({
      type: "CHECK_EXPIRED",
    });
    const wrong = sampleQuote({ total: { amountMinor: 1, currency: "EUR" } });
    await expect(shop.as(who, "orders.confirm", confirmation(who.id, wrong))).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
    });
    expect(shop.reserved).toHaveLength(before);
  });

  it("when Partners refuses the reservation, returns its reasons and saves no order", async () => {
    const who = customer();
    const quote = sampleQuote();
    const data = { differences: [{ productId: newId(), now: { amountMinor: 1, currency: "EUR" } }] };
    shop.stand.reserve = async () => {
      throw fail("QUOTE_CHANGED", undefined, data);
    };
    const asked = shop.as(who, "orders.confirm", confirmation(who.id, quote));
    await expect(asked).rejects.toMatchObject({ type: "QUOTE_CHANGED", code: 409, data });
    expect(await orderCount(quote.checkId)).toBe(0);
  });

  it("when Partners does not respond, fails within its deadline, and a repeat succeeds", async () => {
    const hasty = await startOrders({ settings: { REQUEST_TIMEOUT_MS: 1_800 } });
    try {
      const who = customer();
      const quote = sampleQuote();
      const hanging = Promise.withResolvers<never>();
      hasty.stand.reserve = () => hanging.promise;
      const key = { key: newId(), bodyHash: "c".repeat(64) };
      const asked = () => hasty.as(who, "orders.confirm", confirmation(who.id, quote, hasty.bankId), key);
      await expect(asked()).rejects.toMatchObject({ type: "REQUEST_TIMEOUT", retryable: true });
      hasty.stand.reserve = async () => quote.partner;
      // On a busy machine an attempt may exceed the short limit.
      const answer = await eventually(asked);
      expect(answer).toMatchObject({ orderId: quote.checkId, status: "pending" });
      hanging.reject(fail("INTERNAL"));
    } finally {
      await hasty.stop();
    }
  });

  it("for another customer than the caller, is refused", async () => {
    const who = customer();
    const asked = shop.as(who, "orders.confirm", confirmation(newId()));
    await expect(asked).rejects.toMatchObject({ type: "FORBIDDEN" });
    for (const role of ["deliverer", "partner", "admin"] as const) {
      const id = newId();
      await expect(
        shop.as({ id, role, partnerId: newId() }, "orders.confirm", confirmation(id)),
      ).rejects.toMatchObject({ type: "FORBIDDEN", code: 403 });
    }
  });

  it("of a check that another customer has confirmed, is NOT_FOUND", async () => {
    const { quote } = await shop.confirmed();
    const thief = customer();
    const asked = shop.as(thief, "orders.confirm", confirmation(thief.id, quote));
    await expect(asked).rejects.toMatchObject({ type: "NOT_FOUND" });
  });
});

describe("orders.confirm, with a failing bank", () => {
  let answer: (send: (status: number, body: unknown) => void) => void;
  const asked: { key: string; order: unknown }[] = [];
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => {
      text += chunk;
    });
    request.on("end", () => {
      asked.push({ key: String(request.headers["idempotency-key"]), order: JSON.parse(text).order_id });
      answer((status, body) => response.writeHead(status, { location: "/" }).end(JSON.stringify(body)));
    });
  });
  let bankId: string;
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const bank = await shop.as(shop.admin, "orders.createBank", {
      title: "Bank in trouble",
      adapter: "sandbox",
      settings: { apiKey: "trouble", webhookSecret: `whsec_${"B".repeat(43)}=` },
      webcheckoutUrl: `http://127.0.0.1:${port}`,
      active: true,
    });
    bankId = bank.id;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it.each([
    ["it fails", (send: (status: number, body: unknown) => void) => send(500, {})],
    ["it redirects", (send: (status: number, body: unknown) => void) => send(302, {})],
    ["it refuses", (send: (status: number, body: unknown) => void) => send(401, {})],
    [
      "it answers nonsense",
      (send: (status: number, body: unknown) => void) => send(201, { url: "javascript:x" }),
    ],
    ["it hangs", () => undefined],
  ])("%s: is BANK_UNAVAILABLE, the order stays pending, and a repeat succeeds", async (_, trouble) => {
    const who = customer();
    const quote = sampleQuote();
    const key = { key: newId(), bodyHash: "d".repeat(64) };
    const confirm = () => shop.as(who, "orders.confirm", confirmation(who.id, quote, bankId), key);
    answer = trouble;
    await expect(confirm()).rejects.toMatchObject({ type: "BANK_UNAVAILABLE", code: 503, retryable: true });
    const pending = await shop.get({ customer: who, orderId: quote.checkId });
    expect(pending).toMatchObject({ status: "pending", paymentStatus: "unpaid" });
    expect(pending).not.toHaveProperty("checkoutUrl");
    answer = (send) => send(201, { id: "c1", url: "https://bank.example/pay" });
    const healed = await confirm();
    expect(healed).toMatchObject({ orderId: quote.checkId, checkoutUrl: "https://bank.example/pay" });
    expect(healed.payBy).toBe(pending.deadlineAt);
    const mine = asked.filter(({ order }) => order === quote.checkId);
    expect(new Set(mine.map(({ key: sent }) => sent))).toEqual(new Set([quote.checkId]));
    expect(shop.reserved.filter(({ orderId }) => orderId === quote.checkId)).toHaveLength(1);
  });
});
