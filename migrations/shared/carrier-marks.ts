import type { Knex } from "knex";

/**
 * The state of the outbox's message bus. `mark` is the last checkpoint of the message bus. The other columns are the
 * progress of a repeated publication, which runs from the newest message to the oldest.
 */
export async function carrierMarksUp(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE carrier_marks (
      carrier text PRIMARY KEY CHECK (length(carrier) BETWEEN 1 AND 60),
      mark text NOT NULL CHECK (length(mark) <= 1000),
      again_since timestamptz,
      again_until timestamptz,
      again_below uuid,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CHECK (num_nulls(again_since, again_until, again_below) IN (0, 3))
    )
  `);
}

export async function carrierMarksDown(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE carrier_marks");
}
