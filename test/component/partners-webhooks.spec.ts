import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { Webhook } from "standardwebhooks";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import {
  deliveriesOf,
  integrated,
  quickWebhooks,
  SHORT_TIMEOUT_MS,
  until,
  waitingTry,
} from "../support/partner-integration.ts";
import { startPartnerSystem } from "../support/partner-system.ts";
import { type PartnersHarness, startPartners } from "../support/partners.ts";
import { createDatabase } from "../support/postgres.ts";
import { query } from "../support/sql.ts";

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const BACKLOG = 30;

const clock = { aheadMs: 0, now: () => Date.now() + clock.aheadMs };

let shop: PartnersHarness;
beforeAll(async () => {
  shop = await startPartners({ webhooks: quickWebhooks(), clock });
});
afterEach(() => {
  clock.aheadMs = 0;
});
afterAll(() => shop.stop());

describe("the call to a partner's system", () => {
  it("for a paid order, is signed, contains the order, and continues the trace", async () => {
    const { system, partner, secret, order, offer } = await integrated(shop, {
      status: 200,
      body: "yes\u0000chef",
    });
    const paid = order();
    const said = await shop.say("order.paid", paid, { traceparent: TRACEPARENT });
    const [delivery] = await until(shop, partner.id, "accepted");
    const [received] = system.calls;
    expect(system.calls).toHaveLength(1);
    expect(received?.headers).toMatchObject({ "webhook-id": said.id, traceparent: TRACEPARENT });
    const headers = received?.headers as Record<string, string>;
    expect(new Webhook(secret).verify(received?.body ?? "", headers)).toEqual({
      id: said.id,
      type: "order.paid",
      timestamp: said.time,
      data: {
        order_id: paid.orderId,
        partner_id: partner.id,
        version: 2,
        customer: { first_name: "Zoë" },
        lines: [
          {
            ...{ product_id: offer.productId, title: "Bread", quantity: 2 },
            unit_price: { amount_minor: 450, currency: "EUR" },
          },
        ],
        note: "No nuts",
        respond_by: paid.deadlineAt,
        callback_url: `http://waybill.test/api/v1/webhooks/partners/${partner.id}`,
      },
    });
    expect(delivery).toMatchObject({
      ...{ messageId: said.id, type: "order.paid", orderId: paid.orderId, attempt: 1 },
      ...{ statusCode: 200, responseHead: "yes chef", durationMs: expect.any(Number) },
    });
  });

  it("of an order that its partner rejected by a callback, is not retried, and no other webhook follows", async () => {
    const { system, partnerId, order } = await integrated(shop);
    const paid = order();
    // Its next try waits, however long the rejection is under way.
    const later = isoTime(Date.now() + 3_600_000);
    await waitingTry(shop, { partnerId, orderId: paid.orderId, dueAt: later });
    const rejected = { version: 3, status: "cancelled", previousStatus: "paid" } as const;
    await shop.say("order.rejected", { ...paid, ...rejected, actor: `partner:${partnerId}` });
    await until(shop, partnerId, "stopped");
    expect(await deliveriesOf(shop, partnerId)).toHaveLength(1);
    expect(system.calls).toEqual([]);
  });

  it("of an order that its staff rejected by hand, is sent to the partner's system with the reason", async () => {
    const { system, partnerId, order } = await integrated(shop);
    const paid = order();
    await shop.say("order.paid", paid);
    await until(shop, partnerId, "accepted");
    const rejected = { version: 3, status: "cancelled", previousStatus: "paid", actor: newId() } as const;
    await shop.say("order.rejected", { ...paid, ...rejected, reason: "Too many orders." });
    await eventually(() => expect(system.calls).toHaveLength(2));
    expect(JSON.parse(system.calls[1]?.body ?? "")).toMatchObject({
      type: "order.rejected",
      data: { order_id: paid.orderId, status: "cancelled", reason: "Too many orders." },
    });
  });

  it("about a change of an order, is sent only to a partner that has got the order", async () => {
    const { system, partnerId, order } = await integrated(shop);
    const [told, untold] = [order(), order()];
    await shop.say("order.paid", told);
    await until(shop, partnerId, "accepted");
    const assigned = { version: 5, status: "delivering", previousStatus: "ready" } as const;
    await shop.say("order.assigned", { ...untold, ...assigned });
    await shop.say("order.assigned", { ...told, ...assigned });
    await eventually(() => expect(system.calls).toHaveLength(2));
    expect(JSON.parse(system.calls[1]?.body ?? "")).toMatchObject({
      type: "order.assigned",
      data: { order_id: told.orderId, status: "delivering", previous_status: "ready" },
    });
    expect(await shop.sql("SELECT 1 FROM webhook_messages WHERE order_id = $1", [untold.orderId])).toEqual(
      [],
    );
  });

  it("during the replacement of the secret, has the signatures of both secrets, a day later only of the new one", async () => {
    const { system, partnerId, secret, order } = await integrated(shop);
    const rotated = await shop.asAdmin("partners.rotateWebhookSecret", { partnerId });
    expect(rotated.secret).not.toBe(secret);
    expect(rotated.previousSecretUntil).toBeDefined();
    await shop.say("order.paid", order());
    await until(shop, partnerId, "accepted");
    const [both] = system.calls;
    for (const one of [secret, rotated.secret ?? ""]) {
      expect(() =>
        new Webhook(one).verify(both?.body ?? "", both?.headers as Record<string, string>),
      ).not.toThrow();
    }
    clock.aheadMs = 86_400_001;
    await shop.say("order.paid", order());
    await eventually(() => expect(system.calls).toHaveLength(2));
    expect(both?.headers["webhook-signature"]?.toString().split(" ")).toHaveLength(2);
    expect(system.calls[1]?.headers["webhook-signature"]?.toString().split(" ")).toHaveLength(1);
    expect(await shop.asAdmin("partners.getWebhook", { partnerId })).not.toHaveProperty(
      "previousSecretUntil",
    );
  });

  it("with a secret that is replaced repeatedly, has a signature of each secret for a day", async () => {
    const { system, partnerId, secret, order } = await integrated(shop);
    const secrets = [secret];
    for (let rotation = 0; rotation < 4; rotation++) {
      const rotated = await shop.asAdmin("partners.rotateWebhookSecret", { partnerId });
      secrets.push(rotated.secret ?? "");
      clock.aheadMs += 3_600_000;
    }
    await shop.say("order.paid", order());
    await until(shop, partnerId, "accepted");
    const [call] = system.calls;
    for (const one of secrets) {
      const verify = () =>
        new Webhook(one).sign(
          call?.headers["webhook-id"] as string,
          new Date(Number(call?.headers["webhook-timestamp"]) * 1_000),
          call?.body ?? "",
        );
      expect(call?.headers["webhook-signature"]?.toString().split(" ")).toContain(verify());
    }
    const refused = shop.asAdmin("partners.rotateWebhookSecret", { partnerId });
    await expect(refused).rejects.toMatchObject({
      type: "TOO_MANY_REQUESTS",
      data: { retryAfterSeconds: expect.any(Number) },
    });
    clock.aheadMs += 86_400_001 - 4 * 3_600_000;
    expect((await shop.asAdmin("partners.rotateWebhookSecret", { partnerId })).secret).toBeDefined();
    clock.aheadMs = 0;
  });

  it("after a lost response to a replacement, is signed by the secret that the repeat returns", async () => {
    const { partnerId, secret } = await integrated(shop);
    const key = { key: newId(), bodyHash: "0".repeat(64) };
    const who = { id: newId(), role: "admin" } as const;
    const rotate = () => shop.as(who, "partners.rotateWebhookSecret", { partnerId }, key);
    const [first, second] = [await rotate(), await rotate()];
    expect(second).toEqual(first);
    expect(first.secret).not.toBe(secret);
    const stored = await shop.sql<{ row: string }>("SELECT k::text AS row FROM idempotency_keys k");
    expect(stored.map(({ row }) => row).join()).not.toContain((first.secret ?? "").slice(6));
  });

  it("by a process that was killed, is repeated by another process as the same attempt", async () => {
    const { system, partnerId, order } = await integrated(shop);
    const paid = order();
    const lost = { id: newId(), delivery: newId(), message: newId() };
    await shop.sql(
      `WITH m AS (INSERT INTO webhook_messages (id, partner_id, message_id, type, order_id, urgency, body)
         VALUES ($1, $2, $3, 'order.paid', $4, 'preparation', '{}') RETURNING id, partner_id)
       INSERT INTO webhook_deliveries (id, webhook_message_id, partner_id, attempt, state, due_at, lease_id)
       SELECT $5, id, partner_id, 4, 'pending', now() - interval '1 second', $6 FROM m`,
      [lost.id, partnerId, lost.message, paid.orderId, lost.delivery, newId()],
    );
    const [made] = await until(shop, partnerId, "accepted");
    expect(made).toMatchObject({ id: lost.delivery, attempt: 4 });
    expect(system.calls.map(({ headers }) => headers["webhook-id"])).toEqual([lost.message]);
  });
});

