import { describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { startMoodyBank } from "../support/moody-bank.ts";
import { API_KEY, SUPPORT_REFUND_MAX_MINOR, WEBHOOK_SECRET } from "../support/orders-service.ts";
import { refundStage } from "../support/refunds.ts";

const stage = refundStage();

describe("a bank that hangs", () => {
  it("delays no refund of another bank, even if it was requested later", async () => {
    const other = await startMoodyBank();
    const { id: otherId } = await stage.shop.as(stage.shop.admin, "orders.createBank", {
      title: "Another bank",
      adapter: "sandbox",
      settings: { apiKey: API_KEY, webhookSecret: WEBHOOK_SECRET },
      webcheckoutUrl: other.url,
      active: true,
    });
    const there = await stage.shop.confirmed({}, otherId);
    const data = {
      payment_id: `pay_${newId()}`,
      order_id: there.orderId,
      amount_minor: 2950,
      currency: "EUR",
    };
    await stage.shop.report({ data }, { bankId: otherId });
    stage.bank.mood = "hangs";
    const hanging = await stage.cancelled();
    const { id } = await stage.refundOf(hanging.orderId);
    await eventually(() => expect(stage.bank.asked.at(-1)).toBe("POST /refunds"));
    await stage.shop.as(there.customer, "orders.cancel", { orderId: there.orderId });
    await stage.inState(there.orderId, "completed");
    // Still under its first lease, for which no test has waited.
    const [held] = await stage.shop.sql(
      "SELECT id, state, attempts FROM refunds WHERE lease_token IS NOT NULL",
    );
    expect(held).toEqual({ id, state: "sent", attempts: 1 });
    stage.bank.mood = "well";
    stage.bank.letGo();
    await stage.inState(hanging.orderId, "completed");
    await other.stop();
  });
});

describe("orders.refund", () => {
  it("of a part, then of the rest, refunds exactly these amounts", async () => {
    const order = await stage.shop.placed("paid");
    const part = { amountMinor: 950, currency: "EUR" };
    await stage.shop.as(stage.shop.admin, "orders.refund", {
      orderId: order.orderId,
      amount: part,
      reason: "Cold",
    });
    await eventually(async () =>
      expect(await stage.shop.get(order)).toMatchObject({
        status: "paid",
        paymentStatus: "partially_refunded",
      }),
    );
    const tooMuch = { amountMinor: 2001, currency: "EUR" };
    await expect(
      stage.shop.as(stage.shop.admin, "orders.refund", {
        orderId: order.orderId,
        amount: tooMuch,
        reason: "Cold",
      }),
    ).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: { errors: [{ field: "amount.amountMinor" }] },
    });
    await stage.shop.as(stage.shop.admin, "orders.refund", { orderId: order.orderId, reason: "All of it" });
    await eventually(async () =>
      expect(await stage.shop.get(order)).toMatchObject({
        paymentStatus: "refunded",
        refunded: { amountMinor: 2950 },
      }),
    );
  });

  it("with a reason of five hundred characters and emoji, keeps the author and cuts between characters", async () => {
    const order = await stage.shop.placed("paid");
    const reason = `${"🍕".repeat(249)}!!`;
    await stage.shop.as(stage.shop.admin, "orders.refund", { orderId: order.orderId, reason });
    const [kept] = await stage.shop.sql<{ reason: string }>(
      "SELECT reason FROM refunds WHERE order_id = $1",
      [order.orderId],
    );
    expect(kept?.reason).toMatch(new RegExp(`^(🍕)+… \\(by ${stage.shop.admin.id}\\)$`));
  });

  it("ten times at once with one Idempotency-Key, refunds once", async () => {
    const order = await stage.shop.placed("paid");
    const key = { key: newId(), bodyHash: "e".repeat(64) };
    const ask = () =>
      stage.shop.as(
        stage.shop.admin,
        "orders.refund",
        { orderId: order.orderId, amount: { amountMinor: 100, currency: "EUR" }, reason: "Sorry" },
        key,
      );
    const answers = await Promise.allSettled(Array.from({ length: 10 }, ask));
    for (const one of answers) {
      if (one.status === "rejected") expect(one.reason).toMatchObject({ type: "IDEMPOTENCY_IN_FLIGHT" });
    }
    await stage.shop.settled();
    expect(await stage.refundsOf(order.orderId)).toHaveLength(1);
    expect(await stage.shop.get(order)).toMatchObject({ refunded: { amountMinor: 100 } });
  });

  it("by support, is done up to the limit and recorded; beyond it finance does it", async () => {
    const order = await stage.shop.placed("paid");
    const [support, finance] = (["support", "finance"] as const).map((role) => ({ id: newId(), role }));
    const ask = (who: object | undefined, amountMinor: number) =>
      stage.shop.as(who ?? {}, "orders.refund", {
        ...{ orderId: order.orderId, amount: { amountMinor, currency: "EUR" }, reason: "Cold" },
      });
    await ask(support, SUPPORT_REFUND_MAX_MINOR);
    await expect(ask(support, 1)).rejects.toMatchObject({ type: "REFUND_LIMIT", code: 403 });
    await ask(finance, 1);
    await eventually(async () =>
      expect(await stage.shop.get(order)).toMatchObject({
        refunded: { amountMinor: SUPPORT_REFUND_MAX_MINOR + 1 },
      }),
    );
    const acts = await stage.shop.sql<{ actor: string }>(
      "SELECT data ->> 'actorId' AS actor FROM outbox WHERE type = 'audit.recorded' AND subject = $1 ORDER BY id",
      [order.orderId],
    );
    expect(acts.map(({ actor }) => actor)).toEqual([support?.id, finance?.id]);
  });

  it("of an unpaid order, in another currency, or by another role, is refused", async () => {
    const order = await stage.shop.placed("pending");
    const ask = (who: object, amount?: { amountMinor: number; currency: string }) =>
      stage.shop.as(who, "orders.refund", { orderId: order.orderId, reason: "x", ...(amount && { amount }) });
    await expect(ask(stage.shop.admin)).rejects.toMatchObject({ type: "ILLEGAL_TRANSITION" });
    await expect(ask(order.customer)).rejects.toMatchObject({ type: "FORBIDDEN" });
    await stage.shop.paid(order.orderId);
    await expect(ask(stage.shop.admin, { amountMinor: 1, currency: "CHF" })).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
    });
  });
});
