import { beforeAll, beforeEach, describe, expect, it, jest } from "@jest/globals";
import type { NewMessage } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { type Db, rows, type Transaction } from "../../lib/sql/database.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { banks } from "../../services/orders/actions/banks.ts";
import { listStuck } from "../../services/orders/actions/queries.ts";
import { confirm } from "../../services/orders/domain/order-customer.ts";
import type { Actor, Order } from "../../services/orders/domain/order-model.ts";
import * as bankRows from "../../services/orders/store/banks.repository.ts";
import * as couriers from "../../services/orders/store/couriers.repository.ts";
import * as deadlines from "../../services/orders/store/deadlines.repository.ts";
import * as disputes from "../../services/orders/store/disputes.repository.ts";
import * as erasure from "../../services/orders/store/erasure.repository.ts";
import * as former from "../../services/orders/store/former-deliverers.repository.ts";
import * as offers from "../../services/orders/store/offers.repository.ts";
import * as lists from "../../services/orders/store/order-lists.repository.ts";
import {
  findOrders,
  isNumber,
  matchingOrders,
  type OrderFilter,
} from "../../services/orders/store/order-search.repository.ts";
import {
  findOrder,
  insertCallback,
  insertOrder,
  nowAndNumber,
  type Viewer,
} from "../../services/orders/store/orders.repository.ts";
import * as payments from "../../services/orders/store/payments.repository.ts";
import * as polls from "../../services/orders/store/reconciliation.repository.ts";
import * as retention from "../../services/orders/store/retention.repository.ts";
import { saveDecision } from "../../services/orders/store/unit-of-work.ts";
import * as unmatched from "../../services/orders/store/unmatched-payments.repository.ts";
import { shownOrderReader } from "../../services/orders/use-cases/shown-orders.ts";
import { applyDeadlines } from "../../services/orders/workers/deadlines.ts";
import { endForgottenDuties } from "../../services/orders/workers/duties.ts";
import { reconcilePayments, reconciliationCounts } from "../../services/orders/workers/reconciliation.ts";
import { processRefunds } from "../../services/orders/workers/refunds.ts";
import { sampleQuote } from "../support/orders.ts";
import { statementsOf } from "../support/statements.ts";
import { at, statementDatabase } from "../support/still-transaction.ts";

const { endRefund, insertRefunds, refundsOf } = payments;
const { admissionOf, endSilentDuties, savePositions } = couriers;

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
          postgres: { db } as unknown as Postgres,
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

let idMs = Date.now();
/** An id that sorts after those before it: of two ids of one millisecond, each may be the lower one. */
const nextId = () => newId(++idMs);

/** Runs the work in a transaction in which no other order or courier is. */
const alone = (work: (trx: Db) => Promise<void>) =>
  still(async (trx) => {
    await trx.query("TRUNCATE orders, couriers, order_search CASCADE");
    await work(trx);
  });

const PAID = "payment_status = 'paid', paid_minor = total_minor";

/** Coordinates of a place so many metres north of the partners. */
const north = (meters: number) => ({ latitude: 46.948 + meters / 111_195, longitude: 7.4474 });

describe("the couriers", () => {
  const onDuty = async (trx: Db, position?: { latitude: number; longitude: number }) => {
    const id = nextId();
    await couriers.beginDuty(trx, id, position ? { position } : {});
    return id;
  };

  it("are listed by id, those on duty or off it, after one, up to the limit", async () => {
    await alone(async (trx) => {
      const [first, second, third] = [await onDuty(trx), await onDuty(trx), await onDuty(trx)];
      await couriers.endDuty(trx, second);
      const page = async (filter: Partial<Parameters<typeof couriers.couriersPage>[1]>) =>
        (await couriers.couriersPage(trx, { limit: 9, ...filter })).map(({ id }) => id);
      expect(await page({})).toEqual([first, second, third]);
      expect(await page({ limit: 2 })).toEqual([first, second]);
      expect(await page({ duty: "on" })).toEqual([first, third]);
      expect(await page({ duty: "off" })).toEqual([second]);
      expect(await page({ after: first })).toEqual([second, third]);
      expect(await page({ duty: "on", after: first })).toEqual([third]);
      expect(await couriers.countOnDuty(trx)).toBe(2);
      await couriers.deleteCourier(trx, first);
      expect(await page({})).toEqual([second, third]);
    });
  });

  it("keep what a repeated beginning of the duty does not change, and lose the position at its end", async () => {
    await alone(async (trx) => {
      const [id, other] = [newId(), await onDuty(trx, north(1))];
      await couriers.setCapacity(trx, id, 3);
      await couriers.beginDuty(trx, id, { vehicle: "bicycle", position: north(0) });
      await trx.query(`UPDATE couriers SET on_duty_since = ${at(-60)}, heard_at = ${at(-60)}`);
      await couriers.beginDuty(trx, id, {});
      const [since] = await rows<{ at: string }>(trx, `SELECT ${at(-60)} AS at`);
      expect(await couriers.findCourier(trx, id)).toMatchObject({
        ...{ id, vehicle: "bicycle", ordersAtOnce: 3, onDutySince: since?.at, underWay: 0, ...north(0) },
      });
      expect(await rows(trx, "SELECT id FROM couriers WHERE heard_at = now()")).toEqual([{ id }]);
      expect(await couriers.findDutyPosition(trx, id)).toEqual(north(0));
      await couriers.endDuty(trx, id);
      expect(await couriers.findDutyPosition(trx, id)).toBeUndefined();
      expect(await couriers.findDutyPosition(trx, other)).toEqual(north(1));
      const off = await couriers.findCourier(trx, id);
      expect(off).toMatchObject({ vehicle: "bicycle", ordersAtOnce: 3 });
      for (const field of ["onDutySince", "latitude", "longitude", "positionAt"])
        expect(off).not.toHaveProperty(field);
      await couriers.endDuty(trx, id, "car");
      await couriers.setCapacity(trx, id, undefined);
      expect(await couriers.findCourier(trx, id)).toMatchObject({ vehicle: "car" });
      expect(await couriers.findCourier(trx, id)).not.toHaveProperty("ordersAtOnce");
      expect(await couriers.findCourier(trx, other)).toHaveProperty("onDutySince");
    });
  });

  it("nearby with room for one more order, are ten at most, the nearest first", async () => {
    await alone(async (trx) => {
      const far = await onDuty(trx, north(5_001));
      const edge = await onDuty(trx, north(4_999));
      const near: string[] = [];
      for (const meters of [40, 30, 20]) near.unshift(await onDuty(trx, north(meters)));
      const [busy, off, lost] = [await onDuty(trx, north(1)), await onDuty(trx, north(2)), await onDuty(trx)];
      await delivering(trx, await placed(trx), busy);
      await couriers.endDuty(trx, off);
      const nearest = (max: number) => couriers.nearestCouriers(trx, north(0), max);
      expect(await nearest(1)).toEqual([...near, edge]);
      expect(await nearest(2)).toEqual([busy, ...near, edge]);
      await couriers.setCapacity(trx, busy, 2);
      await delivering(trx, await placed(trx), edge);
      expect(await nearest(1)).toEqual([busy, ...near]);
      for (let count = 0; count < 9; count++) await onDuty(trx, north(100 + count));
      const ten = await nearest(1);
      expect(ten).toHaveLength(10);
      for (const id of [far, off, lost, edge]) expect(ten).not.toContain(id);
      expect(await couriers.admissionOf(trx, busy)).toEqual({
        isFormer: false,
        underWay: 1,
        ordersAtOnce: 2,
      });
      expect(await couriers.admissionOf(trx, far)).toEqual({ isFormer: false, underWay: 0 });
    });
  });

  it("are near a place once, each place by itself", async () => {
    await alone(async (trx) => {
      const [id, me] = [await onDuty(trx), newId()];
      const [one, two] = [await placed(trx), await placed(trx)];
      for (const order of [one, two]) await delivering(trx, order, me);
      const saved = await savePositions(trx, { delivererId: me }, north(0));
      expect(saved.orders.map(({ orderId }) => orderId).sort()).toEqual([one.id, two.id].sort());
      expect(saved).toMatchObject({ onDuty: false, orders: [{ place: "pickup", wasNear: false }, {}] });
      expect(await couriers.recordNear(trx, one.id, "pickup")).toBe(true);
      expect(await couriers.recordNear(trx, one.id, "pickup")).toBe(false);
      expect(await couriers.recordNear(trx, one.id, "destination")).toBe(true);
      const again = await savePositions(trx, { delivererId: me, orderId: one.id }, north(9), undefined);
      expect(again.orders).toMatchObject([{ orderId: one.id, wasNear: true, place: "pickup" }]);
      await trx.query("UPDATE orders SET picked_up_at = now() WHERE id = ?", [two.id]);
      const last = await savePositions(trx, { delivererId: me, orderId: two.id }, north(1_000));
      expect(last.orders).toMatchObject([{ place: "destination", wasNear: false }]);
      expect(Math.round(last.orders[0]?.distanceMeters ?? 0)).toBe(1_000);
      // An older position changes nothing, and one of the future counts as now.
      const [old] = await rows<{ at: string }>(trx, `SELECT ${at(-9)} AS at`);
      expect((await savePositions(trx, { delivererId: me }, north(5), old?.at)).orders).toEqual([]);
      const [later] = await rows<{ at: string; now: string }>(trx, `SELECT ${at(9)} AS at, now() AS now`);
      const future = await savePositions(trx, { delivererId: me, orderId: two.id }, north(5), later?.at);
      expect(future.orders).toMatchObject([{ at: later?.now }]);
      // A courier on duty keeps the newest position, too.
      await couriers.beginDuty(trx, me, { position: north(3) });
      expect((await savePositions(trx, { delivererId: me }, north(4), old?.at)).onDuty).toBe(true);
      expect(await couriers.findDutyPosition(trx, me)).toEqual(north(3));
      await savePositions(trx, { delivererId: me }, north(6));
      expect(await couriers.findDutyPosition(trx, me)).toEqual(north(6));
      expect(await couriers.findDutyPosition(trx, id)).toBeUndefined();
    });
  });
});

