import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import {
  BANK,
  bankRow,
  deadLetterRows,
  logRows,
  notificationRows,
  orderRows,
  partnerRows,
  unmatchedRows,
} from "../../bench/lib/generate.ts";
import { type DeadLetterDrop, DROP_SCANNED_MAX } from "../../contracts/dead-letters.ts";
import { isoTime } from "../../lib/clock.ts";
import { firstIdAt, newId } from "../../lib/ids.ts";
import { readSettings } from "../../lib/settings/settings.ts";
import type { Db, Transaction } from "../../lib/sql/database.ts";
import { dropMatching, inboxDeadLetters } from "../../mixins/consumer/dead-letter-drop.ts";
import { inboxStats, pruneInbox } from "../../mixins/consumer/inbox.repository.ts";
import * as documents from "../../mixins/documents/postgres.repository.ts";
import { claimMessages, dueMessages, pruneOutbox } from "../../mixins/outbox/outbox.repository.ts";
import { type Retention, retentionsOf } from "../../mixins/pruning/pruning.mixin.ts";
import { markDueQueued } from "../../services/notifications/store/deferred.repository.ts";
import { notificationRetentions } from "../../services/notifications/workers/retention.ts";
import { dueOrders } from "../../services/orders/store/deadlines.repository.ts";
import { dueErasures, pruneErasedCustomers } from "../../services/orders/store/erasure.repository.ts";
import { claimRefunds, dueRefundBanks } from "../../services/orders/store/payments.repository.ts";
import {
  claimPolls,
  countOverduePolls,
  dueBanks,
} from "../../services/orders/store/reconciliation.repository.ts";
import { orderRetentions } from "../../services/orders/workers/retention.ts";
import { findOrphanedReservation } from "../../services/partners/store/reservations.repository.ts";
import { deadWebhooks } from "../../services/partners/store/webhook-deliveries.repository.ts";
import { claimAttempts } from "../../services/partners/store/webhook-queue.repository.ts";
import { partnerRetentions } from "../../services/partners/workers/retention.ts";
import { LOAD_TIMEOUT_MS, PLAN_ROWS, type PlanBench, planBench } from "../support/plans.ts";

const DAY_MS = 86_400_000;
/** The number of rows that a pruner removes at once. */
const BATCH = 50;
/** Of each row that goes: the row, what is removed with it, and what refers to it; never a row that stays. */
const ROWS = 40 * BATCH;
/** A sweep that finds nothing to do. */
const IDLE_ROWS = 50;

const config = readSettings({});
const keepDeadLettersDays = config.KEEP_DEAD_LETTERS_DAYS;
let bench: PlanBench;
let on: Db;

/** A collection whose statements are those that are explained. */
const collection = (table: string) =>
  ({
    find: (what: Parameters<typeof documents.find>[2]) => documents.find(on, table, what),
    remove: (query: object) => documents.remove(on, table, query),
  }) as never;

const histories = {
  history: collection("documents.order_history"),
  payments: collection("documents.payments"),
};
const services: [name: "orders" | "partners" | "notifications", retentions: Retention[]][] = [
  ["orders", orderRetentions(config, histories)],
  ["partners", partnerRetentions(keepDeadLettersDays)],
  ["notifications", notificationRetentions(config, collection("documents.notifications"))],
];
const sweeps: Record<string, [name: string, work: (db: Db) => Promise<unknown>][]> = {
  orders: [
    ["deadlines", (db) => dueOrders(db, BATCH)],
    ["refunds that are due", (db) => dueRefundBanks(db)],
    ["refunds of a bank", (db) => claimRefunds(db, { bankId: BANK, leaseId: newId(), leaseMs: 1, limit: 8 })],
    ["banks to be asked", (db) => dueBanks(db)],
    [
      "orders to be asked about",
      (db) => claimPolls(db, { bankId: BANK, leaseId: newId(), leaseMs: 1, limit: 8 }),
    ],
    ["overdue questions", (db) => countOverduePolls(db, 1)],
  ],
  partners: [
    ["forgotten reservations", (db) => findOrphanedReservation(db, 0, [])],
    ["calls to be made", (db) => claimAttempts(db as Transaction, CLAIM)],
  ],
  notifications: [["what is held and due", (db) => markDueQueued(db, isoTime(Date.now()), BATCH)]],
};
const CLAIM = { leaseId: newId(), leaseMs: 1, perPartner: 4, limit: 8, furtherLimit: 4 };
/** One partner's system is away: its queue is long, and nothing of it is due. */
const waitingCalls = `
  INSERT INTO webhook_deliveries (id, webhook_message_id, partner_id, attempt, state, due_at)
  SELECT gen_random_uuid(), gen_random_uuid(), '${BANK}', 1, 'pending', now() + interval '1 day'
  FROM generate_series(1, ${PLAN_ROWS / 20})`;
const always: [name: string, work: (db: Db) => Promise<unknown>][] = [
  ["outbox: what is due", (db) => dueMessages(db)],
  ["outbox: claim", (db) => claimMessages(db, false, BATCH)],
];

