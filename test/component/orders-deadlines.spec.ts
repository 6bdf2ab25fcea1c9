import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import type { Database, Transaction } from "../../lib/sql/database.ts";
import type { OrdersDependencies } from "../../services/orders/dependencies.ts";
import { dueOrders } from "../../services/orders/store/deadlines.repository.ts";
import { applyDeadlines } from "../../services/orders/workers/deadlines.ts";
import { type MessagingBench, messagingBench } from "../support/messaging.ts";

const { logger } = new ServiceBroker({ logger: false });

let bench: MessagingBench;
beforeAll(async () => {
  bench = await messagingBench();
  const { db } = bench.db;
  const bankId = newId();
  await db.query(
    `INSERT INTO banks (id, title, adapter, settings, webcheckout_url, active)
     VALUES (?, 'Bank', 'sandbox', '', '', true)`,
    [bankId],
  );
  for (let count = 0; count < 3; count += 1) {
    await db.query(
      `INSERT INTO orders (id, version, status, payment_status, customer_id, customer_name, partner_id, partner,
         currency, fee_minor, total_minor, address, bank_id, pay_by, deadline_at, created_at, updated_at)
       VALUES (:id, 1, 'pending', 'unpaid', :id, 'Ada', :id, '{}', 'EUR', 0, 100, '{}', :bankId, now(),
         now() - interval '1 minute', now(), now())`,
      { id: newId(), bankId },
    );
  }
});
afterAll(() => bench.stop());

/** Runs work while no deadline has passed. */
async function inMovedTime<T>(db: Database, work: (trx: Transaction) => Promise<T>): Promise<T> {
  const trx = await db.begin();
  try {
    await trx.query("UPDATE orders SET deadline_at = now() + interval '1 hour'");
    return await work(trx);
  } finally {
    await trx.rollback();
  }
}

describe("the sweep of deadlines", () => {
  it("of an order that fails and is no longer due, continues with the others", async () => {
    const { db } = bench.db;
    const tried: number[] = [];
    const postgres = {
      ...{ db, url: bench.db.url, mixin: {}, ping: bench.db.ping },
      // Each order's own transaction fails; its failure is recorded after another one has moved the deadline.
      async transact<T>(work: (trx: Transaction) => Promise<T>): Promise<T> {
        tried.push(tried.length);
        if (tried.length % 2 === 1) throw new Error("no disk");
        return inMovedTime(db, work);
      },
    };
    const deps = { postgres } as unknown as OrdersDependencies;
    await applyDeadlines(deps, logger);
    expect(tried).toHaveLength(2 * (await dueOrders(db, 10)).length);
  });

  it("stopped while it handles an order, leaves the other orders to the next start", async () => {
    const stop = new AbortController();
    let acted = 0;
    const postgres = {
      ...{ db: bench.db.db, url: bench.db.url, mixin: {}, ping: bench.db.ping },
      // In place of the order's end, which is not what this is about.
      async transact<T>(): Promise<T> {
        acted += 1;
        stop.abort();
        return undefined as T;
      },
    };
    const deps = { postgres } as unknown as OrdersDependencies;
    expect(await dueOrders(bench.db.db, 10)).toHaveLength(3);
    await applyDeadlines(deps, logger, stop.signal);
    expect(acted).toBe(1);
  });
});
