import { describe, expect, it } from "@jest/globals";
import type { Result } from "../../contracts/actions.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { refundStage } from "../support/refunds.ts";

const stage = refundStage();

type Unmatched = Result<"orders.listUnmatched">["items"][number];

/** A payment that names no order of ours, as the operators' list shows it. */
async function stray(amountMinor = 5000): Promise<Unmatched> {
  const paymentId = `pay_${newId()}`;
  await stage.shop.paid(newId(), amountMinor, { paymentId });
  return listed(paymentId);
}

async function listed(paymentId: string): Promise<Unmatched> {
  const found = (await all()).find((one) => one.paymentId === paymentId);
  if (!found) throw new Error("it is not listed");
  return found;
}

async function all(limit = 2): Promise<Unmatched[]> {
  const found: Unmatched[] = [];
  let cursor: string | undefined;
  do {
    const page = await stage.shop.as(stage.shop.admin, "orders.listUnmatched", {
      limit,
      ...(cursor && { cursor }),
    });
    found.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor);
  return found;
}

const refund = (receiptId: string, who: object = stage.shop.admin) =>
  stage.shop.as(who, "orders.refundPayment", { receiptId, reason: "Not ours" });
const assign = (receiptId: string, orderId: string) =>
  stage.shop.as(stage.shop.admin, "orders.assignPayment", { receiptId, orderId, reason: "By telephone" });
const retry = (refundId: string) =>
  stage.shop.as(stage.shop.admin, "orders.retryRefund", { refundId, reason: "The card works again" });
const stateOf = async (refundId: string) =>
  (await stage.shop.sql<{ state: string }>("SELECT state FROM refunds WHERE id = $1", [refundId]))[0]?.state;
const audited = (subject: string) =>
  stage.shop.sql<{ data: { action: string } }>(
    "SELECT data FROM outbox WHERE type = 'audit.recorded' AND subject = $1 ORDER BY id",
    [subject],
  );

describe("a payment that matches no order", () => {
  it("is listed with all others, page by page, even with equal times", async () => {
    const [fifty, many] = [await stray(5_000), await stray(99_900)];
    const ids = (await all()).map(({ id }) => id);
    expect(ids).toEqual(expect.arrayContaining([fifty.id, many.id]));
    expect(new Set(ids).size).toBe(ids.length);
    expect(many).toMatchObject({
      amount: { amountMinor: 99_900, currency: "EUR" },
      statedOrder: expect.any(String),
    });
    expect(many).not.toHaveProperty("refund");
    await stage.shop.settled();
    const told = stage.shop.saidOf(stage.shop.bankId, "alert.raised").map(({ data }) => data);
    for (const { paymentId } of [fifty, many]) {
      expect(told).toContainEqual(expect.objectContaining({ kind: "payment.unmatched", subject: paymentId }));
    }
  });

  it("that operators refund, is refunded once and leaves the list", async () => {
    const payment = await stray();
    const answers = await Promise.allSettled([refund(payment.id), refund(payment.id), refund(payment.id)]);
    const made = answers.filter((one) => one.status === "fulfilled");
    expect(made).toHaveLength(1);
    for (const one of answers) {
      if (one.status === "rejected") expect(one.reason).toMatchObject({ type: "PAYMENT_SETTLED", code: 409 });
    }
    const [{ value }] = made as [PromiseFulfilledResult<Result<"orders.refundPayment">>];
    await eventually(async () => expect(await stateOf(value.id)).toBe("completed"));
    expect(stage.bank.given.get(value.id)).toBe(5000);
    expect((await all()).map(({ id }) => id)).not.toContain(payment.id);
    expect((await audited(payment.id)).map(({ data }) => data.action)).toEqual(["orders.refundPayment"]);
    await expect(assign(payment.id, (await stage.shop.placed("pending")).orderId)).rejects.toMatchObject({
      type: "PAYMENT_SETTLED",
    });
  });

  it("whose refund fails, raises an alert, is listed with the refund, and is refunded by a retry", async () => {
    const payment = await stray();
    stage.bank.mood = "fails";
    stage.bank.reason = "closed account";
    const { id } = await refund(payment.id);
    await eventually(async () => expect(await stateOf(id)).toBe("failed"));
    expect((await listed(payment.paymentId)).refund).toEqual({
      id,
      state: "failed",
      error: "closed account",
    });
    await stage.shop.settled();
    expect(stage.shop.saidOf(stage.shop.bankId, "alert.raised").map(({ data }) => data)).toContainEqual(
      expect.objectContaining({ kind: "refund.failed", subject: id }),
    );
    stage.bank.mood = "well";
    const again = await retry(id);
    expect(again.id).not.toBe(id);
    expect((await retry(id)).id).toBe(again.id);
    await eventually(async () => expect(await stateOf(again.id)).toBe("completed"));
    expect(stage.bank.given.get(again.id)).toBe(5000);
  });

  it("that an operator assigns, counts as if the bank had named the order, and the excess is refunded", async () => {
    const [payment, order] = [await stray(4000), await stage.shop.placed("pending")];
    expect(await assign(payment.id, order.orderId)).toMatchObject({
      status: "paid",
      paid: { amountMinor: 4000 },
    });
    await eventually(async () =>
      expect(await stage.shop.get(order)).toMatchObject({ status: "paid", refunded: { amountMinor: 1050 } }),
    );
    const receipts = await stage.shop.sql("SELECT outcome, order_id FROM payment_receipts WHERE id = $1", [
      payment.id,
    ]);
    expect(receipts).toEqual([{ outcome: "overpaid", order_id: order.orderId }]);
    await expect(assign(payment.id, order.orderId)).rejects.toMatchObject({ type: "PAYMENT_SETTLED" });
    await expect(refund(payment.id)).rejects.toMatchObject({ type: "PAYMENT_SETTLED" });
    expect((await audited(payment.id)).map(({ data }) => data.action)).toEqual(["orders.assignPayment"]);
  });

  it("cannot be assigned to an order in another currency, or by another role", async () => {
    const paymentId = `pay_${newId()}`;
    await stage.shop.paid(newId(), 5000, { paymentId, currency: "CHF" });
    const [payment, order] = [await listed(paymentId), await stage.shop.placed("pending")];
    await expect(assign(payment.id, order.orderId)).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: { errors: [{ field: "orderId", rule: "currency" }] },
    });
    await expect(refund(payment.id, order.customer)).rejects.toMatchObject({ type: "FORBIDDEN" });
    await expect(refund(newId())).rejects.toMatchObject({ type: "NOT_FOUND" });
    expect(await stage.shop.get(order)).toMatchObject({ paymentStatus: "unpaid" });
  });
});

