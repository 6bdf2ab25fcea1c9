import type { Knex } from "knex";

// Built beside running writes.
export const config = { transaction: false };

/**
 * Finds the products whose words were made by older rules than those of the mark in front (search-words.ts). The service
 * makes these anew in small batches while it runs; the index is empty afterwards.
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
