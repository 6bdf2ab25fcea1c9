import type { Knex } from "knex";

/** 2^53 - 1: the largest integer that JavaScript represents exactly. */
const AMOUNT_MAX_MINOR = "9007199254740991";

/** A table with its columns of minor units. */
export type Sums = Readonly<Record<string, readonly string[]>>;

/** Applies to every new row at once. It holds its lock only for a moment, because it reads no row. */
export async function boundSums(knex: Knex, sums: Sums): Promise<void> {
  for (const [table, columns] of Object.entries(sums)) {
    const largest = `greatest(${columns.join(", ")})`;
    await knex.raw(
      `ALTER TABLE ${table} ADD CONSTRAINT ${table}_sums_bounded CHECK (${largest} <= ${AMOUNT_MAX_MINOR}) NOT VALID`,
    );
  }
}

/**
 * Reads all rows under a lock that allows reads and writes, so it is a migration of its own. If an older row exceeds
 * the bound, the platform starts nevertheless and raises an alert when it reads that row.
 */
export async function validateSums(knex: Knex, sums: Sums): Promise<void> {
  for (const table of Object.keys(sums)) {
    await knex.raw(`
      DO $$ BEGIN
        ALTER TABLE ${table} VALIDATE CONSTRAINT ${table}_sums_bounded;
      EXCEPTION WHEN check_violation THEN
        RAISE WARNING 'a row of ${table} holds a sum beyond 2^53 - 1';
      END $$`);
  }
}

export async function unboundSums(knex: Knex, sums: Sums): Promise<void> {
  for (const table of Object.keys(sums)) {
    await knex.raw(`ALTER TABLE ${table} DROP CONSTRAINT ${table}_sums_bounded`);
  }
}
