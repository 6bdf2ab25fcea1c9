import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import {
  deliveriesOf,
  integrated,
  quickWebhooks,
  TRIES,
  until,
  waitingTry,
} from "../support/partner-integration.ts";
import { lineOf, orderOf, type PartnersHarness, reservationOf, startPartners } from "../support/partners.ts";

const HOUR_MS = 3_600_000;

let shop: PartnersHarness;
beforeAll(async () => {
  shop = await startPartners({ webhooks: quickWebhooks() });
});
afterAll(() => shop.stop());

const noticesOf = (orderId: string) =>
  shop.said.filter(({ type, subject }) => type === "partner.notified" && subject === orderId);

/** The order without a deadline, as Orders publishes it. */
function withoutDeadline({ deadlineAt: _, ...order }: ReturnType<typeof orderOf>) {
  return order;
}

describe("Partners reports to Orders that a partner", () => {
  it("was notified, once its system has accepted the order; the time to accept counts from that attempt", async () => {
    const { system, partnerId, order } = await integrated(shop, { status: 202 });
    const paid = withoutDeadline(order());
    const fromMs = Date.now();
    await shop.say("order.paid", paid, { time: isoTime(Date.now() - 3 * HOUR_MS) });
    await until(shop, partnerId, "accepted");
    await eventually(() =>
      expect(noticesOf(paid.orderId)).toMatchObject([{ data: { outcome: "delivered", partnerId } }]),
    );
    const { data } = JSON.parse(system.calls[0]?.body ?? "");
    const respondByMs = Date.parse(data.respond_by);
    expect(respondByMs).toBeGreaterThanOrEqual(fromMs + 600_000 - 5_000);
    expect(data.respond_by).toBe(isoTime(respondByMs));
  });

  it("could have been notified, at its system's first failure, once", async () => {
    const { system, partnerId, order } = await integrated(shop, { status: 500 });
    const paid = withoutDeadline(order());
    await shop.say("order.paid", paid);
    await until(shop, partnerId, "dead");
    expect(noticesOf(paid.orderId)).toMatchObject([
      { data: { outcome: "unreachable", detail: "status 500" } },
    ]);
    expect(new Set(system.calls.map(({ body }) => body)).size).toBe(1);
  });

  it("may not have been notified, when the result of the first try could not be recorded again and again", async () => {
    const { partnerId, order } = await integrated(shop);
    const { orderId } = order();
    await waitingTry(shop, { partnerId, orderId, dueAt: isoTime(Date.now() + HOUR_MS) });
    await shop.sql("UPDATE webhook_deliveries SET claims = 1000, due_at = now() WHERE partner_id = $1", [
      partnerId,
    ]);
    await until(shop, partnerId, "dead");
    await eventually(() => expect(noticesOf(orderId)).toMatchObject([{ data: { outcome: "held_up" } }]));
  });

  it.each(["without an endpoint", "with a disabled endpoint"])(
    "%s has the order in its list only: nothing is tried, and nothing alerts",
    async (which) => {
      const { system, partnerId, order } = await integrated(shop);
      if (which === "without an endpoint") {
        await shop.sql("UPDATE partners SET api_url = NULL, webhook_secret = NULL WHERE id = $1", [
          partnerId,
        ]);
      } else {
        await shop.asAdmin("partners.setWebhook", { partnerId, url: system.url, enabled: false });
      }
      const paid = withoutDeadline(order());
      await shop.say("order.paid", paid);
      await eventually(() =>
        expect(noticesOf(paid.orderId)).toMatchObject([{ data: { outcome: "no_endpoint", partnerId } }]),
      );
      // The end of an order that was sent to no system is not sent either.
      const ended = { ...paid, version: 3, status: "cancelled" as const, previousStatus: "paid" as const };
      const { id } = await shop.say("order.cancelled", ended);
      await eventually(async () => {
        const [row] = await shop.sql<{ state: string }>("SELECT state FROM inbox WHERE message_id = $1", [
          id,
        ]);
        expect(row?.state).toBe("done");
      });
      expect(await deliveriesOf(shop, partnerId)).toEqual([]);
      expect(
        shop.said.filter(({ type, subject }) => type === "alert.raised" && subject === paid.orderId),
      ).toEqual([]);
      expect(system.calls).toEqual([]);
    },
  );

  it("removed its endpoint after the order was enqueued, without a dead letter or an alert", async () => {
    const { system, partnerId, order } = await integrated(shop, { status: 500 });
    const paid = withoutDeadline(order());
    await waitingTry(shop, { partnerId, orderId: paid.orderId, dueAt: isoTime(Date.now() + HOUR_MS) });
    await shop.asAdmin("partners.setWebhook", { partnerId, url: system.url, enabled: false });
    await shop.sql("UPDATE webhook_deliveries SET due_at = now() WHERE partner_id = $1", [partnerId]);
    await eventually(async () => {
      const tries = await deliveriesOf(shop, partnerId);
      expect(tries.map(({ attempt, state }) => [attempt, state])).toContainEqual([TRIES, "failed"]);
    });
    expect(noticesOf(paid.orderId)).toMatchObject([{ data: { outcome: "no_endpoint" } }]);
    expect(
      shop.said.filter(({ type, subject }) => type === "alert.raised" && subject === paid.orderId),
    ).toEqual([]);
    expect(system.calls).toEqual([]);
  });

  it("was notified, and its system gets the time limit of the order", async () => {
    const { system, partnerId, order } = await integrated(shop, { status: 202 });
    const fromMs = Date.now();
    await shop.say("order.paid", { ...withoutDeadline(order()), acceptanceMinutes: 45 });
    await until(shop, partnerId, "accepted");
    const { data } = JSON.parse(system.calls[0]?.body ?? "");
    const respondByMs = Date.parse(data.respond_by);
    expect(respondByMs).toBeGreaterThanOrEqual(fromMs + 45 * 60_000 - 5_000);
    expect(respondByMs).toBeLessThanOrEqual(Date.now() + 45 * 60_000 + 5_000);
  });

  it("cannot be notified while its secret cannot be decrypted: no attempt counts, and it is notified afterwards", async () => {
    const { system, partnerId, order } = await integrated(shop, { status: 202 });
    const [row] = await shop.sql<{ secret: string }>(
      "SELECT webhook_secret AS secret FROM partners WHERE id = $1",
      [partnerId],
    );
    await shop.sql("UPDATE partners SET webhook_secret = 'lost' WHERE id = $1", [partnerId]);
    const paid = withoutDeadline(order());
    await shop.say("order.paid", paid);
    const dueNow = () =>
      shop.sql("UPDATE webhook_deliveries SET due_at = now() WHERE partner_id = $1 AND state = 'pending'", [
        partnerId,
      ]);
    for (let tries = 0; tries < 3; tries += 1) {
      await eventually(async () => {
        const [held] = await shop.sql<{ held: boolean }>(
          `SELECT error IS NOT NULL AND due_at > now() AND lease_id IS NULL AS held FROM webhook_deliveries
           WHERE partner_id = $1`,
          [partnerId],
        );
        expect(held?.held).toBe(true);
      });
      if (tries < 2) await dueNow();
    }
    await eventually(() => expect(noticesOf(paid.orderId)).toHaveLength(1));
    expect(noticesOf(paid.orderId)).toMatchObject([
      { data: { outcome: "held_up", detail: expect.stringContaining("secret cannot be decrypted") } },
    ]);
    expect(system.calls).toEqual([]);
    await shop.sql("UPDATE partners SET webhook_secret = $2 WHERE id = $1", [partnerId, row?.secret]);
    const fromMs = Date.now();
    await dueNow();
    const [accepted] = await until(shop, partnerId, "accepted");
    expect(accepted?.attempt).toBe(1);
    const { data } = JSON.parse(system.calls[0]?.body ?? "");
    expect(Date.parse(data.respond_by)).toBeGreaterThanOrEqual(fromMs + 600_000 - 5_000);
    await eventually(() => expect(noticesOf(paid.orderId)).toHaveLength(2));
    expect(noticesOf(paid.orderId)[1]).toMatchObject({ data: { outcome: "delivered" } });
  });

  it("cannot be notified when order.paid became a dead letter", async () => {
    const partner = await shop.openPartner();
    const offer = await shop.product(partner.id);
    const reserved = reservationOf(partner, [lineOf(offer, 1)]);
    // No such partner: whatever is written about it fails.
    const paid = withoutDeadline(orderOf(reserved, { partnerId: newId() }));
    const { id } = await shop.say("order.paid", paid);
    await eventually(async () => {
      await shop.sql(
        "UPDATE inbox SET attempts = 4, next_at = now() WHERE message_id = $1 AND lease_token IS NULL AND state = 'waiting'",
        [id],
      );
      expect(noticesOf(paid.orderId)).toHaveLength(1);
    });
    expect(noticesOf(paid.orderId)).toMatchObject([
      { data: { outcome: "held_up", detail: expect.stringContaining("dead letter of Partners") } },
    ]);
  });
});

