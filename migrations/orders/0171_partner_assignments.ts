import type { Knex } from "knex";

/** How the ready orders of a partner find a courier, where it differs from the setting of the platform. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE partner_assignments (
      partner_id uuid PRIMARY KEY,
      assignment text NOT NULL CHECK (assignment IN ('pool', 'offer')),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX partner_assignments_offer_idx ON partner_assignments (partner_id) WHERE assignment = 'offer';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE partner_assignments");
}
