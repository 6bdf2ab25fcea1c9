import type { Knex } from "knex";

/**
 * Each offer counts its own changes in `revision`, those of its stock included; its version is `version + revision`.
 * Before, one integer sequence counted the changes of all offers, which ends at 2^31 for all of them at once.
 * `version` keeps its type and is written by the release before this one only: another type would break its prepared
 * statements, and the table would be rewritten under a lock.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER SEQUENCE availability_versions AS bigint;
    ALTER TABLE availability ADD COLUMN revision bigint NOT NULL DEFAULT 0;
    ALTER TABLE availability ALTER COLUMN version SET DEFAULT 1;
    -- Whether orders took or gave back pieces since the partner last said how many there are. Of offers that are
    -- there already it is not known.
    ALTER TABLE availability ADD COLUMN stock_moved boolean NOT NULL DEFAULT true;
    -- The product of another partner that this one was copied from, when its partner began to offer it.
    ALTER TABLE products ADD COLUMN copied_from uuid;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE products DROP COLUMN copied_from;
    ALTER TABLE availability ALTER COLUMN version SET DEFAULT nextval('availability_versions');
    ALTER TABLE availability DROP COLUMN revision, DROP COLUMN stock_moved;
    ALTER SEQUENCE availability_versions AS integer;
  `);
}
