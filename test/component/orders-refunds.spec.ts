import { describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { refundStage } from "../support/refunds.ts";

const stage = refundStage();
const dueNow = (orderId: string) =>
  stage.shop.sql("UPDATE refunds SET next_at = now() WHERE order_id = $1", [orderId]);
const posts = () => stage.bank.asked.filter((one) => one.startsWith("POST")).length;
const looksFor = (id: string) => stage.bank.asked.filter((one) => one === `GET /refunds/${id}`).length;

describe("a refund", () => {
  it("is requested once, and its end is recorded in the order, the messages and the view", async () => {
    const order = await stage.cancelled();
    await eventually(async () =>
      expect(await stage.shop.get(order)).toMatchObject({
        status: "cancelled",
        paymentStatus: "refunded",
        refunded: { amountMinor: 2950, currency: "EUR" },
      }),
    );
    const { id, attempts } = await stage.refundOf(order.orderId);
    expect([...stage.bank.done.keys()]).toContain(id);
    expect(attempts).toBe(1);
    await stage.shop.settled();
    for (const type of ["refund.requested", "refund.completed"] as const) {
      expect(stage.shop.saidOf(order.orderId, type)).toMatchObject([
        { data: { refundId: id, amount: { amountMinor: 2950, currency: "EUR" } } },
      ]);
    }
  });

  it("without a response, is looked up and not requested again", async () => {
    stage.bank.mood = "lost";
    const before = posts();
    const order = await stage.cancelled();
    await stage.inState(order.orderId, "unknown");
    const { id } = await stage.refundOf(order.orderId);
    expect(stage.bank.done.has(id)).toBe(true);
    expect(await stage.shop.get(order)).toMatchObject({ paymentStatus: "refund_pending" });
    stage.bank.mood = "well";
    await dueNow(order.orderId);
    await stage.inState(order.orderId, "completed");
    expect(posts() - before).toBe(1);
    expect(looksFor(id)).toBe(1);
  });

  it("that did not reach the bank, is looked up first, then requested with the same id", async () => {
    stage.bank.mood = "down";
    const order = await stage.cancelled();
    await stage.inState(order.orderId, "unknown");
    const { id } = await stage.refundOf(order.orderId);
    expect(stage.bank.done.has(id)).toBe(false);
    stage.bank.mood = "well";
    await dueNow(order.orderId);
    await stage.inState(order.orderId, "completed");
    expect(looksFor(id)).toBe(1);
    expect(stage.bank.done.has(id)).toBe(true);
  });

  it("whose worker was killed during the request, is looked up before the next request", async () => {
    const order = await stage.shop.placed("paid");
    stage.bank.mood = "down";
    await stage.shop.as(order.customer, "orders.cancel", { orderId: order.orderId });
    await stage.inState(order.orderId, "unknown");
    const { id } = await stage.refundOf(order.orderId);
    // As a killed process leaves it: sent, under a lease that is not renewed, and already completed at the stage.bank.
    stage.bank.done.set(id, { state: "completed" });
    await stage.shop.sql(
      "UPDATE refunds SET state = 'sent', lease_token = $2, next_at = now() WHERE id = $1",
      [id, newId()],
    );
    stage.bank.mood = "well";
    const before = posts();
    await stage.inState(order.orderId, "completed");
    expect(posts()).toBe(before);
  });

  it("that fails with a reason that has an emoji at the length limit and a NUL, is recorded as failed with a message", async () => {
    stage.bank.mood = "fails";
    stage.bank.reason = `closed\0${"x".repeat(192)}🍕 and more`;
    const order = await stage.cancelled();
    await stage.inState(order.orderId, "failed");
    const { id, error } = await stage.refundOf(order.orderId);
    expect(error).toBe(`closed ${"x".repeat(192)}…`);
    expect(await stage.shop.get(order)).toMatchObject({ paymentStatus: "refund_failed" });
    await stage.shop.settled();
    const [told] = stage.shop.saidOf(order.orderId, "alert.raised");
    expect(told?.data).toMatchObject({ kind: "refund.failed", subject: id });
  });

  it("that does not end, raises one alert, even if the worker is killed before the alert", async () => {
    stage.bank.mood = "down";
    const order = await stage.cancelled();
    await stage.inState(order.orderId, "unknown");
    const tried = async (attempts: number) => {
      await eventually(async () => expect((await stage.refundOf(order.orderId)).attempts).toBe(attempts));
      await stage.inState(order.orderId, "unknown");
    };
    const stuck = () => stage.shop.alerts(order.orderId).filter((kind) => kind === "refund.stuck");
    await stage.shop.sql("UPDATE refunds SET attempts = 8, next_at = now() WHERE order_id = $1", [
      order.orderId,
    ]);
    await tried(9);
    expect(stuck()).toEqual([]);
    // As a process leaves it that is killed at the tenth try: sent, under a lease that is over.
    await stage.shop.sql(
      "UPDATE refunds SET attempts = 10, state = 'sent', lease_token = $2, next_at = now() WHERE order_id = $1",
      [order.orderId, newId()],
    );
    await tried(11);
    await dueNow(order.orderId);
    await tried(12);
    stage.bank.mood = "well";
    await dueNow(order.orderId);
    await stage.inState(order.orderId, "completed");
    await stage.shop.settled();
    expect(stuck()).toEqual(["refund.stuck"]);
  });

  it("whose worker is killed at every attempt, raises an alert before the next attempt", async () => {
    stage.bank.mood = "down";
    const order = await stage.cancelled();
    await stage.inState(order.orderId, "unknown");
    stage.bank.mood = "hangs";
    const requests = stage.bank.asked.length;
    await stage.shop.sql("UPDATE refunds SET attempts = 10, next_at = now() WHERE order_id = $1", [
      order.orderId,
    ]);
    await eventually(() => expect(stage.shop.alerts(order.orderId)).toEqual(["refund.stuck"]));
    await eventually(() => expect(stage.bank.asked.length).toBeGreaterThan(requests));
    expect(await stage.refundOf(order.orderId)).toMatchObject({ state: "sent", attempts: 11 });
    stage.bank.mood = "well";
    stage.bank.letGo();
    await stage.inState(order.orderId, "unknown");
    await dueNow(order.orderId);
    await stage.inState(order.orderId, "completed");
    await stage.shop.settled();
    expect(stage.shop.alerts(order.orderId)).toEqual(["refund.stuck"]);
  });

  it("that the bank refuses, fails finally, returns its amount to the balance, and raises an alert; an operator can refund again", async () => {
    stage.bank.mood = "refuses";
    const order = await stage.cancelled();
    await stage.inState(order.orderId, "failed");
    expect(await stage.shop.get(order)).toMatchObject({
      status: "cancelled",
      paymentStatus: "refund_failed",
      refunded: { amountMinor: 0 },
    });
    await eventually(() => expect(stage.shop.alerts(order.orderId)).toEqual(["refund.failed"]));
    const { items } = await stage.shop.as(stage.shop.admin, "orders.stuck", { limit: 100 });
    expect(items.map(({ id }) => id)).toContain(order.orderId);

    stage.bank.mood = "well";
    const again = { orderId: order.orderId, reason: "Bank has mended its books" };
    await expect(stage.shop.as(stage.shop.admin, "orders.refund", again)).resolves.toMatchObject({
      paymentStatus: "refund_pending",
    });
    await eventually(async () =>
      expect(await stage.shop.get(order)).toMatchObject({
        paymentStatus: "refunded",
        refunded: { amountMinor: 2950 },
      }),
    );
    expect(await stage.refundsOf(order.orderId)).toMatchObject([{ state: "failed" }, { state: "completed" }]);
  });

  it("that is pending at the bank, is looked up later", async () => {
    stage.bank.mood = "slow";
    const order = await stage.cancelled();
    await eventually(async () =>
      expect(await stage.refundOf(order.orderId)).toMatchObject({
        state: "sent",
        error: "the bank is processing it",
      }),
    );
    stage.bank.finish();
    await dueNow(order.orderId);
    await stage.inState(order.orderId, "completed");
  });

  it("that the bank reports before its response, completes once", async () => {
    stage.bank.mood = "down";
    const order = await stage.cancelled();
    await stage.inState(order.orderId, "unknown");
    const { id } = await stage.refundOf(order.orderId);
    const data = {
      payment_id: "p",
      order_id: order.orderId,
      amount_minor: 2950,
      currency: "EUR",
      refund_id: id,
    };
    await stage.shop.report({ type: "refund.completed", data });
    await stage.shop.report({ type: "refund.completed", data });
    expect(await stage.shop.get(order)).toMatchObject({
      paymentStatus: "refunded",
      refunded: { amountMinor: 2950 },
    });
    await stage.shop.settled();
    expect(stage.shop.saidOf(order.orderId, "refund.completed")).toHaveLength(1);
  });

  it("that the bank reports without a request, raises an alert", async () => {
    const order = await stage.shop.placed("paid");
    for (const refundId of [newId(), "made-by-hand"]) {
      const data = {
        payment_id: "p",
        order_id: order.orderId,
        amount_minor: 5,
        currency: "EUR",
        refund_id: refundId,
      };
      await stage.shop.report({ type: "refund.completed", data });
      await eventually(() => {
        const details = stage.shop
          .saidOf(stage.shop.bankId, "alert.raised")
          .map(({ data }) => JSON.stringify(data));
        expect(
          details.filter((detail) => detail.includes("refund.unknown") && detail.includes(refundId)),
        ).toHaveLength(1);
      });
    }
    expect(await stage.shop.get(order)).toMatchObject({ refunded: { amountMinor: 0 } });
  });
});
