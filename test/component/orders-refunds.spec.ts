import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { startMoodyBank } from "../support/moody-bank.ts";
import { API_KEY, type OrdersHarness, startOrders, WEBHOOK_SECRET } from "../support/orders-service.ts";

let shop: OrdersHarness;
let bank: Awaited<ReturnType<typeof startMoodyBank>>;
beforeAll(async () => {
  bank = await startMoodyBank();
  shop = await startOrders({ bankUrl: bank.url });
});
beforeEach(() => {
  bank.mood = "well";
});
afterAll(async () => {
  await shop.stop();
  await bank.stop();
});

/** A paid order that its customer cancels, so that all goes back. */
async function cancelled() {
  const order = await shop.placed("paid");
  await shop.as(order.customer, "orders.cancel", { orderId: order.orderId, reason: "Too late" });
  return order;
}
interface RefundRow {
  id: string;
  state: string;
  attempts: number;
  error: string | null;
}
const refundsOf = (orderId: string) =>
  shop.sql<RefundRow>(
    "SELECT id, state, attempts, error FROM refunds WHERE order_id = $1 ORDER BY created_at",
    [orderId],
  );
const refundOf = async (orderId: string) => (await refundsOf(orderId))[0] as RefundRow;
const dueNow = (orderId: string) =>
  shop.sql("UPDATE refunds SET next_at = now() WHERE order_id = $1", [orderId]);
const inState = (orderId: string, state: string) =>
  eventually(async () => expect(await refundOf(orderId)).toMatchObject({ state }));
const posts = () => bank.asked.filter((one) => one.startsWith("POST")).length;
const looksFor = (id: string) => bank.asked.filter((one) => one === `GET /refunds/${id}`).length;

