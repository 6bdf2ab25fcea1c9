import type { Knex } from "knex";

/**
 * Each offer counts its own changes in `revision`, including those of its stock. Its version is `version + revision`.
 * Before, one integer sequence counted the changes of all offers and would have ended at 2^31. `version` keeps its
 * type, and only the previous release writes it: another type would break the prepared statements of that release and
 * rewrite the table under a lock.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER SEQUENCE availability_versions AS bigint;
    ALTER TABLE availability ADD COLUMN revision bigint NOT NULL DEFAULT 0;
    ALTER TABLE availability ALTER COLUMN version SET DEFAULT 1;
    -- Whether orders have taken or returned pieces since the partner set the stock. Unknown for existing offers.
    ALTER TABLE availability ADD COLUMN stock_moved boolean NOT NULL DEFAULT true;
    -- The product of another partner that this one was copied from.
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
