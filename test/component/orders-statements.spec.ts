import { beforeAll, describe, expect, it, jest } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Db, rows } from "../../lib/sql/database.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { banks } from "../../services/orders/actions/banks.ts";
import { confirm } from "../../services/orders/domain/order-customer.ts";
import type { Actor, Order } from "../../services/orders/domain/order-model.ts";
import {
  admissionOf,
  endSilentDuties,
  savePositions,
} from "../../services/orders/store/couriers.repository.ts";
import * as erasure from "../../services/orders/store/erasure.repository.ts";
import * as former from "../../services/orders/store/former-deliverers.repository.ts";
import { findOrder, insertOrder } from "../../services/orders/store/orders.repository.ts";
import { endRefund, insertRefunds, refundsOf } from "../../services/orders/store/payments.repository.ts";
import { saveDecision } from "../../services/orders/store/unit-of-work.ts";
import { shownOrderReader } from "../../services/orders/use-cases/shown-orders.ts";
import { endForgottenDuties } from "../../services/orders/workers/duties.ts";
import { sampleQuote } from "../support/orders.ts";
import { statementsOf } from "../support/statements.ts";
import { at, statementDatabase } from "../support/still-transaction.ts";

/* The statements of Orders by themselves: other rows beside the ones that they name, and times to the moment. */

const CUSTOMER: Actor = { kind: "customer", name: "Ada" };

const statements = statementDatabase("orders", 4);
const { still } = statements;
const bankId = newId();
beforeAll(async () => {
  await statements.db.query(
    `INSERT INTO banks (id, title, adapter, settings, webcheckout_url, active)
     VALUES (?, 'Bank', 'sandbox', '', '', true)`,
    [bankId],
  );
});

/** A new order of a new customer. */
async function placed(trx: Db): Promise<Order> {
  const customer = { id: newId(), name: "Ada Byron", phone: "+41790000000" };
  const decision = confirm(sampleQuote({ checkId: newId() }), customer, bankId, CUSTOMER, Date.now());
  await insertOrder(trx, decision, "[]");
  return decision.next;
}

const ended = (trx: Db, { id }: Order) =>
  trx.query("UPDATE orders SET status = 'cancelled', deadline_at = NULL, closed_at = now() WHERE id = ?", [
    id,
  ]);
const delivering = (trx: Db, { id }: Order, delivererId: string) =>
  trx.query(
    "UPDATE orders SET status = 'delivering', deliverer_id = ?, paid_minor = total_minor, payment_status = 'paid' WHERE id = ?",
    [delivererId, id],
  );