describe("a refund", () => {
  it("is asked for once, and its end stands in the order, in the messages and in the view", async () => {
    const order = await cancelled();
    await eventually(async () =>
      expect(await shop.get(order)).toMatchObject({
        status: "cancelled",
        paymentStatus: "refunded",
        refunded: { amountMinor: 2950, currency: "EUR" },
      }),
    );
    const { id, attempts } = await refundOf(order.orderId);
    expect([...bank.done.keys()]).toContain(id);
    expect(attempts).toBe(1);
    await shop.settled();
    for (const type of ["refund.requested", "refund.completed"] as const) {
      expect(shop.saidOf(order.orderId, type)).toMatchObject([
        { data: { refundId: id, amount: { amountMinor: 2950, currency: "EUR" } } },
      ]);
    }
  });

  it("whose answer was lost, is looked up and not asked for again", async () => {
    bank.mood = "lost";
    const before = posts();
    const order = await cancelled();
    await inState(order.orderId, "unknown");
    const { id } = await refundOf(order.orderId);
    expect(bank.done.has(id)).toBe(true);
    expect(await shop.get(order)).toMatchObject({ paymentStatus: "refund_pending" });
    bank.mood = "well";
    await dueNow(order.orderId);
    await inState(order.orderId, "completed");
    expect(posts() - before).toBe(1);
    expect(looksFor(id)).toBe(1);
  });

  it("that never reached the bank, is looked up first and asked for with the same id", async () => {
    bank.mood = "down";
    const order = await cancelled();
    await inState(order.orderId, "unknown");
    const { id } = await refundOf(order.orderId);
    expect(bank.done.has(id)).toBe(false);
    bank.mood = "well";
    await dueNow(order.orderId);
    await inState(order.orderId, "completed");
    expect(looksFor(id)).toBe(1);
    expect(bank.done.has(id)).toBe(true);
  });

  it("whose sender was killed on the way, is looked up by the next one before anything is repeated", async () => {
    const order = await shop.placed("paid");
    bank.mood = "down";
    await shop.as(order.customer, "orders.cancel", { orderId: order.orderId });
    await inState(order.orderId, "unknown");
    const { id } = await refundOf(order.orderId);
    // As a killed process leaves it: sent, under a lease that nobody renews, and in truth done at the bank.
    bank.done.set(id, { state: "completed" });
    await shop.sql("UPDATE refunds SET state = 'sent', lease_token = $2, next_at = now() WHERE id = $1", [
      id,
      newId(),
    ]);
    bank.mood = "well";
    const before = posts();
    await inState(order.orderId, "completed");
    expect(posts()).toBe(before);
  });

  it("that does not end, calls an operator once, also when the try that should have told was killed", async () => {
    bank.mood = "down";
    const order = await cancelled();
    await inState(order.orderId, "unknown");
    const tried = async (attempts: number) => {
      await eventually(async () => expect((await refundOf(order.orderId)).attempts).toBe(attempts));
      await inState(order.orderId, "unknown");
    };
    const stuck = () => shop.alerts(order.orderId).filter((kind) => kind === "refund.stuck");
    await shop.sql("UPDATE refunds SET attempts = 8, next_at = now() WHERE order_id = $1", [order.orderId]);
    await tried(9);
    expect(stuck()).toEqual([]);
    // As a process leaves it that is killed at the tenth try: sent, under a lease that is over.
    await shop.sql(
      "UPDATE refunds SET attempts = 10, state = 'sent', lease_token = $2, next_at = now() WHERE order_id = $1",
      [order.orderId, newId()],
    );
    await tried(11);
    await dueNow(order.orderId);
    await tried(12);
    bank.mood = "well";
    await dueNow(order.orderId);
    await inState(order.orderId, "completed");
    await shop.settled();
    expect(stuck()).toEqual(["refund.stuck"]);
  });

  it("whose every try is killed, calls an operator before it is tried once more", async () => {
    bank.mood = "down";
    const order = await cancelled();
    await inState(order.orderId, "unknown");
    bank.mood = "hangs";
    await shop.sql("UPDATE refunds SET attempts = 10, next_at = now() WHERE order_id = $1", [order.orderId]);
    await eventually(() => expect(shop.alerts(order.orderId)).toEqual(["refund.stuck"]));
    expect(await refundOf(order.orderId)).toMatchObject({ state: "sent", attempts: 11 });
    bank.mood = "well";
    bank.letGo();
    await inState(order.orderId, "unknown");
    await dueNow(order.orderId);
    await inState(order.orderId, "completed");
    await shop.settled();
    expect(shop.alerts(order.orderId)).toEqual(["refund.stuck"]);
  });

  it("that the bank refuses, fails for good, frees its money and calls an operator, who can ask again", async () => {
    bank.mood = "refuses";
    const order = await cancelled();
    await inState(order.orderId, "failed");
    expect(await shop.get(order)).toMatchObject({
      status: "cancelled",
      paymentStatus: "refund_failed",
      refunded: { amountMinor: 0 },
    });
    await eventually(() => expect(shop.alerts(order.orderId)).toEqual(["refund.failed"]));
    const { items } = await shop.as(shop.admin, "orders.stuck", { limit: 100 });
    expect(items.map(({ id }) => id)).toContain(order.orderId);

    bank.mood = "well";
    const again = { orderId: order.orderId, reason: "Bank has mended its books" };
    await expect(shop.as(shop.admin, "orders.refund", again)).resolves.toMatchObject({
      paymentStatus: "refund_pending",
    });
    await eventually(async () =>
      expect(await shop.get(order)).toMatchObject({
        paymentStatus: "refunded",
        refunded: { amountMinor: 2950 },
      }),
    );
    expect(await refundsOf(order.orderId)).toMatchObject([{ state: "failed" }, { state: "completed" }]);
  });

  it("that the bank takes its time for, waits and is looked up", async () => {
    bank.mood = "slow";
    const order = await cancelled();
    await eventually(async () =>
      expect(await refundOf(order.orderId)).toMatchObject({ state: "sent", error: "the bank is at it" }),
    );
    bank.finish();
    await dueNow(order.orderId);
    await inState(order.orderId, "completed");
  });

  it("that the bank reports before it answers, is done once", async () => {
    bank.mood = "down";
    const order = await cancelled();
    await inState(order.orderId, "unknown");
    const { id } = await refundOf(order.orderId);
    const data = {
      payment_id: "p",
      order_id: order.orderId,
      amount_minor: 2950,
      currency: "EUR",
      refund_id: id,
    };
    await shop.report({ type: "refund.completed", data });
    await shop.report({ type: "refund.completed", data });
    expect(await shop.get(order)).toMatchObject({
      paymentStatus: "refunded",
      refunded: { amountMinor: 2950 },
    });
    await shop.settled();
    expect(shop.saidOf(order.orderId, "refund.completed")).toHaveLength(1);
  });

  it("that the bank reports and nobody asked for, calls an operator", async () => {
    const order = await shop.placed("paid");
    for (const refundId of [newId(), "made-by-hand"]) {
      const data = {
        payment_id: "p",
        order_id: order.orderId,
        amount_minor: 5,
        currency: "EUR",
        refund_id: refundId,
      };
      await shop.report({ type: "refund.completed", data });
      await eventually(() => {
        const details = shop.saidOf(shop.bankId, "alert.raised").map(({ data }) => JSON.stringify(data));
        expect(
          details.filter((detail) => detail.includes("refund.unknown") && detail.includes(refundId)),
        ).toHaveLength(1);
      });
    }
    expect(await shop.get(order)).toMatchObject({ refunded: { amountMinor: 0 } });
  });
});

