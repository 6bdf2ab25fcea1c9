import type { Knex } from "knex";

/**
 * Each type of message has its own part of the queue, so that waiting messages of one handler do not delay those of
 * another. The open messages about a subject are found without reading all waiting ones.
 */
export async function inboxLanesUp(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE INDEX inbox_lanes ON inbox (consumer, type, next_at) WHERE state = 'waiting';
    DROP INDEX inbox_waiting;
    -- Messages whose delivery ended without an outcome more than once, and those in progress again: always few.
    CREATE INDEX inbox_suspects ON inbox (consumer, next_at)
      WHERE state = 'waiting' AND lease_token IS NOT NULL AND attempts >= 2;
    CREATE INDEX inbox_open_subjects ON inbox (subject) WHERE state <> 'done';
    CREATE INDEX outbox_open_subjects ON outbox (subject) WHERE sent_at IS NULL;
  `);
}

export async function inboxLanesDown(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE INDEX inbox_waiting ON inbox (consumer, next_at) WHERE state = 'waiting';
    DROP INDEX inbox_suspects, inbox_lanes, inbox_open_subjects, outbox_open_subjects;
  `);
}
