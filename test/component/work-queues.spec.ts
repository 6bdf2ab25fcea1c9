import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { bankRow, orderRows } from "../../bench/lib/generate.ts";
import { newId } from "../../lib/ids.ts";
import { type Database, type Db, rows, type Transaction } from "../../lib/sql/database.ts";
import {
  acceptMessages,
  claimDue,
  markAllDone,
  markDead,
  markDone,
  renewLeases,
  reschedule,
} from "../../mixins/consumer/inbox.repository.ts";
import { claimMessages, insertMessages } from "../../mixins/outbox/outbox.repository.ts";
import { admissionOf } from "../../services/orders/store/couriers.repository.ts";
import { addFormerDeliverer } from "../../services/orders/store/former-deliverers.repository.ts";
import { lockOrder } from "../../services/orders/store/orders.repository.ts";
import {
  claimRefunds,
  endRefund,
  insertRefunds,
  releaseRefund,
} from "../../services/orders/store/payments.repository.ts";
import {
  claimPolls,
  endPoll,
  postponePoll,
  recordPollFailure,
} from "../../services/orders/store/reconciliation.repository.ts";
import { incoming, userDeleted } from "../support/messaging.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

/* The statements of the work queues by themselves: workers, abort signals and pacing hide what a statement lacks. */

const GROUP = "orders";
const LEASE_MS = 60_000;
const BANK = newId();

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await createDatabase("orders");
  db = openPool(database, 4);
});
beforeEach(() => db.query("TRUNCATE inbox, outbox, refunds, orders CASCADE"));
afterAll(async () => {
  await db.close();
  await database.drop();
});

interface Queue {
  fill(count: number): Promise<unknown>;
  /** Claims up to two; answers their ids. */
  claim(trx: Db): Promise<string[]>;
}

const inbox = (trx: Db, token = newId(), limit = 2) =>
  claimDue(trx, { group: GROUP, types: ["user.deleted"], limit, isolated: 0, token, leaseMs: LEASE_MS });

const queues: Record<string, Queue> = {
  inbox: {
    fill: (count) =>
      acceptMessages(
        db,
        GROUP,
        Array.from({ length: count }, () => ({ ...incoming(userDeleted()), state: "waiting" as const })),
        { token: newId(), leaseMs: 60_000 },
      ),
    claim: async (trx) => (await inbox(trx)).map(({ messageId }) => messageId),
  },
  outbox: {
    fill: (count) =>
      insertMessages(
        db,
        Array.from({ length: count }, () => incoming(userDeleted())),
      ),
    claim: async (trx) => (await claimMessages(trx, false, 2)).map(({ message }) => message.id),
  },
  refunds: {
    fill: async (count) => {
      for (let index = 0; index < count; index++) await insertRefund();
    },
    claim: async (trx) => {
      const claim = { bankId: BANK, leaseId: newId(), leaseMs: LEASE_MS, limit: 2 };
      return (await claimRefunds(trx, claim)).map(({ id }) => id);
    },
  },
  polls: {
    fill: async (count) => {
      for (let index = 0; index < count; index++) await insertDuePoll();
    },
    claim: async (trx) => {
      const claim = { bankId: BANK, leaseId: newId(), leaseMs: LEASE_MS, limit: 2 };
      return (await claimPolls(trx, claim)).map(({ id }) => id);
    },
  },
};

/** An order whose poll is due. */
async function insertDuePoll(id = newId()): Promise<string> {
  await db.transaction(async (trx) => {
    await trx.query("SET LOCAL session_replication_role = replica");
    await trx.query(
      `INSERT INTO orders (id, version, status, payment_status, customer_id, customer_name, partner_id, partner, currency,
         fee_minor, total_minor, address, bank_id, pay_by, deadline_at, reconcile_at, created_at, updated_at)
       VALUES (?, 1, 'pending', 'unpaid', ?, 'Ada', ?, '{}', 'EUR', 0, 100, '{}', ?, now(), now(), now(), now(), now())`,
      [id, newId(), newId(), BANK],
    );
  });
  return id;
}

