import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { readGauges } from "../../mixins/health/health.mixin.ts";
import { ourBooks, payment, startBooks, type TestPayment } from "../support/bank-books.ts";
import { eventually } from "../support/eventually.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";

let shop: OrdersHarness;
let bank: Awaited<ReturnType<typeof startBooks>>;
let ours: ReturnType<typeof ourBooks>;
beforeAll(async () => {
  bank = await startBooks();
  shop = await startOrders({ bankUrl: bank.url });
  ours = ourBooks(shop);
});
beforeEach(() => {
  bank.up = true;
  bank.refunds = "refused";
  bank.meanwhile = async () => undefined;
});
afterAll(async () => {
  await shop.stop();
  bank.stop();
});

/** On a busy machine a request may be answered 503, for clients and banks alike. */
const confirmed = () => eventually(() => shop.confirmed());
const bankRow = async () =>
  (await shop.as(shop.admin, "orders.listBanks", {})).items.find(({ id }) => id === shop.bankId);

describe("a payment whose callback was lost", () => {
  it("is found by a poll of the bank, and has the same effect as its callback", async () => {
    const order = await confirmed();
    bank.books.set(order.orderId, [payment()]);
    await shop.lookDue(order.orderId);
    await eventually(async () =>
      expect(await shop.get(order)).toMatchObject({ status: "paid", paid: { amountMinor: 2950 } }),
    );
    await shop.settled();
    for (const type of ["payment.received", "order.paid"] as const) {
      expect(shop.saidOf(order.orderId, type)).toHaveLength(1);
    }
    expect(shop.alerts(order.orderId)).toEqual([]);
  });

  it("counts once if the callback arrives at the same time or later", async () => {
    const orders = await Promise.all(Array.from({ length: 8 }, () => confirmed()));
    const paid = orders.map(({ orderId }) => {
      const one = payment();
      bank.books.set(orderId, [one]);
      return { orderId, one };
    });
    await Promise.all(
      paid.flatMap(({ orderId, one }) => [
        shop.lookDue(orderId),
        ...[1, 2].map(() =>
          eventually(() => shop.paid(orderId, one.amount_minor, { paymentId: one.payment_id })),
        ),
      ]),
    );
    for (const { orderId, one } of paid) {
      await shop.paid(orderId, one.amount_minor, { paymentId: one.payment_id });
      expect(await ours.receipts(orderId)).toEqual([{ payment_id: one.payment_id }]);
    }
    await shop.settled();
    for (const order of orders) {
      expect(await shop.get(order)).toMatchObject({ status: "paid", version: 2 });
      expect(shop.saidOf(order.orderId, "order.paid")).toHaveLength(1);
    }
  });

  it("in part, adds to known payments; too late, is refunded", async () => {
    const [first, late] = [await confirmed(), await confirmed()];
    const known = payment({ amount_minor: 1000 });
    await shop.paid(first.orderId, 1000, { paymentId: known.payment_id });
    bank.books.set(first.orderId, [known, payment({ amount_minor: 1950 })]);
    await shop.lookDue(first.orderId);
    await eventually(async () => expect(await shop.get(first)).toMatchObject({ status: "paid" }));
    await shop.as(late.customer, "orders.cancel", { orderId: late.orderId });
    bank.books.set(late.orderId, [payment()]);
    await shop.lookDue(late.orderId);
    await eventually(async () =>
      expect(await shop.get(late)).toMatchObject({ status: "cancelled", paid: { amountMinor: 2950 } }),
    );
    const refunds = await shop.sql("SELECT reason FROM refunds WHERE order_id = $1", [late.orderId]);
    expect(refunds).toEqual([{ reason: "paid when it was cancelled" }]);
  });
});

