import type { Knex } from "knex";

/** Whether a stuck refund has raised its alert. For older refunds this is unknown, so their alerts are raised again. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE refunds ADD COLUMN alerted boolean NOT NULL DEFAULT false");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE refunds DROP COLUMN alerted");
}