/** A refund without an order: the queue asks for none. */
async function insertRefund(id = newId()): Promise<string> {
  await db.transaction(async (trx) => {
    await trx.query("SET LOCAL session_replication_role = replica");
    await trx.query(
      `INSERT INTO refunds (id, order_id, bank_id, payment_id, amount_minor, currency, reason)
       VALUES (?, ?, ?, ?, 100, 'EUR', 'test')`,
      [id, newId(), BANK, newId()],
    );
  });
  return id;
}

describe.each(Object.entries(queues))("the queue %s", (name, queue) => {
  it("claimed during another uncommitted claim, returns other rows without waiting", async () => {
    await queue.fill(4);
    await db.transaction(async (first) => {
      const taken = await queue.claim(first);
      await db.transaction(async (second) => {
        await second.query("SET LOCAL lock_timeout = '1s'");
        const others = await queue.claim(second);
        expect(taken).toHaveLength(2);
        expect(others).toHaveLength(2);
        expect(new Set([...taken, ...others]).size).toBe(4);
      });
    });
  });

  it("claimed again, returns no leased rows and none that are due later", async () => {
    await queue.fill(2);
    if (name === "outbox") await db.query("UPDATE outbox SET next_at = now() + interval '1 minute'");
    else expect(await queue.claim(db)).toHaveLength(2);
    expect(await queue.claim(db)).toEqual([]);
  });
});

describe("a message with another worker's lease", () => {
  const [mine, theirs] = [newId(), newId()];
  const lease = async () => {
    await queues.inbox?.fill(1);
    const [claimed] = await inbox(db, theirs);
    const messageId = claimed?.messageId as string;
    return {
      held: { group: GROUP, messageId, token: theirs },
      lost: { group: GROUP, messageId, token: mine },
    };
  };
  const row = async () => {
    const sql = "SELECT state, lease_token, attempts, error FROM inbox";
    return (await rows<{ state: string; leaseToken: string; attempts: number }>(db, sql, []))[0];
  };
  const untouched = { state: "waiting", leaseToken: theirs, attempts: 1 };
  const dead = { attempts: 5, error: "poison", deadLetterId: newId() };

  it("cannot be ended or released by the former worker", async () => {
    const { lost } = await lease();
    expect(await markDone(db, lost)).toBe(false);
    expect(await markAllDone(db, [lost])).toEqual(new Set());
    expect(await reschedule(db, lost, 0, 1, "failed")).toBe(false);
    expect(await markDead(db, lost, dead)).toBe(false);
    expect(await renewLeases(db, GROUP, [lost], LEASE_MS)).toEqual(new Set());
    expect(await row()).toMatchObject(untouched);
  });

  it("can be ended or released by the worker with the lease", async () => {
    const { held } = await lease();
    expect(await renewLeases(db, GROUP, [held], LEASE_MS)).toEqual(new Set([held.messageId]));
    expect(await reschedule(db, held, 0, 1, "failed")).toBe(true);
    expect(await row()).toEqual({ state: "waiting", attempts: 1, error: "failed" });
    await inbox(db, theirs);
    expect(await markDead(db, held, dead)).toBe(true);
    expect(await row()).toEqual({ state: "dead", attempts: 5, error: "poison" });
  });

  it("cannot be ended by another group", async () => {
    const { held } = await lease();
    const foreign = { ...held, group: "partners" };
    expect(await markDone(db, foreign)).toBe(false);
    expect(await markAllDone(db, [foreign])).toEqual(new Set());
    expect(await renewLeases(db, "partners", [held], LEASE_MS)).toEqual(new Set());
    expect(await row()).toMatchObject(untouched);
  });
});

describe("a refund of an unknown payment", () => {
  it("is refused and stores nothing", async () => {
    const refund = {
      id: newId(),
      paymentId: "none",
      amount: { amountMinor: 1, currency: "EUR" },
      reason: "test",
    };
    const refunding = db.transaction((trx) => insertRefunds(trx, { id: newId(), bankId: BANK }, [refund]));
    await expect(refunding).rejects.toThrow("a payment that is not there");
  });
});

