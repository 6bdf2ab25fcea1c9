import type { Bindings } from "./bindings.ts";
import { type Db, row } from "./database.ts";

/** The exclusive right of a worker to one row, for a limited time. */
export interface Lease {
  /** The id of the row. */
  id: string;
  /** The id of the lease, which a worker chooses for each claim. */
  leaseId: string;
}

/** A table whose rows are work for several processes. */
export interface QueueColumns {
  table: string;
  /** The column with the time from which the row is due. While it is leased, the end of the lease. */
  dueAt: string;
  /** The column with the id of the lease; null without one. */
  leaseId: string;
}

export interface Release {
  /** The changes beside the end of the lease, as in UPDATE … SET. */
  set: string;
  /** The expression of the next due time. Default: `delayMs` from now, which is then a binding. */
  dueAt?: string;
  /** Default: `id`. */
  returning?: string;
}

/**
 * The lease of a work queue in a table. A claim gives each row a lease: for its time no other worker claims the row.
 * After a crash the lease ends by itself, and the row is due again. A worker's result is written only while it holds the
 * lease (the fence), so a worker that was too slow does not overwrite the result of its successor.
 *
 * How a queue chooses the rows of a claim is its own: that is where one bank or partner is kept from delaying another.
 */
export interface LeasedQueue {
  /** The changes of a claim, as in UPDATE … SET. Bindings: `leaseId`, `leaseMs`. */
  readonly claimed: string;
  /** The condition of the fence. Bindings: `id`, `leaseId`. */
  readonly held: string;
  /** Ends the lease and makes the row due later. @returns undefined if the lease is lost: nothing was changed */
  release<T = { id: string }>(
    db: Db,
    lease: Lease,
    release: Release,
    bindings?: Extract<Bindings, Readonly<Record<string, unknown>>>,
  ): Promise<T | undefined>;
}

const after = (binding: string) => `now() + :${binding} * interval '1 millisecond'`;

export function leasedQueue({ table, dueAt, leaseId }: QueueColumns): LeasedQueue {
  const held = `id = :id AND ${leaseId} = :leaseId`;
  return {
    claimed: `${leaseId} = :leaseId, ${dueAt} = ${after("leaseMs")}`,
    held,
    release(db, lease, { set, dueAt: nextDueAt = after("delayMs"), returning = "id" }, bindings = {}) {
      const sql = `UPDATE ${table} SET ${leaseId} = NULL, ${dueAt} = ${nextDueAt}, ${set} WHERE ${held} RETURNING ${returning}`;
      return row(db, sql, { ...bindings, id: lease.id, leaseId: lease.leaseId });
    },
  };
}
