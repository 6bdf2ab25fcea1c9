import type { Knex } from "knex";

const STATES = "state IN ('pending', 'held', 'sent', 'muted', 'dropped', 'failed')";
const STATES_BEFORE = "state IN ('pending', 'sent', 'muted', 'failed')";

/**
 * Quiet hours of users, and the notifications that are deferred until their end. They have a table of their own, so
 * that the large table of all notifications needs no further column and index.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE preferences
      ADD COLUMN quiet_from_minute integer CHECK (quiet_from_minute BETWEEN 0 AND 1439),
      ADD COLUMN quiet_until_minute integer CHECK (quiet_until_minute BETWEEN 0 AND 1439),
      ADD COLUMN quiet_time_zone text CHECK (length(quiet_time_zone) BETWEEN 1 AND 64),
      ADD CONSTRAINT preferences_quiet_check CHECK (
        num_nulls(quiet_from_minute, quiet_until_minute, quiet_time_zone) IN (0, 3)
        AND quiet_from_minute <> quiet_until_minute);

    -- Not validated: every row satisfies the narrower check that it replaces, and reading them all would hold a lock for long.
    ALTER TABLE notifications
      DROP CONSTRAINT notifications_state_check,
      ADD CONSTRAINT notifications_state_check CHECK (${STATES}) NOT VALID;

    CREATE TABLE held_notifications (
      notification_id uuid PRIMARY KEY REFERENCES notifications (id) ON DELETE CASCADE,
      user_id uuid NOT NULL,
      held_until timestamptz NOT NULL,
      -- The version of the order, if the notification is about an order.
      order_version integer CHECK (order_version > 0),
      -- The text of the mail if one is sent: title, body and language.
      mail jsonb CHECK (jsonb_typeof(mail) = 'object' AND length(mail::text) <= 65536),
      -- Whether the message notification.due is in the outbox.
      queued boolean NOT NULL DEFAULT false,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX held_notifications_due_idx ON held_notifications (held_until) WHERE NOT queued;
    CREATE INDEX held_notifications_user_idx ON held_notifications (user_id);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TABLE held_notifications;
    UPDATE notifications SET state = 'failed' WHERE state IN ('held', 'dropped');
    ALTER TABLE notifications
      DROP CONSTRAINT notifications_state_check,
      ADD CONSTRAINT notifications_state_check CHECK (${STATES_BEFORE});
    ALTER TABLE preferences
      DROP CONSTRAINT preferences_quiet_check,
      DROP COLUMN quiet_from_minute, DROP COLUMN quiet_until_minute, DROP COLUMN quiet_time_zone
  `);
}