describe("a refund that failed", () => {
  it("of a payment in another currency than its order, is retried by its id", async () => {
    stage.bank.mood = "fails";
    const order = await stage.shop.placed("pending");
    await stage.shop.paid(order.orderId, 2950, { currency: "CHF" });
    await stage.inState(order.orderId, "failed");
    const { id } = await stage.refundOf(order.orderId);
    stage.bank.mood = "well";
    const again = await retry(id);
    await eventually(async () => expect(await stateOf(again.id)).toBe("completed"));
    expect(stage.bank.given.get(again.id)).toBe(2950);
    expect(await stage.shop.get(order)).toMatchObject({ status: "pending", paymentStatus: "unpaid" });
    await expect(retry(again.id)).rejects.toMatchObject({ type: "PAYMENT_SETTLED" });
  });

  it("of an order, is retried, and the order's sums are exact", async () => {
    stage.bank.mood = "fails";
    const order = await stage.cancelled();
    await stage.inState(order.orderId, "failed");
    const { id } = await stage.refundOf(order.orderId);
    expect(await stage.shop.get(order)).toMatchObject({ paymentStatus: "refund_failed" });
    // The bank is away, so that all three come while the new refund is under way.
    stage.bank.mood = "down";
    const answers = await Promise.all([retry(id), retry(id), retry(id)]);
    expect(new Set(answers.map((one) => one.id)).size).toBe(1);
    stage.bank.mood = "well";
    await eventually(async () =>
      expect(await stage.shop.get(order)).toMatchObject({
        paymentStatus: "refunded",
        refunded: { amountMinor: 2950 },
      }),
    );
    const sums = await stage.shop.sql(
      "SELECT refund_pending_minor::integer AS pending, refund_failed_minor::integer AS failed FROM orders WHERE id = $1",
      [order.orderId],
    );
    expect(sums).toEqual([{ pending: 0, failed: 0 }]);
    expect((await audited(id)).length).toBeGreaterThanOrEqual(1);
  });
});

describe("the disputes of payments", () => {
  it("are listed page by page, each once, the newest first", async () => {
    const { shop } = stage;
    const ids = Array.from({ length: 5 }, (_, index) => newId(Date.now() + index));
    for (const id of ids) {
      await shop.sql(
        `INSERT INTO disputes (id, bank_id, dispute_id, payment_id, amount_minor, currency, reason, state, withdrawn,
           reported_at)
         VALUES ($1::uuid, $2, $1::text, $1::text, 100, 'EUR', 'fraudulent', 'open', false, now())`,
        [id, shop.bankId],
      );
    }
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await shop.as(shop.admin, "orders.listDisputes", { limit: 2, ...(cursor && { cursor }) });
      expect(page.items.length).toBeLessThanOrEqual(2);
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor);
    expect(seen).toEqual(ids.toReversed());
  });
});