describe("the erasure of a customer", () => {
  it("takes the ended orders of erased customers, each once, and none of others or still open", async () => {
    await still(async (trx) => {
      const [due, open, foreign] = [await placed(trx), await placed(trx), await placed(trx)];
      for (const order of [due, foreign]) await ended(trx, order);
      for (const { customer } of [due, open, due]) await erasure.insertErasedCustomer(trx, customer.id);
      expect(await erasure.dueErasures(trx, 10, [])).toEqual([due.id]);
      expect(await erasure.dueErasures(trx, 10, [due.id])).toEqual([]);
      await erasure.eraseOrders(trx, [due.id]);
      expect(await erasure.dueErasures(trx, 10, [])).toEqual([]);
    });
  });

  it("takes name, phone, address, note and position of these orders, and leaves those beside and those still open", async () => {
    await still(async (trx) => {
      const [due, open, beside] = [await placed(trx), await placed(trx), await placed(trx)];
      for (const order of [due, open, beside]) {
        await delivering(trx, order, newId());
        await trx.query(
          "INSERT INTO order_positions (order_id, latitude, longitude, reported_at) VALUES (?, 1, 2, now())",
          [order.id],
        );
      }
      for (const order of [due, beside]) await ended(trx, order);
      await erasure.eraseOrders(trx, [due.id, open.id]);
      const left = await rows(
        trx,
        `SELECT o.id, customer_name AS name, customer_phone AS phone, address ->> 'line1' AS line1, version,
           erased_at = now() AS erased, p.order_id IS NOT NULL AS positioned
         FROM orders o LEFT JOIN order_positions p ON p.order_id = o.id ORDER BY o.created_at, o.id`,
      );
      const whole = { name: "Ada Byron", phone: "+41790000000", line1: due.address.line1, version: 1 };
      expect(left).toHaveLength(3);
      expect(left).toEqual(
        expect.arrayContaining([
          { id: due.id, name: "Erased", line1: "Erased", version: 2, erased: true, positioned: false },
          { id: open.id, ...whole, positioned: true },
          { id: beside.id, ...whole, positioned: true },
        ]),
      );
      // A second time changes nothing.
      await erasure.eraseOrders(trx, [due.id]);
      expect(await findOrder(trx, due.id, { role: "anybody" })).toMatchObject({ order: { version: 2 } });
    });
  });

  it("takes the customer's stored answers and no other's", async () => {
    await still(async (trx) => {
      const [gone, stays] = [newId(), newId()];
      for (const user of [gone, stays]) {
        await trx.query(
          `INSERT INTO idempotency_keys (user_id, key, scope, body_hash, answer)
           VALUES (?, 'k', 'orders.confirm', 'hash', '{}')`,
          [user],
        );
      }
      await erasure.insertErasedCustomer(trx, gone);
      await erasure.deleteStoredAnswers(trx);
      expect(await rows(trx, "SELECT user_id FROM idempotency_keys")).toEqual([{ userId: stays }]);
    });
  });

  it("is deleted after its hours, and not while an order of the customer is unerased", async () => {
    await still(async (trx) => {
      const waiting = await placed(trx);
      const [old, young] = [newId(), newId()];
      for (const id of [old, young, waiting.customer.id]) await erasure.insertErasedCustomer(trx, id);
      const since = (id: string, moment: string) =>
        trx.query(`UPDATE erased_customers SET created_at = ${moment} WHERE customer_id = ?`, [id]);
      await since(old, at(-3_601));
      await since(young, at(-3_600));
      await since(waiting.customer.id, at(-9_999));
      await erasure.pruneErasedCustomers(trx, 1);
      const left = await rows<{ id: string }>(trx, "SELECT customer_id AS id FROM erased_customers");
      expect(left.map(({ id }) => id).sort()).toEqual([young, waiting.customer.id].sort());
    });
  });

  it("is known of this customer only", async () => {
    await still(async (trx) => {
      const id = newId();
      await erasure.insertErasedCustomer(trx, id);
      expect(await former.isErasedCustomer(trx, id)).toBe(true);
      expect(await former.isErasedCustomer(trx, newId())).toBe(false);
    });
  });
});

describe("a former deliverer", () => {
  const known = (trx: Db) =>
    rows(trx, "SELECT user_id AS id, version, updated_at = now() AS fresh FROM former_deliverers");

  it("is recorded by the newest version; an older and a repeated one change nothing", async () => {
    await still(async (trx) => {
      const id = newId();
      await former.addFormerDeliverer(trx, id, 5);
      await trx.query(`UPDATE former_deliverers SET updated_at = ${at(-60)}`);
      for (const version of [4, 5]) await former.addFormerDeliverer(trx, id, version);
      expect(await known(trx)).toEqual([{ id, version: 5, fresh: false }]);
      await former.addFormerDeliverer(trx, id, 6);
      expect(await known(trx)).toEqual([{ id, version: 6, fresh: true }]);
    });
  });

  it("who is a deliverer again by a newer version, is so; by an older or the same one, is not", async () => {
    await still(async (trx) => {
      const [id, other] = [newId(), newId()];
      for (const one of [id, other]) await former.addFormerDeliverer(trx, one, 5);
      for (const version of [4, 5]) await former.removeFormerDeliverer(trx, id, version);
      expect((await admissionOf(trx, id)).isFormer).toBe(true);
      await former.removeFormerDeliverer(trx, id, 6);
      expect((await admissionOf(trx, id)).isFormer).toBe(false);
      expect((await admissionOf(trx, other)).isFormer).toBe(true);
    });
  });

  it("is deleted after the lifetime of a token", async () => {
    await still(async (trx) => {
      const [old, young] = [newId(), newId()];
      for (const id of [old, young]) await former.addFormerDeliverer(trx, id, 1);
      const since = (id: string, moment: string) =>
        trx.query(`UPDATE former_deliverers SET updated_at = ${moment} WHERE user_id = ?`, [id]);
      await since(old, at(-3_601));
      await since(young, at(-3_600));
      await former.pruneFormerDeliverers(trx, 1);
      expect(await known(trx)).toMatchObject([{ id: young }]);
    });
  });
});

