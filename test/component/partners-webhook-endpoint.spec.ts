import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import {
  deliveriesOf,
  integrated,
  quickWebhooks,
  until,
  waitingTry,
} from "../support/partner-integration.ts";
import { type PartnersHarness, startPartners } from "../support/partners.ts";

let shop: PartnersHarness;
beforeAll(async () => {
  shop = await startPartners({ webhooks: quickWebhooks() });
});
afterAll(() => shop.stop());

describe("a partner's own view of its webhook", () => {
  it("partners.setWebhook returns the secret the first time only, and no other action returns it", async () => {
    const { system, partnerId, secret } = await integrated(shop);
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

  it("partners.testWebhook, with any outcome, makes one attempt and never a dead letter", async () => {
    const { system, partnerId } = await integrated(shop, { status: 500 });
    const test = await shop.asAdmin("partners.testWebhook", { partnerId });
    expect(test).toMatchObject({ type: "webhook.test", attempt: 1, state: "pending" });
    await until(shop, partnerId, "failed");
    expect(system.calls).toHaveLength(1);
    expect(JSON.parse(system.calls[0]?.body ?? "")).toMatchObject({
      type: "webhook.test",
      data: { partner_id: partnerId },
    });
    const { items } = await shop.asAdmin("partners.deadLetters", {});
    expect(items.map(({ messageId }) => messageId)).not.toContain(test.messageId);
  });

  it("partners.listWebhookDeliveries, by pages, returns every attempt once, the newest first", async () => {
    const { partnerId, order } = await integrated(shop, { status: 500 });
    await shop.say("order.paid", order());
    await until(shop, partnerId, "dead");
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

  it("partners.listWebhookDeliveries, of one order, returns only its attempts", async () => {
    const { partnerId, order } = await integrated(shop);
    const [first, second] = [order(), order()];
    for (const paid of [first, second]) await shop.say("order.paid", paid);
    await eventually(async () => {
      const both = await deliveriesOf(shop, partnerId);
      expect(both.map(({ state }) => state)).toEqual(["accepted", "accepted"]);
    });
    const one = { partnerId, orderId: first.orderId };
    const { items } = await shop.asAdmin("partners.listWebhookDeliveries", one);
    expect(items).toMatchObject([{ orderId: first.orderId }]);
  });

  it("partners.replayWebhookDelivery, of another partner's delivery, is NOT_FOUND", async () => {
    const { partnerId, order } = await integrated(shop);
    await shop.say("order.paid", order());
    const [delivery] = await until(shop, partnerId, "accepted");
    const other = await integrated(shop);
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

  it("partners.replayWebhookDelivery, of a webhook with a waiting attempt, makes that attempt due at once", async () => {
    const { partnerId, order } = await integrated(shop);
    const paid = [order(), order()];
    const later = isoTime(Date.now() + 3_600_000);
    for (const { orderId } of paid) await waitingTry(shop, { partnerId, orderId, dueAt: later });
    const [second, first] = await deliveriesOf(shop, partnerId);
    const replay = { partnerId, deliveryId: first?.id ?? "" };
    const now = await shop.asAdmin("partners.replayWebhookDelivery", replay);
    expect(now).toMatchObject({ id: first?.id, attempt: 1 });
    await eventually(async () => {
      const tries = await deliveriesOf(shop, partnerId);
      expect(tries).toMatchObject([
        { id: second?.id, state: "pending", dueAt: later },
        { id: first?.id, state: "accepted" },
      ]);
    });
  });

  it("partners.replayWebhookDelivery, of an accepted webhook with an Idempotency-Key, sends it once more", async () => {
    const { system, partnerId, order } = await integrated(shop);
    await shop.say("order.paid", order());
    const [delivery] = await until(shop, partnerId, "accepted");
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
      expect((await deliveriesOf(shop, partnerId))[0]).toMatchObject({ state: "accepted", attempt: 2 }),
    );
    expect(system.calls).toHaveLength(2);
  });

  it("partners.replayWebhookDelivery, after the partner may see the customer, sends neither customer nor note", async () => {
    const { system, partnerId, order } = await integrated(shop);
    await shop.say("order.paid", order());
    const [delivery] = await until(shop, partnerId, "accepted");
    const replayed = async (age: string, attempts: number) => {
      await shop.sql("UPDATE webhook_messages SET created_at = now() - $2::interval WHERE partner_id = $1", [
        partnerId,
        age,
      ]);
      await shop.asAdmin("partners.replayWebhookDelivery", { partnerId, deliveryId: delivery?.id ?? "" });
      await eventually(() => expect(system.calls).toHaveLength(attempts));
      return JSON.parse(system.calls[attempts - 1]?.body ?? "{}").data;
    };
    const [first] = system.calls;
    const { customer, note: _, ...rest } = JSON.parse(first?.body ?? "{}").data;
    expect(await replayed("23 hours", 2)).toMatchObject({ customer });
    const late = await replayed("25 hours", 3);
    expect(late).toEqual(rest);
  });
});
