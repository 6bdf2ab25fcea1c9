import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { WebhookDelivery } from "../../contracts/partners.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { readGauges } from "../../mixins/health/health.mixin.ts";
import type { FailedAttempt } from "../../services/partners/domain/webhook-schedule.ts";
import { eventually } from "../support/eventually.ts";
import { deliveriesOf, integrated, quickWebhooks, TRIES, until } from "../support/partner-integration.ts";
import type { Behaviour } from "../support/partner-system.ts";
import { lineOf, type PartnersHarness, reservationOf, startPartners } from "../support/partners.ts";

const failures: FailedAttempt[] = [];

let shop: PartnersHarness;
beforeAll(async () => {
  shop = await startPartners({ webhooks: quickWebhooks(failures) });
});
afterAll(() => shop.stop());

async function webhookCounts(): Promise<{ pending: number; dead: number }> {
  const gauge = (await readGauges(shop.broker)).find(({ name }) => name === "partner_webhooks");
  return gauge?.figures as { pending: number; dead: number };
}

describe("a call to a partner's system", () => {
  const failing: [string, Behaviour, Partial<WebhookDelivery>][] = [
    ["500", { status: 500, body: "oven on fire" }, { statusCode: 500, responseHead: "oven on fire" }],
    ["a redirect", { status: 302, headers: { location: "/elsewhere" } }, { statusCode: 302 }],
    ["429", { status: 429, headers: { "retry-after": "7" } }, { statusCode: 429 }],
    ["a reset", "reset", { error: "ECONNRESET" }],
  ];
  it.each(failing)(
    "with %s as response, fails, and the next attempt has the same id",
    async (_, does, logged) => {
      const { system, partnerId, order } = await integrated(shop, does);
      const said = await shop.say("order.paid", order());
      await eventually(() => expect(system.calls.length).toBeGreaterThan(1));
      system.does({ status: 202 });
      const deliveries = await until(shop, partnerId, "accepted");
      expect(deliveries.at(-1)).toMatchObject({ ...logged, state: "failed", attempt: 1 });
      expect(new Set(system.calls.map(({ headers }) => headers["webhook-id"]))).toEqual(new Set([said.id]));
      expect(new Set(system.calls.map(({ path }) => path))).toEqual(new Set(["/orders"]));
      expect(deliveries.map(({ attempt }) => attempt)).toEqual(
        deliveries.map((_one, at, all) => all.length - at),
      );
    },
  );

  it("with a response with Retry-After, passes the time to the schedule", async () => {
    const { partnerId, order, system } = await integrated(shop, {
      status: 503,
      headers: { "retry-after": "7" },
    });
    await shop.say("order.paid", order());
    await eventually(() => expect(system.calls.length).toBeGreaterThan(0));
    system.does({ status: 204 });
    await until(shop, partnerId, "accepted");
    expect(failures).toContainEqual(expect.objectContaining({ partnerId, retryAfterMs: 7_000, attempt: 1 }));
  });

  it("after ten failures, is a dead letter with an alert, and a replay has its old id", async () => {
    const { system, partnerId, order } = await integrated(shop, { status: 500 });
    const paid = order();
    const said = await shop.say("order.paid", paid);
    await until(shop, partnerId, "dead");
    expect(system.calls).toHaveLength(TRIES);
    await eventually(() =>
      expect(shop.said).toContainEqual(
        expect.objectContaining({
          data: expect.objectContaining({ kind: "webhook.dead", subject: paid.orderId }),
        }),
      ),
    );
    const { items } = await shop.asAdmin("partners.deadLetters", {});
    const letter = items.find(({ messageId }) => messageId === said.id);
    expect(letter).toMatchObject({
      ...{ service: "partners", consumer: "partner-webhooks", type: "order.paid" },
      ...{ subject: paid.orderId, attempts: TRIES, error: "status 500" },
    });
    system.does({ status: 204 });
    await shop.asAdmin("partners.replayDeadLetter", { id: letter?.id ?? "" });
    await until(shop, partnerId, "accepted");
    expect(system.calls.at(-1)?.headers["webhook-id"]).toBe(said.id);
    const left = await shop.asAdmin("partners.deadLetters", {});
    expect(left.items.map(({ messageId }) => messageId)).not.toContain(said.id);
  });

  it("dead, is listed with the dead letters of the inbox, the latest first, and is counted", async () => {
    const { partnerId, order } = await integrated(shop, { status: 500 });
    const before = await webhookCounts();
    await shop.say("order.paid", order());
    const [dead] = await until(shop, partnerId, "dead");
    expect(await webhookCounts()).toEqual({ ...before, dead: before.dead + 1 });
    const HOUR_MS = 3_600_000;
    const [earlier, later] = [newId(Date.now() - HOUR_MS), newId(Date.now() + HOUR_MS)];
    for (const [id, hours] of [
      [earlier, -1],
      [later, 1],
    ] as const) {
      await shop.sql(
        `INSERT INTO inbox (message_id, consumer, source, type, subject, time, dataschema, data, state,
           dead_letter_id, updated_at)
         VALUES ($1, 'partners', 'waybill/orders', 'order.paid', 'x', now(), 'x', '{}', 'dead', $1,
           now() + $2 * interval '1 hour')`,
        [id, hours],
      );
    }
    try {
      const { items } = await shop.asAdmin("partners.deadLetters", {});
      const ids = items.map(({ id }) => id);
      expect(ids.filter((id) => [earlier, dead?.id, later].includes(id))).toEqual([later, dead?.id, earlier]);
      expect(await shop.asAdmin("partners.deadLetters", { limit: 1 })).toEqual({ items: [items[0]] });
    } finally {
      await shop.sql("DELETE FROM inbox WHERE state = 'dead'");
    }
  });

  it("dropped by the operator, is no longer a dead letter; other roles may not drop it", async () => {
    const { partnerId, order } = await integrated(shop, { status: 500 });
    const said = await shop.say("order.paid", order());
    const [dead] = await until(shop, partnerId, "dead");
    const id = dead?.id ?? "";
    const drop = (role: "partner" | "customer") =>
      shop.as({ role, partnerId }, "partners.dropDeadLetter", { id });
    await expect(drop("partner")).rejects.toMatchObject({ type: "FORBIDDEN" });
    await expect(drop("customer")).rejects.toMatchObject({ type: "FORBIDDEN" });
    await shop.asAdmin("partners.dropDeadLetter", { id });
    const { items } = await shop.asAdmin("partners.deadLetters", {});
    expect(items.map(({ messageId }) => messageId)).not.toContain(said.id);
  });

  it("dead, is replayed with the others of its partner, but not for a cancelled order", async () => {
    const { partnerId, order, system } = await integrated(shop, { status: 500 });
    const [kept, cancelled] = [order(), order()];
    const said = await shop.say("order.paid", kept);
    await shop.say("order.paid", cancelled);
    await eventually(async () => {
      const dead = (await deliveriesOf(shop, partnerId)).filter(({ state }) => state === "dead");
      expect(dead).toHaveLength(2);
    });
    await shop.say("order.cancelled", { ...cancelled, version: 3, status: "cancelled" });
    await eventually(async () => {
      const stopped = await shop.sql(
        "SELECT 1 FROM webhook_messages WHERE partner_id = $1 AND stopped_at IS NOT NULL",
        [partnerId],
      );
      expect(stopped).toHaveLength(1);
    });
    system.does({ status: 204 });
    const filter = { partnerId, type: "order.paid" };
    const replay = (role: "partner" | "admin") =>
      shop.as({ role, partnerId }, "partners.replayDeadLetters", filter);
    await expect(replay("partner")).rejects.toMatchObject({ type: "FORBIDDEN" });
    expect(await replay("admin")).toEqual({
      ...{ replayed: 1, left: 0 },
      refused: [{ id: expect.any(String), reason: expect.stringContaining("cancelled") }],
    });
    await eventually(async () => {
      expect(await deliveriesOf(shop, partnerId)).toContainEqual(
        expect.objectContaining({ messageId: said.id, state: "accepted" }),
      );
    });
  });

  it("dead, is dropped with the others of its partner; waiting webhooks stay", async () => {
    const [one, other] = [await integrated(shop, { status: 500 }), await integrated(shop, { status: 500 })];
    const said = await Promise.all(
      [one.order(), one.order(), other.order()].map((paid) => shop.say("order.paid", paid)),
    );
    await eventually(async () => {
      for (const [partnerId, count] of [
        [one.partnerId, 2],
        [other.partnerId, 1],
      ] as const) {
        const dead = (await deliveriesOf(shop, partnerId)).filter(({ state }) => state === "dead");
        expect(dead).toHaveLength(count);
      }
    });
    one.system.does("hang");
    const waiting = await shop.say("order.paid", one.order());
    await eventually(async () => {
      expect(await deliveriesOf(shop, one.partnerId)).toContainEqual(
        expect.objectContaining({ messageId: waiting.id, state: "pending" }),
      );
    });
    const filter = {
      partnerId: one.partnerId,
      consumer: "partner-webhooks",
      type: "order.paid",
      reason: "status 5",
    };
    const drop = (role: "partner" | "admin") =>
      shop.as({ role, partnerId: one.partnerId }, "partners.dropDeadLetters", filter);
    await expect(drop("partner")).rejects.toMatchObject({ type: "FORBIDDEN" });
    expect(await drop("admin")).toEqual({ dropped: 2, left: 0 });
    const states = new Map(
      (await deliveriesOf(shop, one.partnerId)).map(({ messageId, state }) => [messageId, state]),
    );
    const { items } = await shop.asAdmin("partners.deadLetters", {});
    const dead = items.map(({ messageId }) => messageId);
    expect(dead).toContain(said[2]?.id);
    expect(dead).not.toContain(said[0]?.id);
    expect(states.get(waiting.id)).not.toBe("stopped");
    const audited =
      "SELECT data->>'detail' AS detail FROM outbox WHERE data->>'action' = 'partners.dropDeadLetters'";
    const named = `consumer=partner-webhooks, type=order.paid, partnerId=${one.partnerId}, reason=status 5`;
    expect(await shop.sql(audited)).toEqual([{ detail: `2 dropped, 0 left of ${named}` }]);
  });

  it("with 410 as response, disables the endpoint, closes the partner and notifies its admin; waiting webhooks are sent once it is set again", async () => {
    const { system, partner, partnerId, offer, order } = await integrated(shop, { status: 204 });
    const known = order();
    await shop.say("order.paid", known);
    await until(shop, partnerId, "accepted");
    system.does({ status: 410 });
    const paid = await shop.say("order.paid", order());
    const ended = await shop.say("order.cancelled", { ...known, version: 3, status: "cancelled" });
    const waiting = "waits until the endpoint is enabled";
    await eventually(async () => {
      const open = (await deliveriesOf(shop, partnerId)).filter(({ state }) => state === "pending");
      expect(open.map(({ error }) => error)).toEqual([waiting, waiting]);
    });
    const endpoint = await shop.asAdmin("partners.getWebhook", { partnerId });
    expect(endpoint).toMatchObject({ enabled: false, goneSince: expect.any(String) });
    expect(await shop.asAdmin("partners.get", { partnerId })).toMatchObject({ open: false });
    const saidOf = (type: string) =>
      shop.said.filter((one) => one.type === type && one.subject === partnerId);
    await eventually(() => {
      expect(saidOf("notification.requested")).toMatchObject([
        { data: { email: partner.email, template: "webhook-disabled", values: { partner: partner.title } } },
      ]);
      expect(saidOf("partner.updated").at(-1)).toMatchObject({ data: { partner: { open: false } } });
      expect(shop.said).toContainEqual(
        expect.objectContaining({ data: expect.objectContaining({ kind: "webhook.disabled" }) }),
      );
    });
    // The partner could not be notified of an order, so it is closed to customers.
    const check = {
      partnerId,
      lines: [{ productId: offer.productId, quantity: 1 }],
      address: partner.address,
    };
    const customer = { id: newId(), role: "customer" } as const;
    await expect(shop.as(customer, "partners.check", check)).rejects.toMatchObject({
      type: "PARTNER_CLOSED",
    });
    const reserving = shop.bare("partners.reserve", reservationOf(partner, [lineOf(offer, 1)]));
    await expect(reserving).rejects.toMatchObject({ type: "PARTNER_CLOSED" });

    // The first try of an order that was under way already ends at once: its time to accept by hand begins with it.
    const lateOrder = order();
    const late = await shop.say("order.paid", lateOrder);
    await eventually(() =>
      expect(shop.said).toContainEqual(
        expect.objectContaining({
          type: "partner.notified",
          data: expect.objectContaining({ orderId: lateOrder.orderId, outcome: "no_endpoint" }),
        }),
      ),
    );
    const before = system.calls.length;
    system.does({ status: 204 });
    await shop.asAdmin("partners.setWebhook", { partnerId, url: system.url, enabled: true });
    await eventually(async () => {
      const accepted = (await deliveriesOf(shop, partnerId)).filter(({ state }) => state === "accepted");
      const ids = accepted.map(({ messageId }) => messageId);
      expect(ids).toEqual(expect.arrayContaining([paid.id, ended.id, late.id]));
    });
    expect(system.calls.length).toBe(before + 3);
    expect(await shop.asAdmin("partners.get", { partnerId })).toMatchObject({ open: true });
    expect(await shop.asAdmin("partners.getWebhook", { partnerId })).not.toHaveProperty("goneSince");
  });

  it("of a partner whose endpoint is set as disabled after a 410, leaves the partner open", async () => {
    const { system, partnerId, order } = await integrated(shop, { status: 410 });
    await shop.say("order.paid", order());
    await eventually(async () =>
      expect(await shop.asAdmin("partners.get", { partnerId })).toMatchObject({ open: false }),
    );
    await shop.asAdmin("partners.setWebhook", { partnerId, url: system.url, enabled: false });
    expect(await shop.asAdmin("partners.get", { partnerId })).toMatchObject({ open: true });
  });

  it("that is a test, or whose deadline is past, does not wait for an endpoint that is gone", async () => {
    const { partnerId, order } = await integrated(shop, { status: 410 });
    await shop.say("order.paid", order());
    await eventually(async () =>
      expect(await shop.asAdmin("partners.getWebhook", { partnerId })).toHaveProperty("goneSince"),
    );
    await shop.asAdmin("partners.testWebhook", { partnerId });
    const orderId = newId();
    await shop.sql(
      `WITH message AS (
         INSERT INTO webhook_messages (id, partner_id, message_id, type, order_id, urgency, body, deadline_at)
         VALUES ($1, $2, $3, 'order.paid', $4, 'preparation', '{}', now() - interval '1 second')
         RETURNING id, partner_id)
       INSERT INTO webhook_deliveries (id, webhook_message_id, partner_id, attempt, state, due_at)
       SELECT $5, id, partner_id, $6, 'pending', now() FROM message`,
      [newId(), partnerId, newId(), orderId, newId(), TRIES],
    );
    await eventually(async () => {
      const all = await deliveriesOf(shop, partnerId);
      expect(all.filter(({ type }) => type === "webhook.test")).toMatchObject([{ state: "failed" }]);
      expect(all.filter((one) => one.orderId === orderId)).toMatchObject([
        { state: "dead", error: "the endpoint is disabled" },
      ]);
    });
  });

  it("after its deadline, is a dead letter with that reason", async () => {
    const { system, partnerId, order } = await integrated(shop);
    await shop.say("order.paid", { ...order(), deadlineAt: isoTime(Date.now() - 1_000) });
    await eventually(async () => {
      const [late] = await deliveriesOf(shop, partnerId);
      expect(late).toMatchObject({ error: "the deadline is past" });
    });
    expect(system.calls).toHaveLength(0);
  });
});