describe("an unpaid order", () => {
  it("is polled with growing intervals, and not after a day", async () => {
    const order = await confirmed();
    const { nextAt = "", looks } = (await ours.diagnosis(order.orderId)) ?? {};
    expect(looks).toBe(0);
    expect((Date.parse(nextAt) - Date.now()) / 60_000).toBeGreaterThan(1.5);
    await ours.look(order.orderId, 3);
    const second = await ours.diagnosis(order.orderId);
    expect(second).toMatchObject({ looks: 1, answeredAt: expect.any(String) });
    expect((Date.parse(second?.nextAt ?? "") - Date.now()) / 60_000).toBeLessThan(2.1);
    await ours.look(order.orderId, 25 * 60);
    expect(await ours.diagnosis(order.orderId)).not.toHaveProperty("nextAt");
  });
});

describe("a paid order", () => {
  it.each(["paid", "preparing", "ready", "delivering"] as const)(
    "and %s, and is paid again without a report: the second payment is booked and refunded like a reported one",
    async (status) => {
      bank.refunds = "completed";
      const [told, unheard] = await Promise.all([shop.placed(status), shop.placed(status)]);
      await shop.paid(told.orderId);
      const [first] = await ours.receipts(unheard.orderId);
      const second = payment();
      bank.books.set(unheard.orderId, [payment(first), second]);
      await ours.look(unheard.orderId);
      await shop.settled();
      const expected = { status, paid: { amountMinor: 5900 }, refunded: { amountMinor: 2950 } };
      expect(await ours.moneyOf(told)).toMatchObject(expected);
      expect(await ours.moneyOf(unheard)).toEqual(await ours.moneyOf(told));
      // Its report comes after all, and the bank is asked once more.
      await shop.paid(unheard.orderId, 2950, { paymentId: second.payment_id });
      bank.books.set(unheard.orderId, [payment(first), { ...second, refunded_minor: 2950 }]);
      await ours.look(unheard.orderId);
      await shop.settled();
      expect(await ours.moneyOf(unheard)).toEqual(await ours.moneyOf(told));
      expect(shop.alerts(unheard.orderId)).toEqual([]);
    },
  );

  it("is polled half an hour and a day after its payment, and not later", async () => {
    const { orderId } = await shop.placed("paid");
    const [first] = await ours.receipts(orderId);
    bank.books.set(orderId, [payment(first)]);
    const nextOf = { 0: 30, 29: 30, 30: 1440, 1439: 1440, 1440: undefined };
    for (const [minutes, next] of Object.entries(nextOf)) {
      if (minutes !== "0") {
        await ours.paidAgo(orderId, Number(minutes));
        await ours.look(orderId);
      }
      expect([minutes, await ours.nextAfter(orderId)]).toEqual([minutes, next]);
    }
    expect(await ours.diagnosis(orderId)).toMatchObject({ looks: 4, answeredAt: expect.any(String) });
    expect(await ours.diagnosis(orderId)).not.toHaveProperty("nextAt");
  });

  it("that becomes paid during its poll or by it, has its next poll half an hour later", async () => {
    const [reported, found] = [await confirmed(), await confirmed()];
    const one = payment();
    bank.books.set(reported.orderId, [one]);
    bank.books.set(found.orderId, [payment()]);
    bank.meanwhile = async (orderId) => {
      if (orderId === reported.orderId) await shop.paid(orderId, 2950, { paymentId: one.payment_id });
    };
    for (const order of [reported, found]) {
      await ours.look(order.orderId);
      expect(await shop.get(order)).toMatchObject({ status: "paid" });
      expect(await ours.nextAfter(order.orderId)).toBe(30);
    }
  });

  it("that was paid before polls of paid orders existed, is not polled", async () => {
    const [old, other] = [await shop.placed("paid"), await confirmed()];
    await shop.sql("UPDATE orders SET paid_at = NULL WHERE id = $1", [old.orderId]);
    await shop.lookDue(old.orderId);
    await ours.look(other.orderId);
    expect(bank.asked).not.toContain(old.orderId);
    expect(await ours.diagnosis(old.orderId)).not.toHaveProperty("nextAt");
  });
});