describe("the offers of a ready order", () => {
  const ready = async (trx: Db, change = "") => {
    const order = await placed(trx);
    await trx.query(`UPDATE orders SET status = 'ready', ${PAID}${change} WHERE id = ?`, [order.id]);
    return order.id;
  };

  it("are due without one, and from the end of the last one, the longest overdue first", async () => {
    await alone(async (trx) => {
      await placed(trx);
      const pooled = await ready(trx, ", pooled_at = now()");
      const running = await ready(trx, `, offer_until = ${at(1)}`);
      const ended = await ready(trx, ", offer_until = now()");
      const overdue = await ready(trx, `, offer_until = ${at(-9)}`);
      const fresh = await ready(trx);
      expect(await offers.dueOffers(trx, 9)).toEqual([fresh, overdue, ended]);
      expect(await offers.dueOffers(trx, 1)).toEqual([fresh]);
      await offers.postponeOffer(trx, fresh, 1_000);
      await offers.postponeOffer(trx, running, 0);
      expect(await offers.dueOffers(trx, 9)).toEqual([overdue, ended]);
      const locked: boolean[] = [];
      for (const id of [pooled, running, fresh, ended]) locked.push(await offers.lockDueOffer(trx, id));
      expect(locked).toEqual([false, false, false, true]);
    });
  });

  it("go to couriers on duty with room and no other offer, the nearest with the fewest orders first", async () => {
    await alone(async (trx) => {
      const make = async (meters: number | undefined, minutesAgo = 0) => {
        const id = newId();
        await couriers.beginDuty(trx, id, meters === undefined ? {} : { position: north(meters) });
        await trx.query(
          "UPDATE couriers SET position_at = position_at - ? * interval '1 minute', on_duty_since = ? WHERE id = ?",
          [minutesAgo, new Date(Date.UTC(2026, 0, 1, 0, 0, 0, serial++)).toISOString(), id],
        );
        return id;
      };
      let serial = 0;
      const [nearBusy, near, far] = [await make(100), await make(600), await make(1_200)];
      await delivering(trx, await placed(trx), nearBusy);
      const [beyond, stale, unplaced] = [await make(20_100), await make(10, 16), await make(undefined)];
      const [offered, off] = [await make(10), await make(10)];
      await ready(trx, `, offered_to = '${offered}', offer_until = ${at(60)}`);
      await couriers.endDuty(trx, off);
      const best = (
        pickup: typeof north extends (m: number) => infer P ? P | undefined : never,
        tried: string[],
        ordersMax: number,
      ) => offers.bestCouriers(trx, { pickup, tried, ordersMax });
      expect(await best(north(0), [], 2)).toEqual([near, nearBusy, far]);
      expect(await best(north(0), [], 1)).toEqual([near, far]);
      expect(await best(north(0), [near], 2)).toEqual([nearBusy, far]);
      expect(await best(undefined, [], 2)).toEqual([near, far, beyond, stale, unplaced, nearBusy]);
      await couriers.setCapacity(trx, far, 1);
      await delivering(trx, await placed(trx), far);
      expect(await best(undefined, [near], 1)).toEqual([beyond, stale, unplaced]);
      expect([await offers.lockCourier(trx, near), await offers.lockCourier(trx, off)]).toEqual([
        true,
        false,
      ]);
    });
  });
});