describe("the call to a partner's system that hangs", () => {
  let shop: PartnersHarness;
  beforeAll(async () => {
    shop = await startPartners({ webhooks: quickWebhooks([], SHORT_TIMEOUT_MS) });
  });
  afterAll(() => shop.stop());

  it("fails at its time limit, and the next attempt has the same id", async () => {
    const { system, partnerId, order } = await integrated(shop, "hang");
    const said = await shop.say("order.paid", order());
    await eventually(() => expect(system.calls.length).toBeGreaterThan(1));
    system.does({ status: 202 });
    const deliveries = await until(shop, partnerId, "accepted");
    const error = `no answer within ${SHORT_TIMEOUT_MS} ms`;
    expect(deliveries.at(-1)).toMatchObject({ error, state: "failed", attempt: 1 });
    expect(new Set(system.calls.map(({ headers }) => headers["webhook-id"]))).toEqual(new Set([said.id]));
  });

  it("of an order that is cancelled, is not retried, and the cancellation is sent", async () => {
    const { system, partnerId, order } = await integrated(shop, "hang");
    const paid = order();
    await shop.say("order.paid", paid);
    await eventually(() => expect(system.calls.length).toBeGreaterThan(0));
    const cancelled = {
      version: 3,
      status: "cancelled",
      previousStatus: "paid",
      reason: "Changed my mind",
    } as const;
    const news = await shop.say("order.cancelled", { ...paid, ...cancelled });
    const stopped = "SELECT 1 FROM webhook_messages WHERE order_id = $1 AND stopped_at IS NOT NULL";
    await eventually(async () => expect(await shop.sql(stopped, [paid.orderId])).toHaveLength(1));
    system.does({ status: 200 });
    const deliveries = await eventually(async () => {
      const all = await deliveriesOf(shop, partnerId);
      const ends = all.map(({ type, state }) => ({ type, state }));
      expect(ends).toContainEqual({ type: "order.cancelled", state: "accepted" });
      expect(ends).toContainEqual({ type: "order.paid", state: "stopped" });
      expect(all.at(-1)?.error).toBeDefined(); // the try that was under way ended and was noted
      expect(ends).not.toContainEqual({ type: "order.paid", state: "pending" });
      return all;
    });
    const told = system.calls.map(({ body }) => JSON.parse(body)).filter(({ type }) => type !== "order.paid");
    // Each try says the same.
    expect(told.length).toBeGreaterThan(0);
    expect(new Set(told.map((one) => JSON.stringify(one))).size).toBe(1);
    expect(told[0]).toEqual({
      id: news.id,
      type: "order.cancelled",
      timestamp: news.time,
      data: {
        ...{ order_id: paid.orderId, partner_id: partnerId, version: 3 },
        ...{ status: "cancelled", previous_status: "paid", reason: "Changed my mind" },
      },
    });
    const replay = { partnerId, deliveryId: deliveries.at(-1)?.id ?? "" };
    await expect(shop.asAdmin("partners.replayWebhookDelivery", replay)).rejects.toMatchObject({
      type: "ILLEGAL_TRANSITION",
    });
  });

  it("to a partner that hangs, takes only that partner's places", async () => {
    const hanging = await integrated(shop, "hang");
    const fine = await integrated(shop);
    await Promise.all(Array.from({ length: BACKLOG }, () => shop.say("order.paid", hanging.order())));
    await shop.say("order.paid", fine.order());
    await until(shop, fine.partnerId, "accepted");
    await eventually(() => expect(hanging.system.calls.length).toBeGreaterThan(6));
    // In one queue the fine one would come after the first attempts of all that were enqueued before it.
    const [later] = await shop.sql<{ count: number }>(
      `SELECT count(*)::integer AS count FROM webhook_deliveries h JOIN webhook_deliveries f ON f.partner_id = $2
       WHERE h.partner_id = $1 AND h.attempt = 1 AND (h.state = 'pending' OR h.updated_at > f.updated_at)`,
      [hanging.partnerId, fine.partnerId],
    );
    expect(later?.count).toBeGreaterThan(0);
    expect(hanging.system.state.mostOpen).toBe(2);
    hanging.system.does({ status: 204 });
  });
});

it("the sender, stopped while a partner hangs, releases the attempt, and another sender makes it", async () => {
  const database = await createDatabase("partners");
  const stopped = await startPartners({ url: database.url, webhooks: quickWebhooks() });
  const system = await startPartnerSystem("hang");
  const { partnerId, order } = await integrated(stopped);
  await stopped.asAdmin("partners.setWebhook", { partnerId, url: system.url, enabled: true });
  await stopped.say("order.paid", order());
  await eventually(() => expect(system.calls).toHaveLength(1));
  await stopped.stop();
  const sql = "SELECT lease_id, attempt, state FROM webhook_deliveries";
  expect(await query(database.url, sql)).toEqual([{ lease_id: null, attempt: 1, state: "pending" }]);
  system.does({ status: 204 });
  const next = await startPartners({ url: database.url, webhooks: quickWebhooks() });
  const deliveries = await until(next, partnerId, "accepted");
  expect(deliveries).toMatchObject([{ attempt: 1 }]);
  expect(system.calls).toHaveLength(2);
  expect(new Set(system.calls.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
  await next.stop();
  await system.stop();
  await database.drop();
});