describe("differences between the bank and the platform", () => {
  it.each<[string, string, (known: TestPayment) => TestPayment[]]>([
    [
      "the bank made a refund without a request",
      "refund.difference",
      (one) => [{ ...one, refunded_minor: 500 }],
    ],
    ["the bank does not know a payment any more", "payment.missing", () => []],
    [
      "the bank calls a payment another amount",
      "payment.contradiction",
      (one) => [{ ...one, amount_minor: 999 }],
    ],
  ])("%s: one alert and no other effect", async (_, kind, theirs) => {
    const order = await confirmed();
    const known = payment({ amount_minor: 1000 });
    await shop.paid(order.orderId, 1000, { paymentId: known.payment_id });
    await shop.sql("UPDATE payment_receipts SET created_at = now() - interval '1 hour' WHERE order_id = $1", [
      order.orderId,
    ]);
    bank.books.set(order.orderId, theirs(known));
    const told = () =>
      [...shop.saidOf(order.orderId, "alert.raised"), ...shop.saidOf(shop.bankId, "alert.raised")].filter(
        ({ data }) => (data as { kind: string }).kind === kind,
      );
    const before = told().length;
    await ours.look(order.orderId);
    await ours.look(order.orderId);
    await shop.settled();
    await eventually(() => expect(told().length - before).toBe(1));
    expect(await shop.get(order)).toMatchObject({ status: "pending", paid: { amountMinor: 1000 } });
  });

  /** A cancelled order whose refund is on its way, its answer lost. */
  async function refunding() {
    const order = await confirmed();
    const known = payment();
    await shop.paid(order.orderId, 2950, { paymentId: known.payment_id });
    bank.refunds = "lost";
    await shop.as(order.customer, "orders.cancel", { orderId: order.orderId });
    let refundId = "";
    await eventually(async () => {
      const held = await shop.sql<{ id: string }>(
        `UPDATE refunds SET next_at = now() + interval '1 hour'
         WHERE order_id = $1 AND state = 'unknown' AND lease_token IS NULL RETURNING id`,
        [order.orderId],
      );
      expect(held).toHaveLength(1);
      refundId = held[0]?.id ?? "";
    });
    const completes = async () => {
      const { payment_id, amount_minor, currency } = known;
      const data = { payment_id, amount_minor, currency, order_id: order.orderId, refund_id: refundId };
      await shop.report({ type: "refund.completed", data });
    };
    return { ...order, known, completes };
  }
  const differences = (orderId: string) =>
    shop.alerts(orderId).filter((kind) => kind === "refund.difference");

  it("a pending refund is no difference", async () => {
    const order = await refunding();
    for (const refunded of [0, 2950]) {
      bank.books.set(order.orderId, [{ ...order.known, refunded_minor: refunded }]);
      await ours.look(order.orderId);
    }
    expect(differences(order.orderId)).toEqual([]);
    await order.completes();
  });

  it("a refund that ends between the bank's response and its processing, is no difference", async () => {
    const order = await refunding();
    bank.books.set(order.orderId, [order.known]);
    bank.meanwhile = async (orderId) => {
      if (orderId === order.orderId) await order.completes();
    };
    await ours.look(order.orderId);
    await shop.settled();
    expect(shop.saidOf(order.orderId, "refund.completed")).toHaveLength(1);
    expect(differences(order.orderId)).toEqual([]);
    // Payments completed before the poll must be in the bank's books.
    bank.meanwhile = async () => undefined;
    await ours.look(order.orderId);
    await shop.settled();
    await eventually(() => expect(differences(order.orderId)).toEqual(["refund.difference"]));
  });
});

