import type { Knex } from "knex";

/** Whose turn an erasure has to wait for: the digest of the address, which is erased itself. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE erasures ADD COLUMN address text CHECK (length(address) BETWEEN 1 AND 64)");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE erasures DROP COLUMN address");
}
