import type { Knex } from "knex";

/** The digest of the erased address, by which the erasure takes the lock of that address. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE erasures ADD COLUMN address text CHECK (length(address) BETWEEN 1 AND 64)");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE erasures DROP COLUMN address");
}
