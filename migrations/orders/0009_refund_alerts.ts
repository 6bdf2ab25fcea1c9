import type { Knex } from "knex";

/** Whether an operator was told that a refund is stuck. Of older ones nobody can say: they are told of once more. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE refunds ADD COLUMN alerted boolean NOT NULL DEFAULT false");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE refunds DROP COLUMN alerted");
}
