import type { Knex } from "knex";

/** 2^53 - 1: what JavaScript counts exactly. */
const AMOUNT_MAX_MINOR = "9007199254740991";

/** A table with its columns of minor units. */
export type Sums = Readonly<Record<string, readonly string[]>>;

/** Holds for every new row at once; takes its lock for a moment only, since it reads no row. */
export async function boundSums(knex: Knex, sums: Sums): Promise<void> {
  for (const [table, columns] of Object.entries(sums)) {
    const largest = `greatest(${columns.join(", ")})`;
    await knex.raw(
      `ALTER TABLE ${table} ADD CONSTRAINT ${table}_sums_bounded CHECK (${largest} <= ${AMOUNT_MAX_MINOR}) NOT VALID`,
    );
  }
}

/**
 * Reads all rows under a lock that stops nobody from reading or writing; so it is a migration of its own. Where an
 * older row is beyond the bound, the platform starts all the same: that row is told of when it is met.
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