describe("a webhook whose outcome can never be recorded", () => {
  it("is tried a few times, then becomes a dead letter with an alert, and the partner's system is not called again", async () => {
    const { system, partnerId, order } = await integrated(shop, { status: 202 });
    await shop.sql(
      `ALTER TABLE webhook_deliveries ADD CONSTRAINT poisoned CHECK (NOT (partner_id = '${partnerId}'
         AND state = 'accepted')) NOT VALID`,
    );
    const paid = withoutDeadline(order());
    await shop.say("order.paid", paid);
    const leaseOver = () =>
      shop.sql(
        `UPDATE webhook_deliveries SET due_at = now()
         WHERE partner_id = $1 AND state = 'pending' AND lease_id IS NOT NULL`,
        [partnerId],
      );
    await eventually(async () => {
      const [row] = await shop.sql<{ state: string }>(
        "SELECT state FROM webhook_deliveries WHERE partner_id = $1",
        [partnerId],
      );
      if (row?.state !== "dead") await leaseOver();
      expect(row?.state).toBe("dead");
    });
    await eventually(() =>
      expect(shop.said).toContainEqual(
        expect.objectContaining({
          data: expect.objectContaining({ kind: "webhook.dead", subject: paid.orderId }),
        }),
      ),
    );
    expect(system.calls.length).toBeLessThanOrEqual(5);
    expect(noticesOf(paid.orderId)).toMatchObject([{ data: { outcome: "held_up" } }]);
    await shop.sql("ALTER TABLE webhook_deliveries DROP CONSTRAINT poisoned");
  });
});