describe.each(services)(
  `with some ${PLAN_ROWS} rows a table in the database of %s`,
  (service, retentions) => {
    // Half of the rows of every table are older than it keeps them, for the longest that is kept.
    const all = retentionsOf({ keepDeadLettersDays, retentions });
    const longest = Math.max(...all.map(({ keepDays }) => keepDays));
    beforeAll(async () => {
      bench = await planBench(service);
      // A table with six rows for each order has the rows of a sixth of the orders, and so on. Tables without a sweep
      // have few rows, and so have queues, which have the same tables in all databases and are large in the first one.
      const batch = (rowsEach: number) => ({
        first: 1,
        count: Math.ceil(PLAN_ROWS / rowsEach),
        since: `(now() - interval '${2 * longest} days')`,
        until: "now()",
        short: true,
      });
      const few = batch(20);
      const dead = deadLetterRows(few, service);
      if (service === "orders") {
        const [whole, sixth] = [orderRows(batch(1)), orderRows(batch(6))];
        await bench.load(
          ...[bankRow, ...whole.orders, ...orderRows(few).lines, ...unmatchedRows(few), ...whole.positions],
          ...[...sixth.history, ...sixth.messages, ...dead, ...sixth.documents, ...whole.keys],
        );
        await bench.load(
          `INSERT INTO disputes (id, bank_id, dispute_id, payment_id, amount_minor, currency, reason, state, withdrawn, reported_at)
         SELECT id, bank_id, 'd' || payment_id, payment_id, 100, 'EUR', 'fraudulent', 'lost', true, now()
         FROM payment_receipts WHERE order_id IS NULL`,
          logRows(PLAN_ROWS, "10 minutes"),
        );
      } else if (service === "partners") {
        const [half, twentieth] = [partnerRows(batch(2)), partnerRows(few)];
        await bench.load(...half.orders, ...twentieth.lines, ...twentieth.messages, ...dead);
        await bench.load(...orderRows(few).keys, waitingCalls);
      } else {
        const quarter = notificationRows(batch(4));
        await bench.load(
          ...[...quarter.orders, ...quarter.documents, ...notificationRows(few).messages, ...dead],
          ...orderRows(few).keys,
          `INSERT INTO recipients (user_id, version, deleted_at)
         SELECT gen_random_uuid(), 1, now() - n * interval '10 minutes' FROM generate_series(1, ${PLAN_ROWS}) n`,
          `INSERT INTO ended_sessions (session_id, user_id, created_at)
         SELECT gen_random_uuid(), gen_random_uuid(), now() - n * interval '1 minute'
         FROM generate_series(1, ${PLAN_ROWS}) n`,
        );
      }
    }, LOAD_TIMEOUT_MS);
    afterAll(() => bench.stop());

    it.each([...always, ...(sweeps[service] ?? [])])(
      "a sweep without a result reads nothing, with stale statistics too: %s",
      async (_, work) => {
        await bench.expectRows(work, IDLE_ROWS);
      },
    );

    // The statistics of an empty table are those of a new installation, which has nothing to prune.
    describe("with fresh statistics", () => {
      beforeAll(async () => {
        await bench.analyze();
      }, LOAD_TIMEOUT_MS);

      it.each([...always, ...(sweeps[service] ?? [])])(
        "a sweep without a result reads nothing: %s",
        async (_, work) => {
          await bench.expectRows(work, IDLE_ROWS);
        },
      );

      it.each(
        all.flatMap(({ store, part, oldest }) =>
          oldest ? [[`${store} ${part ?? ""}`, oldest] as const] : [],
        ),
      )("%s: finds the oldest without reading the others", async (_, oldest) => {
        await bench.expectRows(async (db) => {
          on = db;
          expect(await oldest(db)).toBeDefined();
        }, IDLE_ROWS);
      });

      it.each(all.map((one) => [`${one.store} ${one.part ?? ""}`, one] as const))(
        "%s: deletes the oldest without reading the others",
        async (_, { keepDays, prune }) => {
          const beforeMs = Date.now() - keepDays * DAY_MS;
          await bench.expectRows(async (db) => {
            on = db;
            const before = { at: isoTime(beforeMs), id: firstIdAt(beforeMs) };
            expect(await prune(db as never, before, BATCH)).toBe(BATCH);
          }, ROWS);
        },
      );

      it("the inbox and the outbox delete the oldest without reading the others", async () => {
        await bench.expectRows(async (db) => {
          expect(await pruneInbox(db, firstIdAt(Date.now() - 14 * DAY_MS), BATCH)).toBe(BATCH);
        }, ROWS);
        if (service === "partners") return;
        await bench.expectRows(async (db) => {
          expect(await pruneOutbox(db, 7 * DAY_MS, BATCH)).toBe(BATCH);
        }, ROWS);
      });

      it("a bulk drop of dead letters reads its limit, and no handled messages", async () => {
        const tables = service === "partners" ? [inboxDeadLetters, deadWebhooks] : [inboxDeadLetters];
        const lookedAt = Math.min(PLAN_ROWS / 20, DROP_SCANNED_MAX);
        for (const table of tables) {
          const drop = (filter: DeadLetterDrop) => (db: Db) => dropMatching(db, table, filter);
          await bench.expectRows(
            drop({ type: "no.such", before: isoTime(Date.now()) }),
            4 * lookedAt + IDLE_ROWS,
          );
          await bench.expectRows(drop({ reason: "status 2", limit: BATCH }), 4 * lookedAt + ROWS);
        }
      });

      it("the figures of the queues count dead letters without reading handled messages", async () => {
        await bench.expectRows((db) => inboxStats(db, service, ["order.paid"]), PLAN_ROWS / 8);
      });

      it("the erasure of deleted customers reads their orders only", async () => {
        if (service !== "orders") return;
        await bench.expectRows((db) => dueErasures(db, BATCH, []), IDLE_ROWS);
        await bench.expectRows((db) => pruneErasedCustomers(db, 1), IDLE_ROWS);
      });
    });
  },
);