describe("the lists of orders", () => {
  const ids = (found: readonly { id: string }[]) => found.map(({ id }) => id);
  const set = (trx: Db, order: Order, change: string) =>
    trx.query(`UPDATE orders SET ${change} WHERE id = ?`, [order.id]);

  it("of each owner, have the newest confirmation first, page by page; filters narrow them", async () => {
    await alone(async (trx) => {
      const orders = [await placed(trx), await placed(trx), await placed(trx), await placed(trx)] as const;
      const [first, second, third, foreign] = orders;
      const [me, partnerId, delivererId] = [first.customer.id, newId(), newId()];
      // Confirmed in this order, whatever their ids are.
      for (const [index, order] of [third, first, second, foreign].entries()) {
        await set(trx, order, `created_at = ${at(-100 + index)}`);
      }
      for (const order of [second, third]) await set(trx, order, `customer_id = '${me}'`);
      await set(
        trx,
        foreign,
        `partner_id = '${partnerId}', deliverer_id = '${delivererId}', status = 'delivering', ${PAID}`,
      );
      await ended(trx, third);
      const list = async (owner: lists.Owner, before?: string, limit = 9) =>
        ids(await lists.listOrders(trx, owner, { limit, before }));
      const own = { role: "customer", id: me } as const;
      expect(await list(own)).toEqual([second.id, first.id, third.id]);
      expect(await list(own, second.id)).toEqual([first.id, third.id]);
      expect(await list(own, second.id, 1)).toEqual([first.id]);
      expect(await list({ role: "deliverer", id: delivererId })).toEqual([foreign.id]);
      expect(await list({ role: "deliverer", id: me })).toEqual([second.id, first.id, third.id]);
      expect(await list({ role: "partner", partnerId, id: me })).toEqual([
        foreign.id,
        second.id,
        first.id,
        third.id,
      ]);
      expect(await list({ role: "partner", partnerId, id: newId() }, foreign.id)).toEqual([]);
      const byId = orders
        .map(({ id }) => id)
        .sort()
        .reverse();
      const admin = { role: "admin" } as const;
      expect(await list(admin)).toEqual(byId);
      expect(await list(admin, byId[1], 1)).toEqual([byId[2]]);

      const find = async (
        owner: lists.Owner,
        filter: OrderFilter & { before?: string; limit?: number } = {},
      ) => ids(await findOrders(trx, owner, { limit: 9, ...filter }));
      const all = [foreign.id, second.id, first.id, third.id];
      expect(await find(admin)).toEqual(byId);
      expect(await find(admin, { before: byId[1] as string, limit: 1 })).toEqual([byId[2]]);
      const open = ["pending", "delivering"] as const;
      expect(await find(admin, { statuses: open })).toEqual([foreign.id, second.id, first.id]);
      expect(await find(admin, { statuses: open, limit: 2 })).toEqual([foreign.id, second.id]);
      expect(await find(admin, { statuses: open, before: foreign.id })).toEqual([second.id, first.id]);
      expect(await find(admin, { statuses: ["cancelled"] })).toEqual([third.id]);
      expect(await find(admin, { statuses: ["cancelled"], paymentStatus: "paid" })).toEqual([]);
      expect(await find(admin, { paymentStatus: "unpaid" })).toEqual([second.id, first.id, third.id]);
      expect(await find(admin, { paymentStatus: "paid" })).toEqual([foreign.id]);
      expect(await find(admin, { partnerId })).toEqual([foreign.id]);
      expect(await find(admin, { customerId: me })).toEqual([second.id, first.id, third.id]);
      expect(await find(admin, { customerId: me, partnerId })).toEqual([]);
      expect(await find(admin, { delivererId })).toEqual([foreign.id]);
      expect(await find(admin, { delivererId: newId() })).toEqual([]);
      expect(await find(admin, { delivererId, partnerId: newId() })).toEqual([]);
      expect(await find(admin, { customerId: me, delivererId })).toEqual([]);
      expect(await find(admin, { ids: [first.id, foreign.id] })).toEqual([foreign.id, first.id]);
      expect(await find(admin, { ids: [first.id, foreign.id], statuses: ["pending"] })).toEqual([first.id]);
      expect(await find(admin, { ids: [first.id, foreign.id], paymentStatus: "paid" })).toEqual([foreign.id]);
      expect(await find({ role: "deliverer", id: delivererId })).toEqual([foreign.id]);
      expect(await find({ role: "deliverer", id: me })).toEqual([second.id, first.id, third.id]);
      expect(await find({ role: "partner", partnerId, id: me })).toEqual(all);
      expect(await find({ role: "partner", partnerId, id: me }, { ids: all })).toEqual([foreign.id]);
      expect(await find({ role: "partner", partnerId, id: me }, { statuses: open })).toEqual([
        foreign.id,
        second.id,
        first.id,
      ]);
      expect(await find({ role: "partner", partnerId, id: newId() }, { statuses: ["delivering"] })).toEqual([
        foreign.id,
      ]);
      expect(await find(own, { statuses: ["pending"] })).toEqual([second.id, first.id]);
      expect(await find(own, { statuses: ["pending"], paymentStatus: "paid" })).toEqual([]);
      const [time] = await rows<{ first: string; closed: string; later: string }>(
        trx,
        `SELECT ${at(-99)} AS first, closed_at AS closed, closed_at + interval '1 second' AS later FROM orders WHERE id = ?`,
        [third.id],
      );
      expect(await find(own, { from: time?.first })).toEqual([second.id, first.id]);
      expect(await find(own, { to: time?.first })).toEqual([third.id]);
      expect(await find(own, { openSince: time?.closed })).toEqual([second.id, first.id, third.id]);
      expect(await find(own, { openSince: time?.later })).toEqual([second.id, first.id]);
      expect(await find(admin, { from: time?.first })).toEqual(byId.filter((id) => id !== third.id));
      expect(await find(admin, { to: time?.first })).toEqual([third.id]);
      expect(await lists.countOrders(trx)).toEqual({ pending: 2, delivering: 1 });
    });
  });

  it("find orders by their number, or by words of the customer", async () => {
    await alone(async (trx) => {
      const [one, two] = [await placed(trx), await placed(trx)];
      for (const order of [one, two]) await set(trx, order, "number = 'K7-042'");
      await set(trx, two, `customer_name = 'Grace Hopper'`);
      const partnerId = one.partner.id;
      expect((await matchingOrders(trx, " k7-042 ")).sort()).toEqual([one.id, two.id].sort());
      expect(await matchingOrders(trx, "k7-042", partnerId)).toEqual([one.id]);
      expect(await matchingOrders(trx, "k7-043")).toEqual([]);
      expect(await matchingOrders(trx, "byr ada")).toEqual([one.id]);
      expect(await matchingOrders(trx, "ada", partnerId)).toEqual([one.id]);
      expect(await matchingOrders(trx, "ada", newId())).toEqual([]);
      expect(await matchingOrders(trx, " ,;")).toEqual([]);
      expect(["K7-042", "K7-42", "K7-0421234", "KK-042"].map(isNumber)).toEqual([true, false, false, false]);
    });
  });

  it("of the pool, have the nearest pickup first, or the longest waiting; without locked handovers", async () => {
    await alone(async (trx) => {
      const ready = async (meters: number | undefined, seconds: number, change = "") => {
        const order = await placed(trx);
        const place = meters === undefined ? "NULL" : `${north(meters).latitude}`;
        await set(
          trx,
          order,
          `status = 'ready', ${PAID}, ready_since = ${at(seconds)}, pickup_latitude = ${place}${change}`,
        );
        return order.id;
      };
      await placed(trx);
      const [near, far] = [await ready(10, -1), await ready(900, -3)];
      const [unplaced, locked] = [await ready(undefined, -2), await ready(5, -9, ", handover_failures = 5")];
      const tried = await ready(20, -4, ", handover_failures = 4, pooled_at = now()");
      const pool = async (...args: [from?: ReturnType<typeof north>, limit?: number, offered?: boolean]) =>
        (await lists.poolOrders(trx, args[0], args[1] ?? 9, { offered: args[2] ?? false })).map(
          ({ orderId }) => orderId,
        );
      expect(await pool()).toEqual([tried, far, unplaced, near]);
      expect(await pool(undefined, 2)).toEqual([tried, far]);
      expect(await pool(north(0))).toEqual([near, tried, far, unplaced]);
      expect(await pool(north(0), 2)).toEqual([near, tried]);
      expect(await pool(undefined, 9, true)).toEqual([tried]);
      expect(await pool(north(0), 9, true)).toEqual([tried]);
      expect(await pool(north(0))).not.toContain(locked);
      const [first] = await lists.poolOrders(trx, north(0), 1);
      expect(Math.round(first?.distanceMeters ?? 0)).toBe(10);
    });
  });

  it("of a courier's offers, have the one that has not ended", async () => {
    await alone(async (trx) => {
      const [me, other] = [newId(), newId()];
      const [mine, foreign] = [await placed(trx), await placed(trx)];
      await set(trx, mine, `status = 'ready', ${PAID}, offered_to = '${me}', offer_until = ${at(1)}`);
      await set(trx, foreign, `status = 'ready', ${PAID}, offered_to = '${other}', offer_until = now()`);
      expect(await lists.offersTo(trx, me)).toMatchObject([{ orderId: mine.id }]);
      expect(await lists.offersTo(trx, other)).toEqual([]);
    });
  });

  it("of stuck orders, have those with an alert, a failed refund or a deadline long overdue", async () => {
    await alone(async (trx) => {
      const [alerted, refund, late, fresh] = [
        await placed(trx),
        await placed(trx),
        await placed(trx),
        await placed(trx),
      ];
      await set(trx, alerted, `alerted_at = ${at(-50)}, deadline_at = ${at(60)}, status = 'ready', ${PAID}`);
      await set(
        trx,
        refund,
        `payment_status = 'refund_failed', status = 'cancelled', closed_at = now(), deadline_at = NULL, updated_at = ${at(-40)}`,
      );
      await set(trx, late, `deadline_at = ${at(-30)}, deadline_failures = 1`);
      await set(trx, fresh, `deadline_at = ${at(-10)}`);
      const stuck = async (filter: object = {}, limit = 9) =>
        (await lists.stuckOrders(trx, 10_000, filter, limit)).map(({ order, cause }) => [order.id, cause]);
      const all = [
        [alerted.id, "not_assigned"],
        [refund.id, "refund_failed"],
        [late.id, "deadline_failing"],
      ].sort();
      expect(await stuck()).toEqual(all);
      expect(await stuck({}, 1)).toEqual(all.slice(0, 1));
      expect(await stuck({ afterId: all[0]?.[0] })).toEqual(all.slice(1));
      expect(await stuck({ cause: "refund_failed" })).toEqual([[refund.id, "refund_failed"]]);
      expect(await stuck({ partnerId: late.partner.id })).toEqual([[late.id, "deadline_failing"]]);
      expect(await stuck({ city: "bern" })).toEqual(all);
      expect(await stuck({ city: "Thun" })).toEqual([]);
      const [time] = await rows<{ before: string; forty: string }>(
        trx,
        `SELECT ${at(-39)} AS before, ${at(-40)} AS forty`,
      );
      expect((await stuck({ before: time?.before })).map(([id]) => id)).toEqual(
        [alerted.id, refund.id].sort(),
      );
      await set(trx, fresh, `deadline_at = ${at(-11)}`);
      expect(await lists.stuckGroups(trx, 10_000, {}, "city", 9)).toMatchObject([{ name: "Bern", count: 4 }]);
      await set(trx, fresh, `status = 'ready', ${PAID}`);
      const groups = await lists.stuckGroups(trx, 10_000, {}, "cause", 2);
      expect(groups.map(({ name, count }) => [name, count])).toEqual([
        ["not_assigned", 2],
        ["deadline_failing", 1],
      ]);
      expect(await lists.stuckGroups(trx, 10_000, { cause: "refund_failed" }, "cause", 9)).toMatchObject([
        { name: "refund_failed", count: 1, oldest: time?.forty },
      ]);
    });
  });
});

