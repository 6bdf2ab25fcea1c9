import { describe, expect, it } from "@jest/globals";
import { call } from "../../contracts/actions.ts";
import { message } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { receiptsOf } from "../support/payments.ts";
import { refundStage } from "../support/refunds.ts";

/* Guards of orders that another guard hides, or that no other circumstance reaches. */

const stage = refundStage();
const euro = (amountMinor: number) => ({ amountMinor, currency: "EUR" });
const OTHER_SECRET = `whsec_${"D".repeat(43)}=`;

describe("ids of external systems", () => {
  it("of one event and payment, reported by two banks, are two payments", async () => {
    const { shop } = stage;
    const other = await shop.as(shop.admin, "orders.createBank", {
      title: "Second bank",
      adapter: "sandbox",
      settings: { apiKey: "second", webhookSecret: OTHER_SECRET },
      webcheckoutUrl: stage.bank.url,
      active: true,
    });
    const [here, there] = [await shop.confirmed(), await shop.confirmed({}, other.id)];
    const [id, paymentId] = [`evt_${newId()}`, `pay_${newId()}`];
    const data = (orderId: string) => ({
      ...{ payment_id: paymentId, order_id: orderId, amount_minor: 2950, currency: "EUR" },
    });
    await shop.report({ id, data: data(here.orderId) });
    await shop.report({ id, data: data(there.orderId) }, { bankId: other.id, secret: OTHER_SECRET });
    for (const order of [here, there]) {
      expect(await shop.get(order)).toMatchObject({ status: "paid" });
      expect(await receiptsOf(shop, order.orderId)).toEqual([
        { outcome: "accepted", amount: 2950, refund: 0 },
      ]);
    }
  });

  it("of one event, sent by two partners, move the order of each", async () => {
    const { shop } = stage;
    const eventId = newId();
    const orders = [await shop.placed("paid"), await shop.placed("paid")];
    for (const { orderId, quote } of orders) {
      await call(shop.edge, "orders.applyPartnerCallback", {
        ...{
          partnerId: quote.partner.id,
          eventId,
          bodyHash: "b".repeat(64),
          type: "order.accepted",
          orderId,
        },
      });
    }
    for (const order of orders) expect(await shop.get(order)).toMatchObject({ status: "preparing" });
    expect(orders[0]?.quote.partner.id).not.toBe(orders[1]?.quote.partner.id);
  });
});

describe("a report on a notice", () => {
  it("of an order that is not there, or not this partner's, is done and changes nothing", async () => {
    const { shop } = stage;
    const order = await shop.placed("paid");
    const data = (orderId: string) => ({
      version: 1,
      orderId,
      partnerId: newId(),
      outcome: "delivered" as const,
    });
    for (const orderId of [newId(), order.orderId])
      await shop.hear("waybill/partners", message("partner.notified", orderId, data(orderId)));
    expect(await shop.get(order)).toMatchObject({ version: 2 });
  });
});

describe("a refund that was pending at the bank", () => {
  it("and that the bank's look-up reports as failed, is recorded as failed with a message", async () => {
    stage.bank.mood = "slow";
    const order = await stage.cancelled();
    await stage.inState(order.orderId, "sent");
    const { id } = await stage.refundOf(order.orderId);
    await eventually(() => expect(stage.bank.done.get(id)).toBeDefined());
    stage.bank.done.set(id, { state: "failed", reason: "The account is closed" });
    await stage.shop.sql("UPDATE refunds SET next_at = now() WHERE id = $1", [id]);
    await stage.inState(order.orderId, "failed");
    expect(await stage.shop.get(order)).toMatchObject({ paymentStatus: "refund_failed" });
    await eventually(() => expect(stage.shop.alerts(order.orderId)).toEqual(["refund.failed"]));
  });
});

describe("an operator's change of an order or a bank", () => {
  const stored = (orderId: string) =>
    stage.shop.sql(
      "SELECT o::text AS row FROM orders o WHERE id = $1 UNION ALL SELECT b::text FROM banks b",
      [orderId],
    );
  const audited = (subject: string) =>
    stage.shop.sql<{ action: string; detail: string | null }>(
      `SELECT data->>'action' AS action, data->>'detail' AS detail FROM outbox
       WHERE type = 'audit.recorded' AND subject = $1 ORDER BY id`,
      [subject],
    );

  it("is recorded in the audit log with its detail, and fails if it cannot be recorded", async () => {
    const { shop } = stage;
    const { orderId } = await shop.placed("ready");
    const { orderId: other } = await shop.placed("ready");
    const { orderId: third } = await shop.placed("ready");
    const delivererId = newId();
    const { bankId } = shop;
    const reason = "No flour";
    const acts: [subject: string, action: string, act: () => Promise<unknown>, detail: string | null][] = [
      [
        orderId,
        "orders.refund",
        () => shop.as(shop.admin, "orders.refund", { orderId, amount: euro(1), reason }),
        null,
      ],
      [orderId, "orders.cancel", () => shop.as(shop.admin, "orders.cancel", { orderId, reason }), null],
      [
        other,
        "orders.override",
        () => shop.as(shop.admin, "orders.override", { orderId: other, to: "cancelled", reason }),
        null,
      ],
      [
        third,
        "orders.reassign",
        () => shop.as(shop.admin, "orders.reassign", { orderId: third, delivererId, reason }),
        `to ${delivererId}`,
      ],
      [
        third,
        "orders.reassign",
        () => shop.as(shop.admin, "orders.reassign", { orderId: third, reason }),
        null,
      ],
      [
        bankId,
        "orders.updateBank",
        () => shop.as(shop.admin, "orders.updateBank", { bankId, title: "Renamed bank" }),
        "title",
      ],
    ];
    await shop.sql(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN IF NEW.type = 'audit.recorded' THEN RAISE 'refused'; END IF; RETURN NEW; END $$`);
    await shop.sql("CREATE TRIGGER refuse BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION refuse()");
    const before = await stored(orderId);
    try {
      for (const [, , act] of acts) await expect(act()).rejects.toThrow();
    } finally {
      await shop.sql("DROP FUNCTION refuse CASCADE");
    }
    expect(await stored(orderId)).toEqual(before);
    for (const [subject, action, act, detail] of acts) {
      const known = await audited(subject);
      await act();
      expect((await audited(subject)).slice(known.length)).toEqual([{ action, detail }]);
    }
  });
});
