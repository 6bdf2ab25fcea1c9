import type { Knex } from "knex";

/** A UUIDv7 of the present moment. */
const NEW_ID = `(
  lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
  || '7' || substr(md5(random()::text || profiles.id::text), 1, 3)
  || '8' || substr(md5(random()::text || profiles.id::text), 1, 15))::uuid`;

/**
 * Announces the staff of all partners again: `user.updated` contains the partner from now on, and Notifications sends new
 * orders to its staff. There are few rows, and each keeps its lock for the time of one statement.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    WITH staff AS (
      UPDATE profiles SET version = version + 1, updated_at = now()
      WHERE role = 'partner' AND email_confirmed
      RETURNING ${NEW_ID} AS message_id, id, version, email, first_name, language, partner_id, suspended_at)
    INSERT INTO outbox (id, source, type, subject, time, dataschema, data)
    SELECT message_id, 'waybill/identity', 'user.updated', id::text, now(), 'urn:waybill:message:user.updated:1',
      jsonb_build_object('version', version, 'userId', id, 'email', email, 'firstName', first_name,
        'language', language, 'role', 'partner', 'partnerId', partner_id)
        || CASE WHEN suspended_at IS NULL THEN '{}' ELSE '{"suspended": true}' END::jsonb
    FROM staff
  `);
}

/** The messages contain nothing that an older release would refuse. */
export async function down(): Promise<void> {}
