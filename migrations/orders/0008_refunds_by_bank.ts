import type { Knex } from "knex";

/** An index to find due refunds bank by bank, so that one bank's refunds do not delay another's. */
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