describe("the orders of a person", () => {
  it("in delivery, are the deliverer's own that are being delivered", async () => {
    await still(async (trx) => {
      const me = newId();
      const [mine, second, done, foreign] = [
        ...[await placed(trx), await placed(trx), await placed(trx), await placed(trx)],
      ] as [Order, Order, Order, Order];
      for (const order of [mine, second, done]) await delivering(trx, order, me);
      await delivering(trx, foreign, newId());
      await trx.query("UPDATE orders SET status = 'ready' WHERE id = ?", [done.id]);
      expect(await former.ordersInDelivery(trx, me)).toEqual([mine.id, second.id].sort());
    });
  });

  it("that have not ended, are the customer's own, the oldest first", async () => {
    await still(async (trx) => {
      const [first, second, over, foreign] = [
        ...[await placed(trx), await placed(trx), await placed(trx), await placed(trx)],
      ] as [Order, Order, Order, Order];
      for (const { id } of [second, over]) {
        await trx.query("UPDATE orders SET customer_id = ? WHERE id = ?", [first.customer.id, id]);
      }
      await ended(trx, over);
      expect(await former.openOrdersOf(trx, first.customer.id, 9)).toEqual([first.id, second.id].sort());
      expect(await former.openOrdersOf(trx, first.customer.id, 1)).toEqual(
        [first.id, second.id].sort().slice(0, 1),
      );
      expect(await former.openOrdersOf(trx, foreign.customer.id, 9)).toEqual([foreign.id]);
    });
  });
});

describe("a decision that is saved", () => {
  async function paid(trx: Db, order: Order, paymentId: string) {
    await trx.query(
      `INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, order_id, stated_order, amount_minor, currency,
         outcome)
       VALUES (:id, :bankId, :paymentId, :paymentId, :orderId, :orderId, 2950, 'EUR', 'accepted')`,
      { id: newId(), bankId, paymentId, orderId: order.id },
    );
  }
  const refundOf = (paymentId: string) => ({
    ...{ id: newId(), paymentId, amount: { amountMinor: 100, currency: "EUR" }, reason: "cold" },
  });
  const outbox = { add: async () => undefined, rowsFor: () => "[]" } as never;

  it.each([0, 1, 2])(
    "with %i refunds, starts their worker after the commit if there is one",
    async (refunds) => {
      const wakeRefunds = jest.fn();
      const payments = Array.from({ length: refunds }, () => `pay_${newId()}`);
      let order!: Order;
      await statements.db.transaction(async (trx) => {
        order = await placed(trx);
        for (const paymentId of payments) await paid(trx, order, paymentId);
      });
      const next = { ...order, version: 2 };
      const transition = { type: "order.delayed", to: "pending", actor: CUSTOMER } as never;
      await statements.db.transaction(async (trx) => {
        const decision = { next, transition, messages: [], refunds: payments.map(refundOf) };
        expect(
          await saveDecision(
            { outbox, wakeRefunds, courierOrdersMax: 1, offersOrders: false },
            trx,
            order,
            decision,
          ),
        ).toBe(next);
        expect(wakeRefunds).not.toHaveBeenCalled();
      });
      expect(wakeRefunds).toHaveBeenCalledTimes(refunds > 0 ? 1 : 0);
      expect((await refundsOf(statements.db, order.id)).map(({ paymentId }) => paymentId).sort()).toEqual(
        payments.sort(),
      );
    },
  );

  it("that changes nothing, writes nothing; of a version that is gone, is a conflict", async () => {
    await still(async (trx) => {
      const order = await placed(trx);
      const deps = { outbox, wakeRefunds: jest.fn(), courierOrdersMax: 1, offersOrders: false };
      const stored = () =>
        rows(trx, "SELECT ctid::text AS place FROM orders UNION ALL SELECT id::text FROM order_transitions");
      const before = await stored();
      const nothing = { next: order, transition: undefined, messages: [], refunds: [] } as never;
      expect(await saveDecision(deps, trx, order, nothing)).toBe(order);
      expect(await stored()).toEqual(before);
      const late = { ...order, version: 7 };
      const decision = { next: { ...late, version: 8 }, messages: [], refunds: [] } as never;
      await expect(saveDecision(deps, trx, late, decision)).rejects.toMatchObject({ code: "ORDER_CONFLICT" });
    });
  });
});