describe("a bank that hangs", () => {
  it("holds up no refund of another bank, not even one that is asked for after its own", async () => {
    const other = await startMoodyBank();
    const { id: otherId } = await shop.as(shop.admin, "orders.createBank", {
      title: "Another bank",
      adapter: "sandbox",
      settings: { apiKey: API_KEY, webhookSecret: WEBHOOK_SECRET },
      webcheckoutUrl: other.url,
      active: true,
    });
    const there = await shop.confirmed({}, otherId);
    const data = {
      payment_id: `pay_${newId()}`,
      order_id: there.orderId,
      amount_minor: 2950,
      currency: "EUR",
    };
    await shop.report({ data }, { bankId: otherId });
    bank.mood = "hangs";
    const hanging = await cancelled();
    const { id } = await refundOf(hanging.orderId);
    await eventually(() => expect(bank.asked.at(-1)).toBe("POST /refunds"));
    await shop.as(there.customer, "orders.cancel", { orderId: there.orderId });
    await inState(there.orderId, "completed");
    // Under its first lease still: nobody has waited for it.
    const [held] = await shop.sql("SELECT id, state, attempts FROM refunds WHERE lease_token IS NOT NULL");
    expect(held).toEqual({ id, state: "sent", attempts: 1 });
    bank.mood = "well";
    bank.letGo();
    await inState(hanging.orderId, "completed");
    await other.stop();
  });
});

describe("orders.refund", () => {
  it("of a part, then of the rest, sends exactly so much back and no more", async () => {
    const order = await shop.placed("paid");
    const part = { amountMinor: 950, currency: "EUR" };
    await shop.as(shop.admin, "orders.refund", { orderId: order.orderId, amount: part, reason: "Cold" });
    await eventually(async () =>
      expect(await shop.get(order)).toMatchObject({ status: "paid", paymentStatus: "partially_refunded" }),
    );
    const tooMuch = { amountMinor: 2001, currency: "EUR" };
    await expect(
      shop.as(shop.admin, "orders.refund", { orderId: order.orderId, amount: tooMuch, reason: "Cold" }),
    ).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: { errors: [{ field: "amount.amountMinor" }] },
    });
    await shop.as(shop.admin, "orders.refund", { orderId: order.orderId, reason: "All of it" });
    await eventually(async () =>
      expect(await shop.get(order)).toMatchObject({
        paymentStatus: "refunded",
        refunded: { amountMinor: 2950 },
      }),
    );
  });

  it("ten times at once under one key, sends it back once", async () => {
    const order = await shop.placed("paid");
    const key = { key: newId(), bodyHash: "e".repeat(64) };
    const ask = () =>
      shop.as(
        shop.admin,
        "orders.refund",
        { orderId: order.orderId, amount: { amountMinor: 100, currency: "EUR" }, reason: "Sorry" },
        key,
      );
    const answers = await Promise.allSettled(Array.from({ length: 10 }, ask));
    for (const one of answers) {
      if (one.status === "rejected") expect(one.reason).toMatchObject({ type: "IDEMPOTENCY_IN_FLIGHT" });
    }
    await shop.settled();
    expect(await refundsOf(order.orderId)).toHaveLength(1);
    expect(await shop.get(order)).toMatchObject({ refunded: { amountMinor: 100 } });
  });

  it("of an unpaid order, in another currency, or by somebody else, is refused", async () => {
    const order = await shop.placed("pending");
    const ask = (who: object, amount?: { amountMinor: number; currency: string }) =>
      shop.as(who, "orders.refund", { orderId: order.orderId, reason: "x", ...(amount && { amount }) });
    await expect(ask(shop.admin)).rejects.toMatchObject({ type: "ILLEGAL_TRANSITION" });
    await expect(ask(order.customer)).rejects.toMatchObject({ type: "FORBIDDEN" });
    await shop.paid(order.orderId);
    await expect(ask(shop.admin, { amountMinor: 1, currency: "CHF" })).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
    });
  });
});
