import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { openBank } from "../../providers/banks/index.ts";
import { startPaymentSystem } from "../../sandbox/payment-system/server.ts";
import { eventually } from "../support/eventually.ts";

const apiKey = "sk_sandbox_of_the_tests";
const webhookSecret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const euro = (amountMinor: number) => ({ amountMinor, currency: "EUR" });

interface Call {
  headers: IncomingHttpHeaders;
  body: string;
}

/** A merchant's callback address, which answers what the test wants next. */
async function startMerchant() {
  const calls: Call[] = [];
  const answers: number[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    calls.push({ headers: request.headers, body: Buffer.concat(chunks).toString("utf8") });
    response.writeHead(answers.shift() ?? 204).end();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    calls,
    answers,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`,
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

let merchant: Awaited<ReturnType<typeof startMerchant>>;
let system: Awaited<ReturnType<typeof startPaymentSystem>>;
let bank: ReturnType<typeof openBank>;

beforeAll(async () => {
  merchant = await startMerchant();
  system = await startPaymentSystem({ host: "127.0.0.1", port: 0, apiKey, webhookSecret });
  bank = openBank("sandbox", { apiKey, webhookSecret }, system.url);
});
afterAll(async () => {
  await system.stop();
  await merchant.stop();
});

async function openCheckout(change: { orderId?: string; description?: string } = {}) {
  const orderId = change.orderId ?? newId();
  const { checkoutUrl } = await bank.openCheckout({
    orderId,
    amount: euro(2450),
    idempotencyKey: orderId,
    callbackUrl: merchant.url,
    returnUrl: "https://shop.example/orders",
    description: "Bäckerei Aare",
    ...change,
  });
  return { orderId, checkoutUrl };
}

const press = (url: string, fields: Record<string, string>) =>
  fetch(url, { method: "POST", body: new URLSearchParams(fields) });

/** The events that the merchant received about an order, as its bank adapter reads them. */
const toldOf = (orderId: string) =>
  merchant.calls
    .map(({ headers, body }) =>
      bank.verify({ headers: headers as Record<string, string>, body, now: Date.now() }),
    )
    .flatMap((verdict) =>
      verdict.kind === "event" && verdict.event.orderId === orderId ? [verdict.event] : [],
    );

const told = (orderId: string, count: number) =>
  eventually(() => {
    const events = toldOf(orderId);
    expect(events).toHaveLength(count);
    return events;
  });

describe("the payment system's API", () => {
  it("a checkout, opened twice with one key, is one checkout", async () => {
    const first = await openCheckout();
    expect(await openCheckout({ orderId: first.orderId })).toEqual(first);
  });

  it.each(["/checkouts", "/refunds"])("%s, with another key than the merchant's, is 401", async (path) => {
    const headers = { authorization: "Bearer sk_wrong", "idempotency-key": "k" };
    expect((await fetch(system.url + path, { method: "POST", headers, body: "{}" })).status).toBe(401);
  });

  it("a refund, requested repeatedly, is done once; more than is left is refused", async () => {
    const { orderId, checkoutUrl } = await openCheckout();
    await press(checkoutUrl, { action: "pay" });
    const [payment] = await bank.findPayments(orderId);
    const refund = { refundId: newId(), paymentId: payment?.paymentId ?? "", amount: euro(2000) };
    expect(await bank.findRefund?.(refund.refundId, refund.paymentId)).toBeUndefined();
    for (let i = 0; i < 3; i++) expect(await bank.refund(refund)).toEqual({ state: "completed" });
    expect(await bank.findRefund?.(refund.refundId, refund.paymentId)).toEqual({ state: "completed" });
    await expect(bank.refund({ ...refund, refundId: newId() })).rejects.toMatchObject({ kind: "refused" });
    const events = await told(orderId, 2);
    expect(events[1]).toMatchObject({ kind: "refunded", refundId: refund.refundId, amount: euro(2000) });
    expect(await (await fetch(checkoutUrl)).text()).toContain("EUR 20.00 went back");
  });
});

describe("the checkout page", () => {
  it("opened, shows amount and lines, without a script, and escapes the shop's texts", async () => {
    const { checkoutUrl } = await openCheckout({ description: "<b>Bäckerei & Sohn</b>" });
    const response = await fetch(checkoutUrl);
    const text = await response.text();
    expect(text).toContain("EUR 24.50");
    expect(text).toContain("&lt;b&gt;Bäckerei &amp; Sohn&lt;/b&gt;");
    expect(text).not.toMatch(/<script|<b>Bäckerei/);
    expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
  });

  it("Pay reports the whole amount, signed and without a trace; a second press pays nothing more", async () => {
    const { orderId, checkoutUrl } = await openCheckout();
    const answer = await press(checkoutUrl, { action: "pay" });
    await press(checkoutUrl, { action: "pay" });
    expect(await answer.text()).toContain("Thank you");
    expect(await told(orderId, 1)).toEqual([
      expect.objectContaining({ kind: "paid", amount: euro(2450), orderId }),
    ]);
    expect(merchant.calls.at(-1)?.headers).not.toHaveProperty("traceparent");
    expect(await bank.findPayments(orderId)).toHaveLength(1);
  });

  it("Pay twice reports two payments", async () => {
    const { orderId, checkoutUrl } = await openCheckout();
    await press(checkoutUrl, { action: "pay_twice" });
    const events = await told(orderId, 2);
    expect(new Set(events.map(({ paymentId }) => paymentId)).size).toBe(2);
  });

  it("a smaller amount is reported, and the page asks for the rest", async () => {
    const { orderId, checkoutUrl } = await openCheckout();
    const answer = await press(checkoutUrl, { action: "underpay", amount: "10,5" });
    expect(await answer.text()).toContain("Pay EUR 14.00");
    await press(checkoutUrl, { action: "pay" });
    expect((await told(orderId, 2)).map(({ amount }) => amount.amountMinor)).toEqual([1050, 1400]);
  });

  it.each(["", "0", "-1", "1.005", "1e3", "abc"])(
    "an amount of %j is refused, and the page asks again",
    async (amount) => {
      const { orderId, checkoutUrl } = await openCheckout();
      const answer = await press(checkoutUrl, { action: "underpay", amount });
      expect(answer.status).toBe(422);
      expect(await answer.text()).toContain('role="alert"');
      expect(await bank.findPayments(orderId)).toEqual([]);
    },
  );

  it("Decline takes nothing, reports it to both, and lets the customer try again", async () => {
    const { orderId, checkoutUrl } = await openCheckout();
    const text = await (await press(checkoutUrl, { action: "decline" })).text();
    expect(text).toContain("The payment was declined");
    expect(await told(orderId, 1)).toEqual([expect.objectContaining({ kind: "failed" })]);
    expect(await bank.findPayments(orderId)).toEqual([]);
    await press(checkoutUrl, { action: "pay" });
    await told(orderId, 2);
  });

  it("an unknown address is 404", async () => {
    expect((await fetch(`${system.url}/checkout/${newId()}`)).status).toBe(404);
  });
});

describe("the payment system's reports", () => {
  it("that were refused are repeated under the same id until they are accepted", async () => {
    const { orderId, checkoutUrl } = await openCheckout();
    merchant.answers.push(503, 500);
    await press(checkoutUrl, { action: "pay" });
    const events = await told(orderId, 3);
    expect(new Set(events.map(({ eventId }) => eventId)).size).toBe(1);
  });
});