describe("an order", () => {
  it("is found by those who may see it, and by no others", async () => {
    await alone(async (trx) => {
      const [order, beside] = [await placed(trx), await placed(trx)];
      const [me, delivererId] = [order.customer.id, newId()];
      const sees = async (viewer: Viewer, id = order.id) => (await findOrder(trx, id, viewer)) !== undefined;
      const partnerId = order.partner.id;
      const stranger = newId();
      expect(await sees({ role: "customer", id: me })).toBe(true);
      expect(await sees({ role: "customer", id: stranger })).toBe(false);
      expect(await sees({ role: "person", id: me })).toBe(true);
      expect(await sees({ role: "person", id: stranger, partnerId })).toBe(true);
      expect(await sees({ role: "person", id: stranger, partnerId: newId() })).toBe(false);
      expect(await sees({ role: "partner", partnerId })).toBe(true);
      expect(await sees({ role: "partner", partnerId }, beside.id)).toBe(false);
      expect(await sees({ role: "bank", bankId })).toBe(true);
      expect(await sees({ role: "bank", bankId: newId() })).toBe(false);
      expect(await sees({ role: "deliverer", id: delivererId })).toBe(false);
      await delivering(trx, order, delivererId);
      expect(await sees({ role: "deliverer", id: delivererId })).toBe(true);
      expect(await sees({ role: "deliverer", id: stranger })).toBe(false);
      expect(await sees({ role: "person", id: delivererId, carries: true })).toBe(true);
      expect(await sees({ role: "person", id: delivererId })).toBe(false);
      await trx.query("UPDATE orders SET status = 'ready' WHERE id = ?", [order.id]);
      expect(await sees({ role: "deliverer", id: stranger })).toBe(true);
      expect(await sees({ role: "anybody" })).toBe(true);
      expect(await sees({ role: "anybody" }, newId())).toBe(false);
    });
  });

  it("gets the first number that no order of its partner has had for a day", async () => {
    await alone(async (trx) => {
      const [order, foreign] = [await placed(trx), await placed(trx)];
      const numbers = ["A1-001", "A1-002"];
      const numberFor = async ({ partner }: Order) =>
        (await nowAndNumber(trx, partner.id, numbers, newId())).number;
      const has = (number: string, created: string) =>
        trx.query(`UPDATE orders SET number = ?, created_at = ${created} WHERE id = ?`, [number, order.id]);
      expect(await numberFor(order)).toBe("A1-001");
      await has("A1-001", at(-86_399));
      expect([await numberFor(order), await numberFor(foreign)]).toEqual(["A1-002", "A1-001"]);
      await has("A1-001", at(-86_400));
      expect(await numberFor(order)).toBe("A1-001");
      const known = (id: string) => nowAndNumber(trx, newId(), numbers, id);
      expect([(await known(order.id)).isKnown, (await known(newId())).isKnown]).toEqual([true, false]);
    });
  });

  it("takes a partner's callback once, and only of its own partner", async () => {
    await alone(async (trx) => {
      const [order, foreign] = [await placed(trx), await placed(trx)];
      const callback = (change: object = {}) =>
        insertCallback(trx, {
          ...{ partnerId: order.partner.id, eventId: "e1", bodyHash: "a".repeat(64), type: "order.ready" },
          ...{ orderId: order.id, ...change },
        } as never);
      expect(await callback({ orderId: foreign.id })).toBe("mismatch");
      expect(await callback()).toBe("new");
      expect(await callback()).toBe("known");
      expect(await callback({ bodyHash: "b".repeat(64) })).toBe("mismatch");
      expect(
        await callback({ partnerId: foreign.partner.id, orderId: foreign.id, bodyHash: "b".repeat(64) }),
      ).toBe("new");
      expect(await callback({ eventId: "e2" })).toBe("new");
    });
  });

  it("is overdue from its deadline, longest first, unless it waits for a retry; failures double the delay", async () => {
    await alone(async (trx) => {
      const [late, later, future, waiting] = [
        await placed(trx),
        await placed(trx),
        await placed(trx),
        await placed(trx),
      ];
      const due = (order: Order, seconds: number) =>
        trx.query(`UPDATE orders SET deadline_at = ${at(seconds)} WHERE id = ?`, [order.id]);
      for (const [order, seconds] of [
        [late, 0],
        [later, -5],
        [future, 1],
        [waiting, -9],
      ] as const)
        await due(order, seconds);
      const fails = (order: Order) =>
        deadlines.recordDeadlineFailure(trx, order.id, { delayMs: 1_000, maxMs: 3_000, error: "broken" });
      expect(await fails(future)).toBeUndefined();
      const retries: unknown[] = [];
      for (let count = 1; count <= 3; count++) {
        expect(await fails(waiting)).toEqual({ failures: count, version: 1 });
        const [row] = await rows<{ ms: number }>(
          trx,
          "SELECT extract(epoch FROM deadline_retry_at - now())::integer AS ms FROM orders WHERE id = ?",
          [waiting.id],
        );
        retries.push(row?.ms);
      }
      expect(retries).toEqual([1, 2, 3]);
      expect(await deadlines.dueOrders(trx, 9)).toEqual([later.id, late.id]);
      expect(await deadlines.dueOrders(trx, 1)).toEqual([later.id]);
      expect(await deadlines.deadlineProblems(trx, [late.id, waiting.id])).toMatchObject([
        { id: waiting.id, failures: 3, error: "broken" },
      ]);
      expect(await deadlines.deadlineProblems(trx, [late.id])).toEqual([]);
      await trx.query("UPDATE orders SET deadline_retry_at = now() WHERE id = ?", [waiting.id]);
      expect(await deadlines.dueOrders(trx, 1)).toEqual([waiting.id]);
      expect([
        await deadlines.lockDueOrder(trx, late.id),
        await deadlines.lockDueOrder(trx, future.id),
      ]).toEqual([true, false]);
      expect(await deadlines.noticeProblemOf(trx, late.id)).toMatch(/^order\.paid was sent/);
    });
  });
});