describe("a decision that cannot be saved whole", () => {
  const decisionOn = (order: Order, refunds: object[]) =>
    ({
      ...{ next: { ...order, version: 2 }, messages: [], refunds },
      transition: { type: "order.delayed", to: "pending", actor: CUSTOMER },
    }) as never;
  const wakeRefunds = () => undefined;

  it("since a refund names no payment, is refused", async () => {
    await still(async (trx) => {
      const order = await placed(trx);
      const refund = {
        id: newId(),
        paymentId: "none",
        amount: { amountMinor: 1, currency: "EUR" },
        reason: "cold",
      };
      const outbox = { add: async () => undefined, rowsFor: () => "[]" } as never;
      const saved = saveDecision(
        { outbox, wakeRefunds, courierOrdersMax: 1, offersOrders: false },
        trx,
        order,
        decisionOn(order, [refund]),
      );
      await expect(saved).rejects.toThrow("names a payment that is not there");
    });
  });

  it("since a message breaks its contract, is refused", async () => {
    await still(async (trx) => {
      const order = await placed(trx);
      const broken = () => {
        throw new Error("no such field");
      };
      const outbox = { add: async () => broken(), rowsFor: broken } as never;
      const saved = saveDecision(
        { outbox, wakeRefunds, courierOrdersMax: 1, offersOrders: false },
        trx,
        order,
        decisionOn(order, []),
      );
      await expect(saved).rejects.toThrow("no such field");
    });
  });
});

describe("the end of a refund", () => {
  it("that failed, frees its amount of its own payment, and neither that of the same id elsewhere nor another", async () => {
    await still(async (trx) => {
      const order = await placed(trx);
      const elsewhere = newId();
      await trx.query(
        `INSERT INTO banks (id, title, adapter, settings, webcheckout_url, active)
         VALUES (?, 'Other bank', 'sandbox', '', '', true)`,
        [elsewhere],
      );
      const payments: [bank: string, payment: string][] = [
        [bankId, "pay_1"],
        [bankId, "pay_2"],
        [elsewhere, "pay_1"],
      ];
      for (const [bank, payment] of payments) {
        await trx.query(
          `INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, order_id, stated_order, amount_minor, currency,
             outcome)
           VALUES (:id, :bank, :payment, :payment, :orderId, :orderId, 2950, 'EUR', 'accepted')`,
          { id: newId(), bank, payment, orderId: order.id },
        );
        const refund = {
          id: newId(),
          paymentId: payment,
          amount: { amountMinor: 100, currency: "EUR" },
          reason: "x",
        };
        await insertRefunds(trx, { id: order.id, bankId: bank }, [refund]);
      }
      const refundedOf = () =>
        rows(
          trx,
          "SELECT bank_id, payment_id, refund_minor FROM payment_receipts WHERE order_id = ? ORDER BY bank_id = ? DESC, payment_id",
          [order.id, bankId],
        );
      const row = ([bank, payment]: [string, string], refundMinor: number) => ({
        ...{ bankId: bank, paymentId: payment, refundMinor },
      });
      const [refund] = (await refundsOf(trx, order.id)).filter(
        (one) => one.bankId === bankId && one.paymentId === "pay_1",
      );
      const id = refund?.id as string;
      expect(await endRefund(trx, newId(), { state: "failed" })).toBeUndefined();
      expect(await refundedOf()).toEqual(payments.map((payment) => row(payment, 100)));
      expect(await endRefund(trx, id, { state: "failed", error: "closed" })).toMatchObject({
        ...{ id, bankId, paymentId: "pay_1", amountMinor: 100, counted: true },
      });
      expect(await refundedOf()).toEqual(
        payments.map((payment, index) => row(payment, index === 0 ? 0 : 100)),
      );
      // It has ended: no second end counts.
      expect(await endRefund(trx, id, { state: "completed" })).toBeUndefined();
      const second = (await refundsOf(trx, order.id)).find((one) => one.paymentId === "pay_2");
      expect(await endRefund(trx, second?.id as string, { state: "completed" })).toMatchObject({
        paymentId: "pay_2",
      });
      expect((await refundedOf()).map((one) => (one as { refundMinor: number }).refundMinor)).toEqual([
        0, 100, 100,
      ]);
    });
  });
});