describe("a refund with another worker's lease", () => {
  it("cannot be ended or released by the former worker", async () => {
    const id = await insertRefund();
    const theirs = newId();
    await claimRefunds(db, { bankId: BANK, leaseId: theirs, leaseMs: LEASE_MS, limit: 1 });
    const state = async () =>
      (
        await rows<{ state: string; leaseToken: string }>(db, "SELECT state, lease_token FROM refunds", [])
      )[0];
    expect(await endRefund(db, id, { state: "failed", leaseId: newId() })).toBeUndefined();
    const next = { state: "pending", delayMs: 0, error: "x" } as const;
    expect(await releaseRefund(db, { id, leaseId: newId() }, next)).toBe(false);
    expect(await state()).toEqual({ state: "sent", leaseToken: theirs });
    expect(await releaseRefund(db, { id, leaseId: theirs }, next)).toBe(true);
    expect(await state()).toEqual({ state: "pending" });
  });
});

describe("a lock", () => {
  it("of an order or of a deliverer's role, is held until its transaction ends", async () => {
    await db.transaction(async (trx) => {
      await trx.query("SET LOCAL session_replication_role = replica");
      const { orders } = orderRows({ first: 1, count: 1, since: "now()", until: "now()" });
      for (const statement of [bankRow, ...orders]) await trx.query(statement);
    });
    const [order] = await rows<{ id: string }>(db, "SELECT id FROM orders");
    const [orderId, userId] = [order?.id ?? "", newId()];
    const others = [
      (trx: Transaction) => lockOrder(trx, orderId),
      (trx: Transaction) => addFormerDeliverer(trx, userId, 1),
    ];
    const attempt = (work: (trx: Transaction) => Promise<unknown>) =>
      db.transaction(async (trx) => {
        await trx.query("SET LOCAL lock_timeout = '100ms'");
        await work(trx);
      });
    await db.transaction(async (trx) => {
      await lockOrder(trx, orderId);
      expect(await admissionOf(trx, userId)).toMatchObject({ isFormer: false });
      for (const other of others) await expect(attempt(other)).rejects.toMatchObject({ code: "55P03" });
    });
    for (const other of others) await attempt(other);
  });
});

describe("a poll with another worker's lease", () => {
  const nextAt = "2100-01-01T00:00:00.000Z";
  const theirs = newId();
  const lease = async () => {
    const id = await insertDuePoll();
    await claimPolls(db, { bankId: BANK, leaseId: theirs, leaseMs: LEASE_MS, limit: 1 });
    return { held: { id, leaseId: theirs }, lost: { id, leaseId: newId() } };
  };
  const row = async () => {
    const sql =
      "SELECT reconcile_lease, reconcile_at, reconcile_error, reconcile_failures, reconcile_failed_at FROM orders";
    return (
      await rows<{ reconcileLease?: string; reconcileAt: string; reconcileError?: string }>(db, sql)
    )[0];
  };

  it("cannot be ended or postponed by the former worker", async () => {
    const { lost } = await lease();
    const before = await row();
    expect(before).toMatchObject({ reconcileLease: theirs });
    await endPoll(db, lost, { nextAt, error: "late" });
    await postponePoll(db, lost, 0, "late");
    const retry = { delayMs: 0, maxMs: 0, error: "late" };
    expect(await recordPollFailure(db, lost, retry)).toBeUndefined();
    expect(await row()).toEqual(before);
  });

  it("is ended once by the worker with the lease", async () => {
    const { held } = await lease();
    await endPoll(db, held, { nextAt });
    expect(await row()).toEqual({ reconcileAt: nextAt, reconcileFailures: 0 });
    await postponePoll(db, held, 0, "late");
    expect(await row()).toEqual({ reconcileAt: nextAt, reconcileFailures: 0 });
  });

  it("after a payment, which has set the time of the next poll, keeps that time", async () => {
    const { held } = await lease();
    await db.query("UPDATE orders SET paid_at = now(), reconcile_at = ?", [nextAt]);
    await postponePoll(db, held, 0, "no answer");
    expect(await row()).toMatchObject({ reconcileAt: nextAt, reconcileError: "no answer" });
  });
});