describe("an order whose poll fails at the bank", () => {
  const nextLook = async (orderId: string) => (await ours.diagnosis(orderId))?.nextAt ?? "";
  const dueAgain = (orderId: string) =>
    shop.sql("UPDATE orders SET reconcile_at = now() WHERE id = $1", [orderId]);

  it("with an invalid response, keeps its schedule, raises one alert, and does not stop polls of other orders", async () => {
    const order = await confirmed();
    bank.books.set(order.orderId, [payment({ amount_minor: 29.5 })]);
    for (let time = 0; time < 2; time++) {
      await ours.look(order.orderId);
      expect((Date.parse(await nextLook(order.orderId)) - Date.now()) / 60_000).toBeGreaterThan(1);
    }
    expect(await ours.diagnosis(order.orderId)).toMatchObject({ error: "a payment cannot be read" });
    await shop.settled();
    expect(new Set(shop.alerts(order.orderId))).toEqual(new Set(["payment.unreadable"]));
    expect((await bankRow())?.contact).not.toHaveProperty("silentSince");
  });

  it("with a refusal of the bank, keeps its schedule without an alert, and does not stop polls of other orders", async () => {
    const order = await confirmed();
    bank.refusesList.add(order.orderId);
    await ours.look(order.orderId);
    expect((Date.parse(await nextLook(order.orderId)) - Date.now()) / 60_000).toBeGreaterThan(1);
    expect(await ours.diagnosis(order.orderId)).toMatchObject({ error: expect.stringContaining("422") });
    await shop.settled();
    expect(shop.alerts(order.orderId)).toEqual([]);
    expect((await bankRow())?.contact).not.toHaveProperty("silentSince");
  });

  it("without a response for this order only, does not stop polls of other orders", async () => {
    const [alone, other] = [await confirmed(), await confirmed()];
    bank.deafTo.add(alone.orderId);
    await dueAgain(alone.orderId);
    await eventually(async () =>
      expect(await bankRow()).toMatchObject({ contact: { silentSince: expect.any(String) } }),
    );
    await shop.sql("UPDATE bank_contacts SET retry_at = now()");
    await ours.look(other.orderId);
    await dueAgain(alone.orderId);
    await eventually(() => expect(shop.alerts(alone.orderId)).toEqual(["payment.unreadable"]));
    expect((Date.parse(await nextLook(alone.orderId)) - Date.now()) / 60_000).toBeGreaterThan(1);
    expect((await bankRow())?.contact).not.toHaveProperty("silentSince");
  });

  it("without a response while the bank answers about another order, leaves the bank as one that answers", async () => {
    const [alone, other] = [await confirmed(), await confirmed()];
    bank.deafTo.add(alone.orderId);
    bank.books.set(other.orderId, [payment()]);
    // No other poll says that the bank answers, and one round of polls takes both.
    await shop.sql(
      "UPDATE orders SET reconcile_at = now() + interval '1 day' WHERE reconcile_at IS NOT NULL",
    );
    await shop.sql("UPDATE bank_contacts SET answered_at = 'epoch'");
    await shop.sql("UPDATE orders SET reconcile_at = now() WHERE id = ANY ($1)", [
      [alone.orderId, other.orderId],
    ]);
    await eventually(async () => expect(await shop.get(other)).toMatchObject({ status: "paid" }));
    await eventually(async () =>
      expect(await ours.diagnosis(alone.orderId)).toMatchObject({ error: expect.any(String) }),
    );
    await eventually(async () =>
      expect(
        await shop.sql("SELECT failures, silent_since FROM bank_contacts WHERE answered_at > 'epoch'"),
      ).toEqual([{ failures: 0, silent_since: null }]),
    );
  });

  it("with an unreadable row of ours, does not stop polls of other orders", async () => {
    const [broken, other] = [await confirmed(), await confirmed()];
    await shop.paid(broken.orderId, 100);
    await shop.sql("ALTER TABLE payment_receipts DROP CONSTRAINT payment_receipts_sums_bounded");
    await shop.sql("UPDATE payment_receipts SET amount_minor = 9007199254740993 WHERE order_id = $1", [
      broken.orderId,
    ]);
    const [receipt] = await ours.receipts(broken.orderId);
    bank.books.set(broken.orderId, [payment({ ...receipt, amount_minor: 100 })]);
    bank.books.set(other.orderId, [payment()]);
    await Promise.all([shop.lookDue(broken.orderId), shop.lookDue(other.orderId)]);
    await eventually(async () => expect(await shop.get(other)).toMatchObject({ status: "paid" }));
    expect((await bankRow())?.contact).not.toHaveProperty("silentSince");
  });
});