describe("the disputes of payments", () => {
  it("keep the newest report by the bank's time, and do not open again", async () => {
    await alone(async (trx) => {
      const base = {
        disputeId: "d1",
        paymentId: "p1",
        reason: "fraud",
        withdrawn: false,
        state: "open" as const,
      };
      const report = async (seconds: number, change: object = {}) => {
        const dispute = {
          ...base,
          amount: { amountMinor: 5, currency: "EUR" },
          at: new Date(Date.UTC(2026, 0, 1, 0, 0, seconds)).toISOString(),
          ...change,
        };
        return (await disputes.saveDispute(trx, bankId, dispute as never))?.state;
      };
      expect(await report(5)).toBe("open");
      expect(await report(5)).toBeUndefined();
      expect(await report(4, { withdrawn: true })).toBeUndefined();
      expect(await report(5, { withdrawn: true })).toBe("open");
      expect(await report(6, { state: "lost", withdrawn: true })).toBe("lost");
      expect(await report(7)).toBeUndefined();
      expect(await report(7, { state: "won" })).toBe("won");
      await report(1, { disputeId: "d2" });
      await report(1, { disputeId: "d3" });
      const page = (before?: string, limit = 9) => disputes.disputesBefore(trx, { before, limit });
      const all = await page();
      expect(all.map(({ id }) => id)).toEqual(
        all
          .map(({ id }) => id)
          .sort()
          .reverse(),
      );
      expect(all.map(({ disputeId }) => disputeId).sort()).toEqual(["d1", "d2", "d3"]);
      expect(await page(all[0]?.id, 1)).toEqual([all[1]]);
      const order = await placed(trx);
      const two = all.map(({ id }) => id).slice(1);
      await trx.query("UPDATE disputes SET order_id = ? WHERE id = ANY (?::uuid[])", [order.id, two]);
      expect((await disputes.disputesOf(trx, order.id)).map(({ id }) => id)).toEqual(two.reverse());
    });
  });
});

describe("a bank", () => {
  it("is listed by id, the active ones alone if wanted, and is changed in the version that was read", async () => {
    await still(async (trx) => {
      const [id, second] = [newId(), newId()];
      const bank = {
        id,
        title: "New",
        adapter: "sandbox",
        settings: "",
        webcheckoutUrl: "",
        active: false,
        version: 1,
      };
      await bankRows.insertBank(trx, bank as never);
      await bankRows.insertBank(trx, { ...bank, id: second, active: true } as never);
      expect(await bankRows.findBank(trx, id)).toMatchObject({ id, title: "New" });
      const known = async (onlyActive: boolean) =>
        (await bankRows.listBanks(trx, onlyActive)).map((one) => one.id);
      const all = await known(false);
      expect(all).toEqual([...all].sort());
      expect(all).toEqual(expect.arrayContaining([id, second]));
      expect(await known(true)).toEqual(all.filter((one) => one !== id));
      expect(await bankRows.saveBank(trx, { ...bank, title: "Old", version: 3 } as never)).toBe(false);
      expect(await bankRows.saveBank(trx, { ...bank, title: "Now", version: 2 } as never)).toBe(true);
      expect(await bankRows.findBank(trx, id)).toMatchObject({ title: "Now", version: 2 });
      expect(await bankRows.findBank(trx, second)).toMatchObject({ title: "New", version: 1 });
    });
  });

  it("is silent from its first failure on, and one alert follows after a time", async () => {
    await still(async (trx) => {
      const fails = () => polls.recordBankFailure(trx, bankId, { delayMs: 60_000, error: "timeout" });
      const silence = (ms: number) => polls.markBankAlerted(trx, bankId, ms);
      expect([await fails(), await fails()]).toEqual([1, 2]);
      await trx.query(`UPDATE bank_contacts SET silent_since = ${at(-9)}`);
      expect(await fails()).toBe(3);
      expect(await silence(9_001)).toBeUndefined();
      const [since] = await rows<{ at: string }>(trx, `SELECT ${at(-9)} AS at`);
      expect(await silence(9_000)).toBe(since?.at);
      expect(await silence(9_000)).toBeUndefined();
      expect(await polls.bankContact(trx, bankId)).toMatchObject({
        silentSince: since?.at,
        error: "timeout",
      });
      expect(await polls.bankContact(trx, newId())).toBeUndefined();
      expect(await polls.recordBankAnswer(trx, bankId)).toMatchObject({ wasSilent: true });
      expect(await polls.recordBankAnswer(trx, bankId)).toMatchObject({ wasSilent: false });
      expect(await polls.bankContact(trx, bankId)).not.toHaveProperty("silentSince");
    });
  });

  it("has due polls of unpaid and of paid orders, each bank its own, unless it waits for a retry", async () => {
    await alone(async (trx) => {
      const [unpaid, paid, future] = [await placed(trx), await placed(trx), await placed(trx)];
      const elsewhere = newId();
      await bankRows.insertBank(trx, {
        id: elsewhere,
        title: "Else",
        adapter: "sandbox",
        settings: "",
        webcheckoutUrl: "",
        active: true,
        version: 1,
      } as never);
      const due = async () => (await polls.dueBanks(trx)).map(({ id }) => id);
      const poll = (order: Order, seconds: number, more = "") =>
        trx.query(`UPDATE orders SET reconcile_at = ${at(seconds)}${more} WHERE id = ?`, [order.id]);
      for (const order of [unpaid, paid, future]) await poll(order, 1);
      expect(await due()).toEqual([]);
      await poll(unpaid, 0);
      expect(await due()).toEqual([bankId]);
      await poll(unpaid, 1);
      await poll(paid, -3, `, status = 'ready', ${PAID}`);
      expect(await due()).toEqual([]);
      await poll(paid, -3, ", paid_at = now()");
      expect(await due()).toEqual([bankId]);
      await polls.recordBankFailure(trx, bankId, { delayMs: 1, error: "timeout" });
      expect(await due()).toEqual([]);
      await trx.query("UPDATE bank_contacts SET retry_at = now()");
      expect(await polls.dueBanks(trx)).toMatchObject([{ id: bankId, failures: 1 }]);
      await poll(unpaid, -2);
      expect([await polls.countOverduePolls(trx, 2_001), await polls.countOverduePolls(trx, 2_000)]).toEqual([
        1, 2,
      ]);
      const claim = async (bank: string, limit = 9) =>
        (await polls.claimPolls(trx, { bankId: bank, leaseId: newId(), leaseMs: 1_000, limit })).map(
          ({ id }) => id,
        );
      expect(await claim(elsewhere)).toEqual([]);
      expect(await claim(bankId, 1)).toEqual([unpaid.id]);
      expect(await claim(bankId)).toEqual([paid.id]);
      expect(await claim(bankId)).toEqual([]);
      expect(await polls.reconciliationOf(trx, paid.id)).toMatchObject({
        looks: 1,
        nextAt: expect.any(String),
      });
      expect(await polls.reconciliationOf(trx, newId())).toBeUndefined();
    });
  });
});

