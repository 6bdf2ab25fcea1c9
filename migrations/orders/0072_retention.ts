import type { Knex } from "knex";

/** Indexes that find the rows to prune, and a way to remove rows from a history. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE INDEX payment_events_age_idx ON payment_events (created_at);
    CREATE INDEX payments_query_2 ON documents.payments ((document -> 'at'));
    CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF TG_OP = 'DELETE' AND current_setting('waybill.pruning', true) = 'on' THEN RETURN OLD; END IF;
        RAISE EXCEPTION 'the rows of % are never changed', TG_TABLE_NAME;
      END $$;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP INDEX payment_events_age_idx, documents.payments_query_2;
    CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'the rows of % are never changed', TG_TABLE_NAME; END $$;
  `);
}
