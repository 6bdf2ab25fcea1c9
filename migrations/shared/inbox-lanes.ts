import type { Knex } from "knex";

/**
 * Each type of message has a lane of its own in the queue: what waits for one handler never stands before what another
 * one claims. And what is open about a subject is found without reading through all that waits.
 */
export async function inboxLanesUp(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE INDEX inbox_lanes ON inbox (consumer, type, next_at) WHERE state = 'waiting';
    DROP INDEX inbox_waiting;
    -- Those that ended without a word more than once, and those that are under way again: few at any time.
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
