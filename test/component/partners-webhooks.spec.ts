import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { Webhook } from "standardwebhooks";
import type { WebhookDelivery } from "../../contracts/partners.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import type { FailedTry } from "../../services/partners/webhooks/schedule.ts";
import { eventually } from "../support/eventually.ts";
import { type Behaviour, type PartnerSystem, startPartnerSystem } from "../support/partner-system.ts";
import { lineOf, orderOf, type PartnersHarness, reservationOf, startPartners } from "../support/partners.ts";
import { createDatabase } from "../support/postgres.ts";

const TRIES = 10;
const TIMEOUT_MS = 250;
const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const failures: FailedTry[] = [];
const clock = { aheadMs: 0, now: () => Date.now() + clock.aheadMs };
const quick = {
  limits: { timeoutMs: TIMEOUT_MS, sweepMs: 20, perPartner: 2, drainMs: 50 },
  schedule: (failed: FailedTry) => {
    failures.push(failed);
    return failed.urgency === "test" || failed.attempt >= TRIES ? undefined : 1;
  },
};

let shop: PartnersHarness;
const systems: PartnerSystem[] = [];
beforeAll(async () => {
  shop = await startPartners({ webhooks: quick, clock });
});
afterEach(async () => {
  await Promise.all(systems.splice(0).map((system) => system.stop()));
  clock.aheadMs = 0;
});
afterAll(() => shop.stop());

/** A partner whose system behaves so, with the secret that it was given. */
async function integrated(behaviour?: Behaviour, at: PartnersHarness = shop) {
  const system = await startPartnerSystem(behaviour);
  systems.push(system);
  const partner = await at.openPartner();
  const { secret = "" } = await at.asAdmin("partners.setWebhook", {
    partnerId: partner.id,
    url: system.url,
    enabled: true,
  });
  const offer = await at.product(partner.id);
  const order = () => orderOf(reservationOf(partner, [lineOf(offer, 2)]), { note: "No nuts" });
  return { system, partner, partnerId: partner.id, secret, offer, order };
}

async function deliveriesOf(partnerId: string, at: PartnersHarness = shop): Promise<WebhookDelivery[]> {
  return (await at.asAdmin("partners.listWebhookDeliveries", { partnerId, limit: 100 })).items;
}

async function until(
  partnerId: string,
  state: WebhookDelivery["state"],
  at: PartnersHarness = shop,
): Promise<WebhookDelivery[]> {
  return await eventually(async () => {
    const deliveries = await deliveriesOf(partnerId, at);
    expect(deliveries[0]).toMatchObject({ state });
    return deliveries;
  });
}

