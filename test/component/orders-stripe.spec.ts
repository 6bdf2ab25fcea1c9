import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { call } from "../../contracts/actions.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { sampleQuote } from "../support/orders.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";
import { stripeEvent, stripeSignature } from "../support/stripe-events.ts";
import { startStripe } from "../support/stripe-server.ts";

const key = "sk_test_component";
const secret = `whsec_${"s".repeat(32)}`;
/** Beyond the five minutes; twice that for a report of the future, which becomes genuine while the machine is slow. */
const STALE_MS = 301_000;

let shop: OrdersHarness;
let stripe: Awaited<ReturnType<typeof startStripe>>;
let bankId: string;
beforeAll(async () => {
  stripe = await startStripe({ key, secrets: [secret] });
  shop = await startOrders({ stripeUrl: stripe.url });
  const bank = await shop.as(shop.admin, "orders.createBank", {
    title: "Cards",
    adapter: "stripe",
    settings: { secretKey: key, webhookSecret: secret, returnUrl: "https://shop.example/done" },
    webcheckoutUrl: "https://checkout.stripe.com",
    active: true,
  });
  bankId = bank.id;
});
beforeEach(() => {
  stripe.mood = "well";
});
afterAll(async () => {
  await shop.stop();
  await stripe.stop();
});

const tell = (body: string, header: string) =>
  call(shop.edge, "orders.receivePayment", { bankId, headers: { "stripe-signature": header }, body });
/** Hands over everything that Stripe has reported so far. */
async function tellAll(): Promise<void> {
  for (const { headers, body } of stripe.reports.splice(0)) {
    await call(shop.edge, "orders.receivePayment", { bankId, headers, body });
  }
}
const confirmed = () => shop.confirmed({}, bankId);
async function paid() {
  const order = await confirmed();
  const session = stripe.pay(order.confirmation.checkoutUrl);
  await tellAll();
  return { ...order, session };
}
const refundPosts = () => stripe.asked.filter((one) => one === "POST /v1/refunds").length;
const refundId = async (orderId: string) => {
  const [row] = await shop.sql<{ id: string }>("SELECT id FROM refunds WHERE order_id = $1", [orderId]);
  return row?.id as string;
};

