import { type Clock, isoTime, systemClock } from "../../lib/clock.ts";
import { firstIdAt, idTimeMs, isId } from "../../lib/ids.ts";
import { inBatches } from "../../lib/messaging/runner.ts";
import { type Db, row } from "../../lib/sql/database.ts";
import { tryEach } from "../../lib/try-each.ts";
import { pruneDeadLetters } from "../consumer/dead-letters.repository.ts";
import type { Documents, StoredDocument } from "../documents/documents.mixin.ts";
import type { Gauges } from "../health/health.mixin.ts";
import { pruneKeys } from "../postgres/idempotency.repository.ts";
import type { Postgres } from "../postgres/postgres.mixin.ts";
import { type Timer, timer } from "../timer/timer.mixin.ts";

const INTERVAL_MS = 600_000;
/** The number of rows that one statement deletes well within its timeout. */
const BATCH = 500;
const DAY_MS = 86_400_000;
/** How long an Idempotency-Key is kept. */
const KEY_DAYS = 1;

/** Rows before this moment are deleted. `id` is the smallest UUIDv7 of the moment. */
export interface Before {
  at: string;
  id: string;
}

/** The retention of one store, and the function that deletes up to `limit` older rows. */
export interface Retention {
  /** The table or collection, as docs/operating.md lists it. */
  store: string;
  /** The part of the rows that is erased, if the rows stay. */
  part?: string;
  keepDays: number;
  /** @returns the number of deleted or erased rows; less than `limit` when there are no more */
  prune(db: Db, before: Before, limit: number): Promise<number>;
  /** The time or the UUIDv7 of the oldest row that `prune` could delete. Default: the metric lacks this store. */
  oldest?(db: Db): Promise<string | undefined>;
}

/** Reads the oldest value of the column that a table is pruned by. The column has an index. */
export function oldestIn(table: string, column: string, which?: string): Required<Retention>["oldest"] {
  const condition = which ? `WHERE ${which}` : "";
  return async (db) =>
    (
      await row<{ oldest: string }>(
        db,
        `SELECT ${column} AS oldest FROM ${table} ${condition} ORDER BY ${column} LIMIT 1`,
      )
    )?.oldest;
}

/** The results of a service's pruning, for its metrics. */
export interface Pruned {
  /** The number of rows since the process started, by store. */
  rows: Record<string, number>;
  /** The time of the oldest row after the last run, by store. */
  oldestMs: Record<string, number>;
}

export function retentionGauges({ rows, oldestMs }: Pruned, clock: Clock): Gauges {
  return {
    retention_rows_total: {
      about: "Rows that were deleted or erased after their retention.",
      label: "store",
      read: () => rows,
    },
    retention_oldest_age_seconds: {
      about: "Age of the oldest row that is deleted or erased after its retention, at the last run.",
      label: "store",
      read: () =>
        Object.fromEntries(
          Object.entries(oldestMs).map(([store, ms]) => [store, Math.max(0, (clock.now() - ms) / 1_000)]),
        ),
    },
  };
}

export interface PruningOptions {
  postgres: Postgres;
  clock?: Clock;
  keepDeadLettersDays: number;
  retentions?: readonly Retention[];
}

/** Deletes rows of a service after their retention, including the tables that every service has. */
export function pruning(options: PruningOptions): Timer & { gauges: Gauges } {
  const { postgres, clock = systemClock } = options;
  const all = retentionsOf(options);
  const pruned: Pruned = { rows: {}, oldestMs: {} };
  const work = timer({
    name: "pruning",
    intervalMs: INTERVAL_MS,
    run: (stopping) => prune(postgres.db, all, clock.now(), stopping, pruned),
  });
  return { ...work, gauges: retentionGauges(pruned, clock) };
}

/** The retentions of the service and those of the tables that every service has. */
export function retentionsOf(
  options: Pick<PruningOptions, "keepDeadLettersDays" | "retentions">,
): Retention[] {
  const { keepDeadLettersDays, retentions = [] } = options;
  return [
    {
      store: "idempotency_keys",
      keepDays: KEY_DAYS,
      prune: (db, { at }, limit) => pruneKeys(db, at, limit),
      oldest: oldestIn("idempotency_keys", "created_at"),
    },
    {
      store: "inbox, dead letters",
      keepDays: keepDeadLettersDays,
      prune: (db, { id }, limit) => pruneDeadLetters(db, id, limit),
      oldest: oldestIn("inbox", "dead_letter_id", "state IN ('dead', 'quarantined')"),
    },
    ...retentions,
  ];
}

/**
 * Prunes each store independently. A store that fails is tried again at the next run.
 * @param pruned records the results
 */
export async function prune(
  db: Db,
  retentions: readonly Retention[],
  nowMs: number,
  stopping?: AbortSignal,
  pruned: Pruned = { rows: {}, oldestMs: {} },
): Promise<void> {
  const one = async ({ store, part, keepDays, prune, oldest }: Retention) => {
    const beforeMs = nowMs - keepDays * DAY_MS;
    const before = { at: isoTime(beforeMs), id: firstIdAt(beforeMs) };
    const name = part ? `${store} (${part})` : store;
    const batch = async () => {
      const count = await prune(db, before, BATCH);
      pruned.rows[name] = (pruned.rows[name] ?? 0) + count;
      return count;
    };
    await inBatches(BATCH, batch, stopping);
    const left = await oldest?.(db);
    if (left === undefined) delete pruned.oldestMs[name];
    else pruned.oldestMs[name] = isId(left) ? idTimeMs(left) : Date.parse(left);
  };
  await tryEach("stores", retentions, one, stopping);
}

/** Deletes up to `limit` documents that match the query, in the order of its index. */
export async function removeDocuments<D extends StoredDocument>(
  documents: Pick<Documents<D>, "find" | "remove">,
  what: Required<Pick<Parameters<Documents<D>["find"]>[0], "query" | "sort">>,
  limit: number,
): Promise<number> {
  const found = await documents.find({ ...what, limit });
  if (found.length === 0) return 0;
  const ids = found.map(({ _id }) => _id);
  await documents.remove({ _id: { $in: ids } } as Parameters<Documents<D>["remove"]>[0]);
  return found.length;
}

/** Reads the oldest value of the field that a collection is pruned by. */
export function oldestDocument<D extends StoredDocument>(
  documents: Pick<Documents<D>, "find">,
  field: keyof D & string,
): Required<Retention>["oldest"] {
  return async () => {
    const [first] = await documents.find({ query: {}, sort: [field], limit: 1 });
    return first?.[field] as string | undefined;
  };
}
