import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Client, connect } from "../e2e/client.ts";
import { admin, customer, type Kitchen, kitchen, order, orderWhen, type Person } from "../e2e/world.ts";
import { type StartedPlatform, startPlatform } from "../support/platform.ts";
import { stripeEvent, stripeSignature } from "../support/stripe-events.ts";
import { startStripe } from "../support/stripe-server.ts";
import { runFolder } from "../support/test-run.ts";

const START_TIMEOUT_MS = 90_000;
const STALE_MS = 301_000;
const key = "sk_test_http";
const secret = `whsec_${"s".repeat(32)}`;
const next = `whsec_${"n".repeat(32)}`;

let stripe: Awaited<ReturnType<typeof startStripe>>;
let platform: StartedPlatform;
let api: Client;
let root: string;
let me: Person;
let shop: Kitchen;
let bankId: string;
beforeAll(async () => {
  stripe = await startStripe({ key, secrets: [secret] });
  platform = await startPlatform(join(runFolder(), `stripe-${newId()}`), { STRIPE_API_URL: stripe.url });
  api = await connect(async () => platform);
  root = await admin(api);
  [me, shop] = await Promise.all([customer(api), kitchen(api, root)]);
  const made = await api.ok<{ id: string }>("POST /banks", {
    token: root,
    key: newId(),
    body: {
      title: "Cards",
      adapter: "stripe",
      settings: { secretKey: key, webhookSecret: secret, returnUrl: "https://shop.example/done" },
      webcheckout_url: "https://checkout.stripe.com",
      active: true,
    },
  });
  bankId = made.id;
}, START_TIMEOUT_MS);
afterAll(async () => {
  await shop?.close();
  await platform?.end("SIGTERM");
  await stripe?.stop();
});

/** A report as it comes over the network. */
async function tell(
  body: string,
  signature?: string,
  to = bankId,
): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${platform.url}/api/v1/webhooks/payments/${to}`, {
    method: "POST",
    headers: {
      "content-type": "application/json; charset=utf-8",
      "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
      ...(signature && { "stripe-signature": signature }),
    },
    body,
  });
  return { status: answer.status, text: await answer.text() };
}

async function tellAll(): Promise<void> {
  for (const { body, headers } of stripe.reports.splice(0)) {
    expect(await tell(body, headers["stripe-signature"])).toMatchObject({ status: 204 });
  }
}

describe("Stripe, over HTTP only", () => {
  it("supports an order from its confirmation to its refund", async () => {
    const made = await order(api, me, shop, { bankId });
    const session = stripe.pay(made.checkout_url);
    expect(session).toMatchObject({
      amount_total: made.total.amount_minor,
      client_reference_id: made.order_id,
    });
    await tellAll();
    await orderWhen(api, me, made.order_id, ({ payment_status }) => expect(payment_status).toBe("paid"));
    await api.ok(`POST /orders/${made.order_id}/cancel`, {
      token: root,
      key: newId(),
      body: { reason: "Sorry" },
    });
    await orderWhen(api, me, made.order_id, ({ payment_status, refunded }) =>
      expect({ payment_status, refunded }).toEqual({ payment_status: "refunded", refunded: made.total }),
    );
    await tellAll();
    const diagnosis = await api.ok(`GET /orders/${made.order_id}/diagnosis`, { token: root });
    expect(diagnosis).toMatchObject({
      refunds: [{ state: "completed", borne_by: "platform" }],
      reconciliation: { looks: 0 },
    });
  });

  it("with a forged report, answers byte-identically for every reason", async () => {
    const made = await order(api, me, shop, { bankId });
    const body = stripeEvent("checkout.session.completed", `evt_${newId()}`, {
      client_reference_id: made.order_id,
      amount_total: made.total.amount_minor,
    });
    const good = stripeSignature(body, [secret]);
    const refused = [
      await tell(body),
      await tell(`${body} `, good),
      await tell(body.replace('"livemode":false', '"livemode":true'), good),
      await tell(body, stripeSignature(body, [next])),
      await tell(body, stripeSignature(body, [secret], Date.now() - STALE_MS)),
      await tell(body, stripeSignature(body, [secret], Date.now() + STALE_MS)),
      await tell(body, good, newId()),
    ];
    expect(refused.map(({ status }) => status)).toEqual(refused.map(() => 401));
    expect(new Set(refused.map(({ text }) => text)).size).toBe(1);
    expect(await api.ok(`GET /orders/${made.order_id}`, me)).toMatchObject({ payment_status: "unpaid" });
    expect(await tell(body, good)).toMatchObject({ status: 204 });
    expect(await tell(body, good)).toMatchObject({ status: 204 });
    await orderWhen(api, me, made.order_id, ({ payment_status }) => expect(payment_status).toBe("paid"));
  });

  it("during a rotation of the secret, accepts both; afterwards only the new one", async () => {
    const change = (settings: object) =>
      api.ok(`PATCH /banks/${bankId}`, { token: root, body: { settings } });
    const body = () => stripeEvent("checkout.session.expired", `evt_${newId()}`, {});
    const by = async (used: string) => {
      const text = body();
      return (await tell(text, stripeSignature(text, [used]))).status;
    };
    const settings = { secretKey: key, webhookSecret: next, returnUrl: "https://shop.example/done" };
    await change({ ...settings, webhookSecretPrevious: secret });
    expect([await by(secret), await by(next)]).toEqual([204, 204]);
    await change(settings);
    expect([await by(secret), await by(next)]).toEqual([401, 204]);
  });
});
