import type { Database, Transaction } from "../../lib/sql/database.ts";

/** Runs the work in a transaction, in which `now()` stands still, and rolls it back. */
export async function inStillTransaction(
  db: Database,
  work: (trx: Transaction) => Promise<void>,
): Promise<void> {
  const trx = await db.begin();
  try {
    await work(trx);
  } finally {
    await trx.rollback();
  }
}

/** A moment of the transaction's time as SQL, later by so many seconds, or earlier where that is below 0. */
export const at = (seconds: number) => `now() + interval '${seconds} seconds'`;
