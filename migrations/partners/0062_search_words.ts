import type { Knex } from "knex";

// The index is created concurrently with writes.
export const config = { transaction: false };

/**
 * Finds products whose search words were computed by older rules (search-words.ts puts the version of its rules in
 * front). The service computes them again in small batches while it runs. Then the index is empty.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("DROP INDEX CONCURRENTLY IF EXISTS products_old_words_idx");
  await knex.raw(
    "CREATE INDEX CONCURRENTLY products_old_words_idx ON products (id) WHERE words[1] IS DISTINCT FROM '#2'",
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP INDEX CONCURRENTLY IF EXISTS products_old_words_idx");
}