describe("the gauges of orders", () => {
  const figures = async (name: string) =>
    (await readGauges(shop.orders)).find((gauge) => gauge.name === name)?.figures;

  it("count the open orders by state, and the overdue polls", async () => {
    const pending = async () => ((await figures("orders_open")) as Record<string, number>).pending ?? 0;
    const [open, late] = [await pending(), await figures("reconciliation_overdue")];
    const [first, second] = [await confirmed(), await confirmed()];
    expect(await pending()).toBe(open + 2);
    await shop.as(second.customer, "orders.cancel", { orderId: second.orderId });
    expect(await pending()).toBe(open + 1);
    expect(await figures("orders_open")).not.toHaveProperty("cancelled");
    // Its bank is not polled now.
    await shop.sql(
      `INSERT INTO bank_contacts (bank_id, failures, silent_since, retry_at)
       VALUES ($1, 1, now(), now() + interval '1 hour')
       ON CONFLICT (bank_id) DO UPDATE SET failures = 1, silent_since = now(), retry_at = excluded.retry_at`,
      [shop.bankId],
    );
    const lateBy = (seconds: number) =>
      shop.sql("UPDATE orders SET reconcile_at = now() - $2 * interval '1 second' WHERE id = $1", [
        ...[first.orderId, seconds],
      ]);
    await lateBy(30);
    expect(await figures("reconciliation_overdue")).toBe(late);
    await lateBy(90);
    expect(await figures("reconciliation_overdue")).toBe((late as number) + 1);
    await shop.as(first.customer, "orders.cancel", { orderId: first.orderId });
    await shop.sql("DELETE FROM bank_contacts");
  });
});

describe("a bank that does not answer", () => {
  it("is polled less and less often, is shown to operators, raises one alert, and is polled as usual once it responds", async () => {
    const orders = await Promise.all(Array.from({ length: 6 }, () => confirmed()));
    const failuresAre = (sql: string) =>
      eventually(async () => {
        const [row] = await shop.sql(`SELECT 1 FROM bank_contacts WHERE ${sql}`);
        expect(row).toBeDefined();
      });
    // Other orders may have waited without an answer since before the bank's last one: they are isolated, and the poll
    // goes on with the next order.
    const again = async () => {
      await shop.sql("UPDATE orders SET reconcile_at = now() WHERE id = ANY($1)", [
        orders.map(({ orderId }) => orderId),
      ]);
      await shop.sql("UPDATE bank_contacts SET retry_at = now() WHERE bank_id = $1", [shop.bankId]);
    };
    bank.up = false;
    await shop.sql("UPDATE orders SET reconcile_at = NULL WHERE NOT id = ANY($1)", [
      orders.map(({ orderId }) => orderId),
    ]);
    for (const { orderId } of orders) bank.books.set(orderId, [payment()]);
    await Promise.all(orders.map(({ orderId }) => shop.lookDue(orderId)));
    await failuresAre("failures = 1 AND retry_at > now()");
    const view = await bankRow();
    expect(view).toMatchObject({ contact: { silentSince: expect.any(String), error: expect.any(String) } });
    const [customer] = orders;
    const seen = await shop.as(customer?.customer ?? {}, "orders.listBanks", {});
    expect(JSON.stringify(seen)).not.toContain("silent");
    // No poll happens before its time. Then one poll asks about one order.
    const asked = bank.asked.length;
    await again();
    await failuresAre("failures = 2");
    expect(bank.asked.length - asked).toBe(1);
    expect(shop.alerts(shop.bankId)).not.toContain("bank.silent");
    await shop.sql("UPDATE bank_contacts SET silent_since = now() - interval '11 minutes'");
    for (const times of [3, 4]) {
      await again();
      await failuresAre(`failures = ${times}`);
    }
    await eventually(() =>
      expect(shop.alerts(shop.bankId).filter((kind) => kind === "bank.silent")).toHaveLength(1),
    );
    bank.up = true;
    await again();
    for (const order of orders) {
      await eventually(async () => expect(await shop.get(order)).toMatchObject({ status: "paid" }));
    }
    await failuresAre("failures = 0 AND silent_since IS NULL");
  });
});
