import type { Knex } from "knex";

/** What is due is looked for bank by bank, so that one bank's refunds are none of another's. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP INDEX refunds_due_idx;
    CREATE INDEX refunds_due_idx ON refunds (bank_id, next_at) WHERE state IN ('pending', 'sent', 'unknown');
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP INDEX refunds_due_idx;
    CREATE INDEX refunds_due_idx ON refunds (next_at) WHERE state IN ('pending', 'sent', 'unknown');
  `);
}
