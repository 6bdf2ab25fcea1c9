import type { Knex } from "knex";

/** Runs the work in a transaction, in which `now()` stands still, and rolls it back. */
export async function inStillTransaction(
  db: Knex,
  work: (trx: Knex.Transaction) => Promise<void>,
): Promise<void> {
  const trx = await db.transaction();
  try {
    await work(trx);
  } finally {
    await trx.rollback();
  }
}

/** A moment of the transaction's time as SQL, later by so many seconds, or earlier where that is below 0. */
export const at = (seconds: number) => `now() + interval '${seconds} seconds'`;
