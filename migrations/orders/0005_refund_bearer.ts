import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  // Absent for refunds from before this migration.
  await knex.raw(
    "ALTER TABLE refunds ADD COLUMN borne_by text CHECK (borne_by IN ('nobody', 'partner', 'platform'))",
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE refunds DROP COLUMN borne_by");
}
