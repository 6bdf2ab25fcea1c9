import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Bank, openBank } from "../../providers/banks/index.ts";
import { type StripeMock, startStripeMock } from "../servers/stripe-mock.ts";

let server: StripeMock;
let bank: Bank;
beforeAll(async () => {
  server = await startStripeMock();
  const settings = {
    secretKey: "sk_test_123",
    webhookSecret: `whsec_${"s".repeat(32)}`,
    returnUrl: "https://shop.example/done?language=de",
  };
  bank = openBank("stripe", settings, "https://checkout.stripe.com", { stripeApiUrl: server.url });
});
afterAll(() => server.stop());

const request = (more: object = {}) => ({
  orderId: newId(),
  amount: { amountMinor: 2950, currency: "EUR" },
  idempotencyKey: newId(),
  callbackUrl: "http://127.0.0.1:9",
  description: "Bäckerei Aare: 2 × Bread",
  payBy: new Date(Date.now() + 1_800_000).toISOString(),
  ...more,
});

/** The examples that stripe-mock answers belong to no order. The tests check that it accepts the requests. */
describe("Stripe's adapter, checked by Stripe's own OpenAPI document,", () => {
  it("opens a checkout with existing parameters only", async () => {
    const lines = [
      { title: "Bread", quantity: 2, unitAmountMinor: 1000 },
      { title: "Delivery", quantity: 1, unitAmountMinor: 950 },
    ];
    for (const more of [{ lines }, {}, { amount: { amountMinor: 2950, currency: "JPY" } }]) {
      await expect(bank.openCheckout(request(more))).resolves.toMatchObject({
        checkoutUrl: expect.stringMatching(/^https:/),
        reference: expect.stringMatching(/^cs_test_/),
      });
    }
  });

  it("refunds, and looks refunds up", async () => {
    const refund = { refundId: newId(), paymentId: "pi_123", amount: { amountMinor: 100, currency: "EUR" } };
    await expect(bank.refund({ ...refund, orderId: newId() })).resolves.toEqual({ state: "completed" });
    await expect(bank.findRefund?.(refund.refundId, "pi_123")).resolves.toBeUndefined();
  });

  it("looks payments up by checkout and by order", async () => {
    await expect(bank.findPayments(newId(), "cs_test_123")).resolves.toEqual([]);
    // The example is a payment of nothing, which is read as what cannot be read: the request was right.
    await expect(bank.findPayments(newId())).rejects.toMatchObject({
      message: "a payment cannot be read",
    });
  });

  it("closes a checkout", async () => {
    await expect(bank.closeCheckout?.("cs_test_123")).resolves.toBeUndefined();
  });

  it("is refused for an unknown parameter", async () => {
    const answer = await fetch(`${server.url}/v1/refunds`, {
      method: "POST",
      headers: { authorization: "Bearer sk_test_123" },
      body: new URLSearchParams({ payment_intent: "pi_123", colour: "red" }),
    });
    expect(answer.status).toBe(400);
  });
});