describe("payments that match no order", () => {
  it("are listed until they are refunded, each with its newest refund, and are assigned once", async () => {
    await alone(async (trx) => {
      await trx.query("TRUNCATE payment_receipts, refunds CASCADE");
      const order = await placed(trx);
      const receive = async (paymentId: string, outcome: "unmatched" | "accepted") => {
        const payment = {
          bankId,
          paymentId,
          eventId: paymentId,
          amount: { amountMinor: 500, currency: "EUR" },
        };
        const of = { statedOrder: "?", outcome, orderId: outcome === "accepted" ? order.id : undefined };
        const [id, again] = [nextId(), nextId()];
        expect(await payments.insertReceipt(trx, { ...payment, ...of, id })).toBe(true);
        expect(await payments.insertReceipt(trx, { ...payment, ...of, id: again })).toBe(false);
        return id;
      };
      const [one, two, three] = [
        await receive("p1", "unmatched"),
        await receive("p2", "unmatched"),
        await receive("p3", "unmatched"),
      ];
      await receive("p4", "accepted");
      const list = async (before?: string, limit = 9) =>
        (await unmatched.unmatchedPayments(trx, { before, limit })).map(({ id }) => id);
      expect(await list()).toEqual([three, two, one]);
      expect(await list(three, 1)).toEqual([two]);
      const refund = (paymentId: string) => ({
        id: newId(),
        paymentId,
        amount: { amountMinor: 100, currency: "EUR" },
        reason: "x",
      });
      const [older, newer] = [refund("p1"), refund("p1")];
      await payments.insertRefunds(trx, { bankId }, [older]);
      await trx.query(`UPDATE refunds SET created_at = ${at(-9)}, state = 'completed'`);
      expect(await list()).toEqual([three, two]);
      await payments.insertRefunds(trx, { bankId }, [newer]);
      const [, , withRefund] = await unmatched.unmatchedPayments(trx, { limit: 9 });
      expect(withRefund).toMatchObject({
        id: one,
        refundId: newer.id,
        refundState: "pending",
        refundMinor: 200,
      });
      expect(await unmatched.assignReceipt(trx, one, { orderId: order.id, outcome: "accepted" })).toBe(false);
      expect(await unmatched.assignReceipt(trx, two, { orderId: order.id, outcome: "accepted" })).toBe(true);
      expect(await unmatched.assignReceipt(trx, two, { orderId: order.id, outcome: "accepted" })).toBe(false);
      expect(await unmatched.lockReceipt(trx, two)).toMatchObject({
        id: two,
        outcome: "accepted",
        orderId: order.id,
      });
      expect(await unmatched.lockReceipt(trx, newId())).toBeUndefined();
      expect(await unmatched.findAnyRefund(trx, newer.id)).toMatchObject({
        id: newer.id,
        receiptId: one,
        outcome: "unmatched",
      });
      expect(await unmatched.findAnyRefund(trx, newId())).toBeUndefined();
      expect(await payments.findReceipt(trx, bankId, "p2")).toEqual({ amountMinor: 500, currency: "EUR" });
      expect(await payments.findReceipt(trx, newId(), "p2")).toBeUndefined();
      expect(await payments.findReceipt(trx, bankId, "p9")).toBeUndefined();
      expect((await payments.receiptsOf(trx, order.id)).map(({ paymentId }) => paymentId)).toEqual([
        "p2",
        "p4",
      ]);
      expect(await payments.findRefund(trx, bankId, newer.id)).toMatchObject({ id: newer.id, bankId });
      expect(await payments.findRefund(trx, newId(), newer.id)).toBeUndefined();
      expect(await payments.dueRefundBanks(trx)).toEqual([bankId]);
      const claim = { bankId, leaseId: newId(), leaseMs: 1_000, limit: 9 };
      expect(await payments.claimRefunds(trx, { ...claim, bankId: newId() })).toEqual([]);
      const [claimed] = await payments.claimRefunds(trx, claim);
      expect(claimed).toMatchObject({ id: newer.id, state: "pending", attempts: 1 });
      expect(await payments.dueRefundBanks(trx)).toEqual([]);
      expect([
        await payments.markRefundAlerted(trx, newer.id),
        await payments.markRefundAlerted(trx, newer.id),
      ]).toEqual([true, false]);
      const later = { state: "unknown", delayMs: 0, error: "503" } as const;
      expect(await payments.releaseRefund(trx, { id: newer.id, leaseId: newId() } as never, later)).toBe(
        false,
      );
      expect(await payments.releaseRefund(trx, claimed as never, later)).toBe(true);
      expect(await payments.claimRefunds(trx, claim)).toMatchObject([{ state: "unknown", attempts: 2 }]);
      // Without an order and a refund they are deleted when they are old enough.
      const after = nextId();
      expect(await retention.pruneUnmatched(trx, three, 9)).toBe(0);
      expect(await retention.pruneUnmatched(trx, after, 9)).toBe(1);
      expect(await list()).toEqual([one]);
    });
  });

  it("and their events are stored once", async () => {
    await alone(async (trx) => {
      const event = {
        bankId,
        eventId: "evt",
        bodyHash: "a".repeat(64),
        body: "{}\0",
        kind: "paid",
        paymentId: "p",
      } as const;
      expect(await payments.insertEvent(trx, event)).toBe("new");
      expect(await payments.insertEvent(trx, event)).toBe("known");
      expect(await payments.insertEvent(trx, { ...event, bodyHash: "b".repeat(64) })).toBe("mismatch");
      expect(await payments.insertEvent(trx, { ...event, eventId: "other", bodyHash: "b".repeat(64) })).toBe(
        "new",
      );
      await payments.markEventUnusable(trx, bankId, "evt");
      await payments.markEventUnusable(trx, newId(), "other");
      expect(await rows(trx, "SELECT event_id AS id, kind FROM payment_events ORDER BY event_id")).toEqual([
        { id: "evt", kind: "unusable" },
        { id: "other", kind: "paid" },
      ]);
    });
  });
});