describe("an order paid by Stripe", () => {
  it("has a checkout with its lines, becomes paid by the signed report, and a repeated report changes nothing", async () => {
    const order = await confirmed();
    const session = stripe.pay(order.confirmation.checkoutUrl);
    expect(session).toMatchObject({ client_reference_id: order.orderId, amount_total: 2950 });
    const [report] = stripe.reports;
    await tellAll();
    expect(await shop.get(order)).toMatchObject({
      status: "paid",
      paid: { amountMinor: 2950, currency: "EUR" },
    });
    await tell(report?.body ?? "", report?.headers["stripe-signature"] ?? "");
    expect(await shop.get(order)).toMatchObject({ version: 2 });
    const kept = await shop.sql("SELECT payment_id, outcome FROM payment_receipts WHERE order_id = $1", [
      order.orderId,
    ]);
    expect(kept).toEqual([{ payment_id: session.payment_intent, outcome: "accepted" }]);
  });

  it("with a description that is cut at an emoji, has a checkout", async () => {
    const title = "x".repeat(150);
    const line = (name: string) => ({
      productId: newId(),
      title: name,
      quantity: 1,
      unitPrice: { amountMinor: 1250, currency: "EUR" },
    });
    const partner = { ...sampleQuote().partner, title: "Café" };
    const lines = [line(title), line(`${"x".repeat(41)}🍕🍕`)];
    const { orderId } = await shop.confirmed({ partner, lines }, bankId);
    expect(
      await shop.sql("SELECT checkout_ref IS NOT NULL AS open FROM orders WHERE id = $1", [orderId]),
    ).toEqual([{ open: true }]);
  });

  it("whose first request failed, gets a checkout although Stripe stores that response for the idempotency key", async () => {
    stripe.mood = 500;
    const failed = shop.confirmed({}, bankId);
    await expect(failed).rejects.toMatchObject({ type: "BANK_UNAVAILABLE" });
    const posts = stripe.asked.length;
    stripe.mood = "well";
    const [order] = await shop.sql<{ id: string; customer_id: string; partner: { id: string } }>(
      "SELECT id, customer_id, partner FROM orders ORDER BY created_at DESC LIMIT 1",
    );
    const quote = shop.quotes.get(order?.id ?? "");
    const { checkoutUrl } = await shop.as(
      { id: order?.customer_id ?? "", role: "customer" },
      "orders.confirm",
      {
        bankId,
        quote: quote ?? sampleQuote(),
        customer: { id: order?.customer_id ?? "", name: "Ada Byron", phone: "+41790000000" },
      },
    );
    expect(checkoutUrl).toContain(stripe.url);
    // The answer that Stripe keeps, and the one under the next key.
    expect(stripe.asked.slice(posts)).toEqual(["POST /v1/checkout/sessions", "POST /v1/checkout/sessions"]);
  });

  it("whose refund failed, is refunded once although Stripe stores that response for the idempotency key", async () => {
    const order = await paid();
    stripe.mood = 500;
    await shop.as(order.customer, "orders.cancel", { orderId: order.orderId });
    await eventually(async () =>
      expect(await shop.sql("SELECT state FROM refunds WHERE order_id = $1", [order.orderId])).toEqual([
        { state: "unknown" },
      ]),
    );
    stripe.mood = "well";
    await shop.sql("UPDATE refunds SET next_at = now() WHERE order_id = $1", [order.orderId]);
    await eventually(async () => expect(await shop.get(order)).toMatchObject({ paymentStatus: "refunded" }));
    const made = [...stripe.refunds.values()].filter(
      (one) => one.payment_intent === order.session.payment_intent,
    );
    expect(made).toMatchObject([{ amount: 2950 }]);
  });

  it("paid by a method that takes days, becomes paid when the money arrives", async () => {
    const order = await confirmed();
    const session = stripe.pay(order.confirmation.checkoutUrl, "later");
    await tellAll();
    expect(await shop.get(order)).toMatchObject({ status: "pending", paymentStatus: "unpaid" });
    stripe.arrive(session);
    await tellAll();
    expect(await shop.get(order)).toMatchObject({ status: "paid" });
  });

  it("rejected by the partner, is refunded once", async () => {
    const order = await paid();
    await shop.say(order, "order.rejected", { reason: "Out of flour" });
    const before = refundPosts();
    await eventually(async () =>
      expect(await shop.get(order)).toMatchObject({
        status: "cancelled",
        paymentStatus: "refunded",
        refunded: { amountMinor: 2950, currency: "EUR" },
      }),
    );
    await tellAll();
    expect(refundPosts() - before).toBeLessThanOrEqual(1);
    expect(
      [...stripe.refunds.values()].filter((one) => one.payment_intent === order.session.payment_intent),
    ).toMatchObject([{ amount: 2950, metadata: { order_id: order.orderId } }]);
    expect(shop.alerts(shop.bankId)).not.toContain("refund.unknown");
  });

  it("without a response to its refund, has the refund looked up before a repeat", async () => {
    const order = await paid();
    stripe.mood = "lost";
    await shop.as(order.customer, "orders.cancel", { orderId: order.orderId });
    await eventually(async () => {
      const states = await shop.sql("SELECT state FROM refunds WHERE order_id = $1", [order.orderId]);
      expect(states).toEqual([{ state: "unknown" }]);
    });
    const before = refundPosts();
    stripe.mood = "well";
    await shop.sql("UPDATE refunds SET next_at = now() WHERE order_id = $1", [order.orderId]);
    await eventually(async () => expect(await shop.get(order)).toMatchObject({ paymentStatus: "refunded" }));
    expect(refundPosts()).toBe(before);
  });

  it("whose completed refund fails later, shows the failure and can be refunded again", async () => {
    const order = await paid();
    await shop.as(order.customer, "orders.cancel", { orderId: order.orderId });
    await eventually(async () => expect(await shop.get(order)).toMatchObject({ paymentStatus: "refunded" }));
    await tellAll();
    stripe.endRefund(await refundId(order.orderId), "failed");
    const [report] = stripe.reports;
    await tellAll();
    expect(await shop.get(order)).toMatchObject({
      paymentStatus: "refund_failed",
      refunded: { amountMinor: 0 },
    });
    await eventually(() => expect(shop.alerts(order.orderId)).toContain("refund.failed"));
    // The same said again, by the event that Stripe sends besides: nothing goes back twice in the books.
    const again = { ...JSON.parse(report?.body ?? "{}"), id: "evt_again", type: "refund.updated" };
    const body = JSON.stringify(again);
    await tell(body, stripeSignature(body, [secret]));
    expect(await shop.get(order)).toMatchObject({
      paid: { amountMinor: 2950 },
      refunded: { amountMinor: 0 },
    });
    const [row] = await shop.sql(
      "SELECT refund_minor::float AS back FROM payment_receipts WHERE order_id = $1",
      [order.orderId],
    );
    expect(row).toEqual({ back: 0 });
  });

  it("with a disputed payment, shows each state of the dispute, raises an alert for each change, and keeps its sums", async () => {
    const order = await paid();
    const disputeId = `dp_${newId()}`;
    const payment = { id: disputeId, payment_intent: order.session.payment_intent };
    const report = async (type: string, created: number, object: Record<string, unknown>) => {
      const event = JSON.parse(
        stripeEvent("charge.dispute.created", `evt_${newId()}`, { ...payment, ...object }),
      );
      const body = JSON.stringify({ ...event, type: `charge.dispute.${type}`, created });
      await tell(body, stripeSignature(body, [secret]));
    };
    const disputes = async () =>
      (await shop.as(shop.admin, "orders.diagnosis", { orderId: order.orderId })).disputes;
    const taken = [{ amount: -2950 }];
    const start = 1_764_000_000;
    await report("created", start, {});
    expect(await disputes()).toMatchObject([
      { disputeId, state: "open", withdrawn: false, reason: "fraudulent" },
    ]);
    await report("funds_withdrawn", start + 1, { balance_transactions: taken });
    expect(await disputes()).toMatchObject([{ state: "open", withdrawn: true }]);
    await report("closed", start + 3, { balance_transactions: taken, status: "lost" });
    // A late report of an older state changes nothing, and neither does a repeated report.
    await report("updated", start + 2, {});
    await report("updated", start + 4, { balance_transactions: taken, status: "lost" });
    expect(await disputes()).toMatchObject([
      { state: "lost", withdrawn: true, amount: { amountMinor: 2950 } },
    ]);
    const { items } = await shop.as(shop.admin, "orders.listDisputes", { limit: 1 });
    expect(items).toMatchObject([{ disputeId, orderId: order.orderId }]);
    await eventually(() => {
      const told = shop.saidOf(order.orderId, "alert.raised").map(({ data }) => data);
      expect(told).toMatchObject(
        ["open", "open", "lost"].map(() => ({ kind: "payment.disputed", subject: disputeId })),
      );
    });
    expect(await shop.get(order)).toMatchObject({ status: "paid", paid: { amountMinor: 2950 } });
    await expect(shop.as(order.customer, "orders.listDisputes", {})).rejects.toMatchObject({
      type: "FORBIDDEN",
    });
  });
});