describe("an order to show", () => {
  it("is read by one statement; for a reader who may not see it, nothing is found", async () => {
    const order = await statements.db.transaction(placed);
    const read = shownOrderReader({ db: statements.db } as Postgres);
    const own = { role: "person", id: order.customer.id, carries: false } as const;
    const sent = await statementsOf(/\bFROM orders\b/, async () => {
      expect(await read({ orderId: order.id, reader: own })).toMatchObject({ id: order.id });
    });
    expect(sent).toHaveLength(1);
    expect(await read({ orderId: order.id, reader: { ...own, id: newId() } })).toBeUndefined();
  });
});

describe("a position", () => {
  it("is stored for the deliverer of this order alone, while it is delivered", async () => {
    await still(async (trx) => {
      const me = newId();
      const [mine, foreign, waiting] = [await placed(trx), await placed(trx), await placed(trx)];
      await delivering(trx, mine, me);
      await delivering(trx, foreign, newId());
      const save = async ({ id: orderId }: Order) =>
        (await savePositions(trx, { orderId, delivererId: me }, { latitude: 1, longitude: 2 })).orders.length;
      expect([await save(mine), await save(foreign), await save(waiting)]).toEqual([1, 0, 0]);
      expect(await rows(trx, "SELECT order_id FROM order_positions")).toEqual([{ orderId: mine.id }]);
    });
  });
});

describe("a courier's duty", () => {
  it("ends after four hours of silence, a hundred with each statement until none is left", async () => {
    const { db } = statements;
    const insert = (count: number, silent: string) =>
      rows(
        db,
        `INSERT INTO couriers (id, on_duty_since, heard_at)
         SELECT gen_random_uuid(), now(), now() - ?::interval FROM generate_series(1, ?)`,
        [silent, count],
      );
    await insert(101, "4 hours 1 second");
    await insert(1, "3 hours 59 minutes");
    const longest = newId();
    await rows(
      db,
      "INSERT INTO couriers (id, on_duty_since, heard_at) VALUES (?, now(), now() - interval '5 hours')",
      [longest],
    );
    expect(await endSilentDuties(db, 4 * 3_600_000, 1)).toEqual([{ id: longest, onDuty: false }]);
    // A loop that does not end by itself ends here.
    const stopping = AbortSignal.timeout(5_000);
    const sent = await statementsOf(/^UPDATE couriers/, () =>
      endForgottenDuties(
        {
          postgres: { transact: (work) => db.transaction(work) } as Postgres,
          outbox: { add: async () => undefined } as never,
        },
        stopping,
      ),
    );
    expect(sent).toHaveLength(2);
    expect(await rows(db, "SELECT FROM couriers WHERE on_duty_since IS NOT NULL")).toHaveLength(1);
  });
});

describe("a bank that another process changes", () => {
  it("is used as it is now after two seconds at most", async () => {
    const { db } = statements;
    const registered = banks({ postgres: { db } as unknown as Postgres, keys: { secret: "s".repeat(32) } });
    const title = async () => (await registered.find(bankId))?.title;
    let aheadMs = 0;
    const now = performance.now.bind(performance);
    const clock = jest.spyOn(performance, "now").mockImplementation(() => now() + aheadMs);
    try {
      expect(await title()).toBe("Bank");
      await db.query("UPDATE banks SET title = 'Other', version = version + 1 WHERE id = ?", [bankId]);
      aheadMs = 2_000;
      expect(await title()).toBe("Other");
    } finally {
      clock.mockRestore();
    }
  });
});