describe("a worker", () => {
  const messages: NewMessage[] = [];
  const logged: unknown[] = [];
  const log = (...line: unknown[]) => void logged.push(line);
  const logger = { info: log, warn: log, error: log } as never;
  const outbox = {
    add: async (_: unknown, added: NewMessage[]) => void messages.push(...added),
    rowsFor: () => {
      throw new Error("broken ".repeat(100));
    },
  };
  const depsWith = (bank: object) => {
    const { db } = statements;
    const postgres = { db, transact: (work: (trx: Transaction) => Promise<unknown>) => db.transaction(work) };
    return { postgres, outbox, banks: { find: async () => ({ connect: () => bank }) } } as never;
  };
  /** The kinds of the alerts since the last call. */
  const alerts = () => messages.splice(0).map(({ data }) => (data as { kind: string }).kind);
  const one = async <T>(sql: string, id: string) =>
    (await rows<{ is: T }>(statements.db, sql, [id]))[0]?.is as T;
  /** So long after a moment that is up to half a minute ago, on a busy machine. */
  const expectAbout = (seconds: number, expected: number, jitter = 0) => {
    expect(seconds).toBeGreaterThan(expected * (1 - jitter) - 30);
    expect(seconds).toBeLessThan(expected * (1 + jitter) + 0.01);
  };
  const unclear = Object.assign(new Error("e".repeat(600)), { kind: "unclear" });
  beforeEach(async () => {
    await statements.db.query(
      "TRUNCATE orders, refunds, payment_receipts, payment_events, bank_contacts CASCADE",
    );
    messages.splice(0);
  });

  it("repeats a refund with growing delays, leases it meanwhile, and alerts at the tenth attempt", async () => {
    const { db } = statements;
    const amount = { amountMinor: 500, currency: "EUR" };
    const due = async (paymentId: string) => {
      const receipt = { id: newId(), bankId, paymentId, eventId: paymentId, amount, statedOrder: "?" };
      await payments.insertReceipt(db, { ...receipt, outcome: "unmatched" });
      const refund = { id: newId(), paymentId, amount, reason: "x" };
      await insertRefunds(db, { bankId }, [refund]);
      return refund.id;
    };
    const id = await due("p1");
    const leases: number[] = [];
    const left = () =>
      one<number>(
        "SELECT extract(epoch FROM next_at - updated_at)::float8 AS is FROM refunds WHERE id = ?",
        id,
      );
    const refund = async () => {
      leases.push(await left());
      throw unclear;
    };
    const attempt = async (
      attempts: number,
      bank: object = { refund, findRefund: async () => undefined },
    ) => {
      await db.query("UPDATE refunds SET attempts = ?, next_at = now() WHERE id = ?", [attempts - 1, id]);
      await processRefunds(depsWith(bank), logger);
      return left();
    };
    for (const [attempts, seconds] of [
      [1, 1],
      [2, 2],
      [4, 8],
      [9, 256],
    ] as const) {
      expectAbout(await attempt(attempts), seconds, 0.2);
    }
    for (const lease of leases) expectAbout(lease, 12);
    expect(await one("SELECT length(error) AS is FROM refunds WHERE id = ?", id)).toBe(500);
    expect(alerts()).toEqual([]);
    expectAbout(await attempt(10), 300, 0.2);
    expect(alerts()).toEqual(["refund.stuck"]);
    await attempt(11);
    expect(alerts()).toEqual([]);
    await db.query("UPDATE refunds SET alerted = false");
    // Its earlier attempts have not reached their end.
    await attempt(11);
    expect(alerts()).toEqual(["refund.stuck"]);
    await db.query("UPDATE refunds SET alerted = false");
    expectAbout(await attempt(1, { refund }), 3_600);
    expect(alerts()).toEqual(["refund.stuck"]);
    await db.query("UPDATE refunds SET next_at = 'infinity'");
    for (let count = 0; count < 9; count++) await due(`q${count}`);
    let [running, most, sent] = [0, 0, 0];
    const [eight, counted] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const counts = async () => {
      running += 1;
      most = Math.max(most, running);
      if (running === 8) eight.resolve();
      if (running === 1 && sent === 0) {
        sent = (await rows(db, "SELECT FROM refunds WHERE state = 'sent' AND next_at < 'infinity'")).length;
        counted.resolve();
      }
      await Promise.all([eight.promise, counted.promise]);
      running -= 1;
      return { state: "completed" as const };
    };
    await processRefunds(depsWith({ refund: counts }), logger);
    expect([most, sent]).toEqual([8, 8]);
    expect(await rows(db, "SELECT FROM refunds WHERE state = 'completed'")).toHaveLength(9);
  });

  it("polls a silent bank with growing delays, and alerts after ten minutes", async () => {
    const { db } = statements;
    const { id } = await db.transaction(placed);
    const counts = reconciliationCounts();
    const leases: number[] = [];
    const left = () =>
      one<number>(
        "SELECT extract(epoch FROM reconcile_at - now())::float8 AS is FROM orders WHERE id = ?",
        id,
      );
    const silence = () =>
      one<number>(
        "SELECT extract(epoch FROM retry_at - now())::float8 AS is FROM bank_contacts WHERE bank_id = ?",
        bankId,
      );
    const findPayments = async () => {
      leases.push(await left());
      throw unclear;
    };
    const poll = async (bank: object = { findPayments }) => {
      await db.query("UPDATE orders SET reconcile_at = now()");
      await db.query("UPDATE bank_contacts SET retry_at = now()");
      await reconcilePayments(depsWith(bank), logger, counts);
      return left();
    };
    expect(counts).toEqual({ answered: 0, repaired: 0, differing: 0, unanswered: 0 });
    for (const seconds of [5, 10, 20]) {
      expectAbout(await poll(), 5);
      expectAbout(await silence(), seconds, 0.2);
    }
    for (const lease of leases) expectAbout(lease, 30);
    expect(logged.filter((line) => String(line).includes("is polled less often"))).toHaveLength(1);
    expect(await one("SELECT length(reconcile_error) AS is FROM orders WHERE id = ?", id)).toBe(300);
    await db.query("UPDATE bank_contacts SET failures = 20, silent_since = now() - interval '500 seconds'");
    await poll();
    expectAbout(await silence(), 300, 0.2);
    expect(alerts()).toEqual([]);
    await db.query("UPDATE bank_contacts SET silent_since = now() - interval '600 seconds'");
    await poll();
    await poll();
    expect(alerts()).toEqual(["bank.silent"]);
    expect(counts).toMatchObject({ answered: 0, unanswered: 6 });
    await poll({ findPayments: async () => [] });
    expect(counts).toMatchObject({ answered: 1, unanswered: 6 });
    expect(await one("SELECT failures AS is FROM bank_contacts WHERE bank_id = ?", bankId)).toBe(0);
    // An answer that we cannot process.
    for (const [failures, seconds] of [
      [1, 30],
      [2, 60],
      [3, 120],
    ] as const) {
      expectAbout(await poll({ findPayments: async () => [null] }), seconds);
      expect(alerts()).toEqual(failures === 3 ? ["reconciliation.failed"] : []);
    }
    await db.query("UPDATE orders SET reconcile_failures = 15");
    expectAbout(await poll({ findPayments: async () => [null] }), 1_800);
  });

  it("polls sixteen orders of a bank at once, and one of a silent bank until it answers", async () => {
    const { db } = statements;
    for (let count = 0; count < 17; count++) await db.transaction(placed);
    await db.query("UPDATE orders SET reconcile_at = now()");
    const polled = new Set<string>();
    const leased: number[] = [];
    /** The most concurrent polls, each of which waits until so many run. */
    const most = async (wanted: number) => {
      let [running, max] = [0, 0];
      const all = Promise.withResolvers<void>();
      const findPayments = async (id: string) => {
        running += 1;
        polled.add(id);
        max = Math.max(max, running);
        leased.push((await rows(db, "SELECT FROM orders WHERE reconcile_lease IS NOT NULL")).length);
        if (running === wanted) all.resolve();
        await all.promise;
        running -= 1;
        return [];
      };
      await reconcilePayments(depsWith({ findPayments }), logger, reconciliationCounts());
      return max;
    };
    expect(await most(16)).toBe(16);
    expect(leased[0]).toBe(16);
    expect(polled.size).toBe(17);
    await db.query("UPDATE orders SET reconcile_at = now()");
    await polls.recordBankFailure(db, bankId, { delayMs: 0, error: "timeout" });
    leased.splice(0);
    await most(1);
    expect(leased[0]).toBe(1);
    expect(await rows(db, "SELECT FROM orders WHERE reconcile_at <= now()")).toEqual([]);
  });

  it("repeats a deadline that fails with growing delays, and alerts at the second failure", async () => {
    const { db } = statements;
    const { id } = await db.transaction(placed);
    const fails = async () => {
      await db.query("UPDATE orders SET deadline_at = now() - interval '1 second', deadline_retry_at = NULL");
      await applyDeadlines(depsWith({}), logger);
      return one<number>(
        "SELECT extract(epoch FROM deadline_retry_at - now())::float8 AS is FROM orders WHERE id = ?",
        id,
      );
    };
    expectAbout(await fails(), 60);
    expect(alerts()).toEqual([]);
    expectAbout(await fails(), 120);
    expect(alerts()).toEqual(["deadline.failed"]);
    await db.query("UPDATE orders SET deadline_failures = 9");
    expectAbout(await fails(), 1_800);
    expect(await one("SELECT length(deadline_error) AS is FROM orders WHERE id = ?", id)).toBe(500);
  });
});