describe("the call to a partner's system", () => {
  it("for a paid order, is signed, says what to prepare and for whom, and continues the trace", async () => {
    const { system, partner, secret, order, offer } = await integrated({
      status: 200,
      body: "yes\u0000chef",
    });
    const paid = order();
    const said = await shop.say("order.paid", paid, { traceparent: TRACEPARENT });
    const [delivery] = await until(partner.id, "accepted");
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

  const failing: [string, Behaviour, Partial<WebhookDelivery>][] = [
    ["500", { status: 500, body: "oven on fire" }, { statusCode: 500, responseHead: "oven on fire" }],
    ["a redirect", { status: 302, headers: { location: "/elsewhere" } }, { statusCode: 302 }],
    ["429", { status: 429, headers: { "retry-after": "7" } }, { statusCode: 429 }],
    ["a reset", "reset", { error: "ECONNRESET" }],
    ["silence", "hang", { error: `no answer within ${TIMEOUT_MS} ms` }],
  ];
  it.each(failing)(
    "answered by %s, is a failed try, and the next has the same id",
    async (_, does, logged) => {
      const { system, partnerId, order } = await integrated(does);
      const said = await shop.say("order.paid", order());
      await eventually(() => expect(system.calls.length).toBeGreaterThan(1));
      system.does({ status: 202 });
      const deliveries = await until(partnerId, "accepted");
      expect(deliveries.at(-1)).toMatchObject({ ...logged, state: "failed", attempt: 1 });
      expect(new Set(system.calls.map(({ headers }) => headers["webhook-id"]))).toEqual(new Set([said.id]));
      expect(new Set(system.calls.map(({ path }) => path))).toEqual(new Set(["/orders"]));
      expect(deliveries.map(({ attempt }) => attempt)).toEqual(
        deliveries.map((_one, at, all) => all.length - at),
      );
    },
  );

  it("answered by Retry-After, hands the wait to the schedule", async () => {
    const { partnerId, order, system } = await integrated({ status: 503, headers: { "retry-after": "7" } });
    await shop.say("order.paid", order());
    await eventually(() => expect(system.calls.length).toBeGreaterThan(0));
    system.does({ status: 204 });
    await until(partnerId, "accepted");
    expect(failures).toContainEqual(expect.objectContaining({ partnerId, retryAfterMs: 7_000, attempt: 1 }));
  });

  it("failed ten times, is a dead letter with an alert, which replayed arrives with its old id", async () => {
    const { system, partnerId, order } = await integrated({ status: 500 });
    const paid = order();
    const said = await shop.say("order.paid", paid);
    await until(partnerId, "dead");
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
    await until(partnerId, "accepted");
    expect(system.calls.at(-1)?.headers["webhook-id"]).toBe(said.id);
    const left = await shop.asAdmin("partners.deadLetters", {});
    expect(left.items.map(({ messageId }) => messageId)).not.toContain(said.id);
  });

  it("dead and dropped by the operator, is no dead letter any more; others may not drop it", async () => {
    const { partnerId, order } = await integrated({ status: 500 });
    const said = await shop.say("order.paid", order());
    const [dead] = await until(partnerId, "dead");
    const id = dead?.id ?? "";
    const drop = (role: "partner" | "customer") =>
      shop.as({ role, partnerId }, "partners.dropDeadLetter", { id });
    await expect(drop("partner")).rejects.toMatchObject({ type: "FORBIDDEN" });
    await expect(drop("customer")).rejects.toMatchObject({ type: "FORBIDDEN" });
    await shop.asAdmin("partners.dropDeadLetter", { id });
    const { items } = await shop.asAdmin("partners.deadLetters", {});
    expect(items.map(({ messageId }) => messageId)).not.toContain(said.id);
  });

  it("answered by 410, disables the endpoint until it is set again", async () => {
    const { system, partnerId, order } = await integrated({ status: 410 });
    await shop.say("order.paid", order());
    const [dead] = await until(partnerId, "dead");
    expect(dead).toMatchObject({ attempt: 1, statusCode: 410 });
    expect(await shop.asAdmin("partners.getWebhook", { partnerId })).toMatchObject({ enabled: false });
    await eventually(() =>
      expect(shop.said).toContainEqual(
        expect.objectContaining({ data: expect.objectContaining({ kind: "webhook.disabled" }) }),
      ),
    );
    await shop.say("order.paid", order());
    const unsent = await eventually(async () => {
      const [latest] = await deliveriesOf(partnerId);
      expect(latest).toMatchObject({ state: "dead", attempt: TRIES, error: "the endpoint is disabled" });
      return latest;
    });
    expect(system.calls).toHaveLength(1);
    system.does({ status: 204 });
    await shop.asAdmin("partners.setWebhook", { partnerId, url: system.url, enabled: true });
    await shop.asAdmin("partners.replayWebhookDelivery", { partnerId, deliveryId: unsent?.id ?? "" });
    await until(partnerId, "accepted");
  });

  it("without an endpoint, or after its deadline, is a dead letter that says so", async () => {
    const partner = await shop.openPartner();
    const offer = await shop.product(partner.id);
    await shop.say("order.paid", orderOf(reservationOf(partner, [lineOf(offer, 1)])));
    const [unsent] = await until(partner.id, "dead");
    expect(unsent).toMatchObject({ error: "no endpoint has been set up" });

    const { system, partnerId, order } = await integrated();
    await shop.say("order.paid", { ...order(), deadlineAt: isoTime(Date.now() - 1_000) });
    await eventually(async () => {
      const [late] = await deliveriesOf(partnerId);
      expect(late).toMatchObject({ error: "the deadline is past" });
    });
    expect(system.calls).toHaveLength(0);
  });

  it("of an order that is cancelled, is tried no more, and the cancellation is told", async () => {
    const { system, partnerId, order } = await integrated("hang");
    const paid = order();
    await shop.say("order.paid", paid);
    await eventually(() => expect(system.calls).toHaveLength(1));
    const cancelled = {
      version: 3,
      status: "cancelled",
      previousStatus: "paid",
      reason: "Changed my mind",
    } as const;
    const news = await shop.say("order.cancelled", { ...paid, ...cancelled });
    system.does({ status: 200 });
    const deliveries = await eventually(async () => {
      const all = await deliveriesOf(partnerId);
      const ends = all.map(({ type, state }) => ({ type, state }));
      expect(ends).toContainEqual({ type: "order.cancelled", state: "accepted" });
      expect(ends).toContainEqual({ type: "order.paid", state: "stopped" });
      expect(all.at(-1)?.error).toBeDefined(); // the try that was under way ended and was noted
      return all;
    });
    expect(deliveries).toHaveLength(2);
    expect(system.calls).toHaveLength(2);
    expect(JSON.parse(system.calls[1]?.body ?? "")).toEqual({
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

  it("with news of an order, is made to a partner that was told to prepare it, and to no other", async () => {
    const { system, partnerId, order } = await integrated();
    const [told, untold] = [order(), order()];
    await shop.say("order.paid", told);
    await until(partnerId, "accepted");
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

  it("while a secret is replaced, bears the signatures of both, a day later only of the new one", async () => {
    const { system, partnerId, secret, order } = await integrated();
    const rotated = await shop.asAdmin("partners.rotateWebhookSecret", { partnerId });
    expect(rotated.secret).not.toBe(secret);
    expect(rotated.previousSecretUntil).toBeDefined();
    await shop.say("order.paid", order());
    await until(partnerId, "accepted");
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

  it("to a partner that hangs, takes that partner's places and nobody else's", async () => {
    const hanging = await integrated("hang");
    const fine = await integrated();
    for (let count = 0; count < 12; count++) await shop.say("order.paid", hanging.order());
    await eventually(() => expect(hanging.system.calls).toHaveLength(2));
    const startedMs = Date.now();
    await shop.say("order.paid", fine.order());
    await until(fine.partnerId, "accepted");
    expect(Date.now() - startedMs).toBeLessThan(TIMEOUT_MS * 4); // in one queue it would wait for six timeouts
    await eventually(() => expect(hanging.system.calls.length).toBeGreaterThan(6));
    expect(hanging.system.state.mostOpen).toBe(2);
    hanging.system.does({ status: 204 });
  });

  it("by a process that was killed, is made again by the next one as the same try", async () => {
    const { system, partnerId, order } = await integrated();
    const paid = order();
    const lost = { id: newId(), delivery: newId(), message: newId() };
    await shop.sql(
      `WITH m AS (INSERT INTO webhook_messages (id, partner_id, message_id, type, order_id, urgency, body)
         VALUES ($1, $2, $3, 'order.paid', $4, 'preparation', '{}') RETURNING id, partner_id)
       INSERT INTO webhook_deliveries (id, webhook_message_id, partner_id, attempt, state, due_at, lease_id)
       SELECT $5, id, partner_id, 4, 'pending', now() - interval '1 second', $6 FROM m`,
      [lost.id, partnerId, lost.message, paid.orderId, lost.delivery, newId()],
    );
    const [made] = await until(partnerId, "accepted");
    expect(made).toMatchObject({ id: lost.delivery, attempt: 4 });
    expect(system.calls.map(({ headers }) => headers["webhook-id"])).toEqual([lost.message]);
  });
});

describe("a partner's own view of its webhook", () => {
  it("partners.setWebhook, the first time, shows the secret, and later neither it nor anything else does", async () => {
    const { system, partnerId, secret } = await integrated();
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const again = await shop.asAdmin("partners.setWebhook", { partnerId, url: system.url, enabled: false });
    expect(again).toEqual({ partnerId, url: system.url, enabled: false });
    expect(await shop.asAdmin("partners.getWebhook", { partnerId })).toEqual(again);
    const [stored] = await shop.sql<{ row: string }>(
      "SELECT partners::text AS row FROM partners WHERE id = $1",
      [partnerId],
    );
    expect(stored?.row).not.toContain(secret.slice(6));
  });

  it("partners.testWebhook, whatever comes of it, is one try that is never a dead letter", async () => {
    const { system, partnerId } = await integrated({ status: 500 });
    const test = await shop.asAdmin("partners.testWebhook", { partnerId });
    expect(test).toMatchObject({ type: "webhook.test", attempt: 1, state: "pending" });
    await until(partnerId, "failed");
    expect(system.calls).toHaveLength(1);
    expect(JSON.parse(system.calls[0]?.body ?? "")).toMatchObject({
      type: "webhook.test",
      data: { partner_id: partnerId },
    });
    const { items } = await shop.asAdmin("partners.deadLetters", {});
    expect(items.map(({ messageId }) => messageId)).not.toContain(test.messageId);
  });

  it("partners.listWebhookDeliveries, by pages, shows every try once, the newest first", async () => {
    const { partnerId, order } = await integrated({ status: 500 });
    await shop.say("order.paid", order());
    await until(partnerId, "dead");
    const seen: number[] = [];
    let cursor: string | undefined;
    do {
      const page = await shop.asAdmin("partners.listWebhookDeliveries", {
        partnerId,
        limit: 3,
        ...(cursor && { cursor }),
      });
      seen.push(...page.items.map(({ attempt }) => attempt));
      cursor = page.nextCursor;
    } while (cursor);
    expect(seen).toEqual([10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
  });

  it("partners.listWebhookDeliveries, of one order, shows the tries about it alone", async () => {
    const { partnerId, order } = await integrated();
    const [first, second] = [order(), order()];
    for (const paid of [first, second]) await shop.say("order.paid", paid);
    await eventually(async () => {
      const both = await deliveriesOf(partnerId);
      expect(both.map(({ state }) => state)).toEqual(["accepted", "accepted"]);
    });
    const one = { partnerId, orderId: first.orderId };
    const { items } = await shop.asAdmin("partners.listWebhookDeliveries", one);
    expect(items).toMatchObject([{ orderId: first.orderId }]);
  });

  it("partners.replayWebhookDelivery, of another partner's delivery, finds nothing", async () => {
    const { partnerId, order } = await integrated();
    await shop.say("order.paid", order());
    const [delivery] = await until(partnerId, "accepted");
    const other = await integrated();
    const replay = shop.as(
      { role: "partner", partnerId: other.partnerId },
      "partners.replayWebhookDelivery",
      {
        partnerId: other.partnerId,
        deliveryId: delivery?.id ?? "",
      },
    );
    await expect(replay).rejects.toMatchObject({ type: "NOT_FOUND" });
  });

  it("partners.replayWebhookDelivery, of an accepted call with an Idempotency-Key, sends it once more", async () => {
    const { system, partnerId, order } = await integrated();
    await shop.say("order.paid", order());
    const [delivery] = await until(partnerId, "accepted");
    const staff = { id: newId(), role: "partner", partnerId } as const;
    const replay = () =>
      shop.as(
        staff,
        "partners.replayWebhookDelivery",
        { partnerId, deliveryId: delivery?.id ?? "" },
        { key: "again", bodyHash: "0".repeat(64) },
      );
    const [first, second] = [await replay(), await replay()];
    expect(first).toMatchObject({ attempt: 2, messageId: delivery?.messageId });
    expect(second).toEqual(first);
    await eventually(async () =>
      expect((await deliveriesOf(partnerId))[0]).toMatchObject({ state: "accepted", attempt: 2 }),
    );
    expect(system.calls).toHaveLength(2);
  });
});

it("the sender, stopped while a partner hangs, gives the try back, and the next one makes it", async () => {
  const database = await createDatabase("partners");
  const patient = { ...quick, limits: { ...quick.limits, timeoutMs: 10_000 } };
  const stopped = await startPartners({ url: database.url, webhooks: patient });
  const { system, partnerId, order } = await integrated("hang", stopped);
  await stopped.say("order.paid", order());
  await eventually(() => expect(system.calls).toHaveLength(1));
  await stopped.stop();
  system.does({ status: 204 });
  const next = await startPartners({ url: database.url, webhooks: patient });
  const deliveries = await until(partnerId, "accepted", next);
  expect(deliveries).toMatchObject([{ attempt: 1 }]);
  expect(system.calls).toHaveLength(2);
  expect(new Set(system.calls.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
  await next.stop();
  await database.drop();
});