describe("a forged Stripe report", () => {
  it("changed, stale, signed by another secret or unsigned, gets the same response and stores nothing", async () => {
    const order = await confirmed();
    const id = `evt_${newId()}`;
    const body = stripeEvent("checkout.session.completed", id, { client_reference_id: order.orderId });
    const good = stripeSignature(body, [secret]);
    const forged: [string, string][] = [
      [body.replace("2950", "2951"), good],
      [`${body} `, good],
      [body, stripeSignature(body, [`whsec_${"x".repeat(32)}`])],
      [body, stripeSignature(body, [secret], Date.now() - STALE_MS)],
      [body, stripeSignature(body, [secret], Date.now() + 2 * STALE_MS)],
      [body, good.replace("v1=", "v0=")],
      [body, ""],
    ];
    const answers = await Promise.all(
      forged.map(([text, header]) =>
        tell(text, header).then(
          () => "taken",
          ({ type, code, message, data }) => JSON.stringify({ type, code, message, data }),
        ),
      ),
    );
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain('"BAD_SIGNATURE","code":401');
    expect(await shop.get(order)).toMatchObject({ status: "pending", version: 1 });
    expect(await shop.sql("SELECT 1 FROM payment_events WHERE event_id = $1", [id])).toEqual([]);
  });
});

describe("an order at Stripe whose report was lost", () => {
  it("becomes paid by a poll of its checkout at Stripe", async () => {
    const order = await confirmed();
    stripe.pay(order.confirmation.checkoutUrl);
    const lost = stripe.reports.splice(0);
    await shop.lookDue(order.orderId);
    await eventually(async () => expect(await shop.get(order)).toMatchObject({ status: "paid" }));
    expect(stripe.asked).not.toContain("GET /v1/payment_intents/search");
    // It comes after all.
    stripe.reports.push(...lost);
    await tellAll();
    expect(await shop.get(order)).toMatchObject({ version: 2, paid: { amountMinor: 2950 } });
  });

  it("that can still be paid, keeps its checkout page open at a poll", async () => {
    const order = await confirmed();
    const polls = () =>
      shop.sql("SELECT reconcile_at FROM orders WHERE id = $1 AND reconcile_looks > 0", [order.orderId]);
    await shop.lookDue(order.orderId);
    await eventually(async () => expect(await polls()).toHaveLength(1));
    stripe.pay(order.confirmation.checkoutUrl);
    await tellAll();
    expect(await shop.get(order)).toMatchObject({ status: "paid" });
  });

  it("that is cancelled meanwhile, has its checkout page closed", async () => {
    const order = await confirmed();
    await shop.as(order.customer, "orders.cancel", { orderId: order.orderId });
    await shop.lookDue(order.orderId);
    await eventually(() => expect(() => stripe.pay(order.confirmation.checkoutUrl)).toThrow("no payment"));
    await tellAll();
  });
});
