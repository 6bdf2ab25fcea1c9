import { type Clock, isoTime, systemClock } from "../../lib/clock.ts";
import { firstIdAt } from "../../lib/ids.ts";
import { inBatches } from "../../lib/messaging/runner.ts";
import type { Db } from "../../lib/sql/database.ts";
import { tryEach } from "../../lib/try-each.ts";
import { pruneDeadLetters } from "../consumer/dead-letters.repository.ts";
import type { Documents, StoredDocument } from "../documents/documents.mixin.ts";
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
  keepDays: number;
  /** @returns the number of deleted rows; less than `limit` when there are no more */
  prune(db: Db, before: Before, limit: number): Promise<number>;
}

export interface PruningOptions {
  postgres: Postgres;
  clock?: Clock;
  keepDeadLettersDays: number;
  retentions?: readonly Retention[];
}

/** Deletes rows of a service after their retention, including the tables that every service has. */
export function pruning(options: PruningOptions): Timer {
  const { postgres, clock = systemClock } = options;
  const all = retentionsOf(options);
  return timer({
    name: "pruning",
    intervalMs: INTERVAL_MS,
    run: (stopping) => prune(postgres.db, all, clock.now(), stopping),
  });
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
    },
    {
      store: "inbox, dead letters",
      keepDays: keepDeadLettersDays,
      prune: (db, { id }, limit) => pruneDeadLetters(db, id, limit),
    },
    ...retentions,
  ];
}

/** Prunes each store independently. A store that fails is tried again at the next run. */
export async function prune(
  db: Db,
  retentions: readonly Retention[],
  nowMs: number,
  stopping?: AbortSignal,
): Promise<void> {
  const one = ({ keepDays, prune }: Retention) => {
    const beforeMs = nowMs - keepDays * DAY_MS;
    const before = { at: isoTime(beforeMs), id: firstIdAt(beforeMs) };
    return inBatches(BATCH, () => prune(db, before, BATCH), stopping);
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