describe("the stuck orders of operators", () => {
  it("name each reason, page by page, with twenty on a page by default", async () => {
    const { db } = statements;
    await db.query("TRUNCATE orders CASCADE");
    const list = (params: object = {}) =>
      listStuck(
        { postgres: { db } } as never,
        { params, locals: { caller: { role: "admin", id: newId() } } } as never,
      );
    expect(await list()).toMatchObject({ items: [], groups: [] });
    for (let count = 0; count < 21; count++) await db.transaction(placed);
    await db.query("UPDATE orders SET deadline_at = now() - interval '61 seconds'");
    const first = await list();
    expect(first.items).toHaveLength(20);
    const rest = await list({ cursor: first.nextCursor });
    expect(rest.items).toHaveLength(1);
    expect(rest).not.toHaveProperty("nextCursor");
    expect((await list({ limit: 21 })).items).toHaveLength(21);
    const [order] = rest.items;
    const because = async (change: string) => {
      await db.query(`UPDATE orders SET ${change} WHERE id = ?`, [order?.id]);
      return (await list({ cursor: first.nextCursor })).items[0]?.stuckBecause;
    };
    expect(order?.stuckBecause).toBe("its deadline has passed, and no worker has acted on it");
    expect(await because("alerted_at = now()")).toBe("expires; what was paid in part is refunded");
    expect(await because("payment_status = 'refund_failed'")).toBe(
      "a refund failed; expires; what was paid in part is refunded",
    );
    expect(await because("deadline_failures = 2, deadline_error = 'broken'")).toMatch(
      /^its deadline could not be acted on \(2 times\): broken; a refund failed; /,
    );
    const paid = `status = 'paid', ${PAID}, deadline_failures = 0, notice_problem = 'EMFILE'`;
    expect(await because(paid)).toBe("its partner was not notified: EMFILE");
    expect(await because("partner_notified_at = now()")).toMatch(/^is cancelled and refunded/);
    await db.query("UPDATE orders SET alerted_at = NULL, deadline_at = now() - interval '30 seconds'");
    expect((await list()).items).toEqual([]);
  });
});

describe("the registered banks", () => {
  it("are created, changed in the expected version, and shown with their contact to operators alone", async () => {
    const { db } = statements;
    // Rows are used for two seconds: the clock stands still, since this test may take longer.
    const clock = jest.spyOn(performance, "now").mockReturnValue(performance.now());
    const registered = banks({ postgres: { db } as unknown as Postgres, keys: { secret: "s".repeat(32) } });
    const settings = { apiKey: "key", webhookSecret: `whsec_${"D".repeat(43)}=` };
    const given = {
      title: "Own",
      adapter: "sandbox",
      webcheckoutUrl: "http://127.0.0.1:1",
      active: false,
    } as const;
    const create = (change: object = {}) =>
      db.transaction((trx) => registered.create(trx, { ...given, settings, ...change } as never));
    const { id, ...created } = await create();
    expect(created).toEqual({ ...given, version: 1 });
    for (const wrong of [{}, { ...settings, apiKey: "k".repeat(8_192) }]) {
      await expect(create({ settings: wrong })).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    }
    const update = (change: object, of = id) =>
      db.transaction((trx) => registered.update(trx, { bankId: of, ...change }));
    const seen = async (version?: number) => (await registered.find(id, version))?.version;
    expect(await seen()).toBe(1);
    expect(await update({})).toMatchObject({ version: 1 });
    expect(await update({ settings: {} })).toMatchObject({ version: 1 });
    expect(await update({ title: "Renamed", settings: {}, expectedVersion: 1 })).toMatchObject({
      version: 2,
    });
    expect(await seen()).toBe(2);
    await db.query("UPDATE banks SET version = 3 WHERE id = ?", [id]);
    // A row is used for two seconds, unless its reader has found it outdated.
    expect([await seen(), await seen(1), await seen(2)]).toEqual([2, 2, 3]);
    await expect(update({ title: "Late", expectedVersion: 2 })).rejects.toMatchObject({
      type: "PRECONDITION_FAILED",
    });
    await expect(update({ title: "None" }, newId())).rejects.toMatchObject({ type: "NOT_FOUND" });
    await expect(update({ settings: { apiKey: "" } })).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    expect(await update({ settings: { ...settings, apiKey: "new" } })).toMatchObject({
      title: "Renamed",
      version: 4,
    });
    expect((await registered.find(id))?.connect()).toBe((await registered.find(id))?.connect());
    await polls.recordBankFailure(db, id, { delayMs: 0, error: "timeout" });
    const shown = async (role: "admin" | "finance" | "customer") =>
      (await registered.list({ role } as never)).items.find((one) => one.id === id);
    for (const role of ["admin", "finance"] as const) {
      expect(await shown(role)).toMatchObject({ id, version: 4, contact: { error: "timeout" } });
      expect((await shown(role))?.contact).not.toHaveProperty("bankId");
    }
    expect(await shown("customer")).toBeUndefined();
    await update({ active: true });
    expect(await shown("customer")).toEqual({ id, ...given, title: "Renamed", active: true, version: 5 });
    clock.mockRestore();
  });
});
