import type { Knex } from "knex";

/**
 * Grants that the identity provider has still to be told of; the sweep does it, with either provider.
 *
 * Until now all staff of a partner could do what is now for its admins alone. A partner none of whose staff is an admin
 * gets one: the staff that has been there for longest. The others keep catalogue, stock, hours and orders; an operator
 * makes an admin of them by an invitation.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE pending_grants (
      user_id uuid PRIMARY KEY,
      partner_id uuid NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    )
  `);
  await knex.raw(`
    INSERT INTO pending_grants (user_id, partner_id)
    SELECT DISTINCT ON (partner_id) id, partner_id FROM profiles AS staff
    WHERE role = 'partner' AND email_confirmed AND NOT EXISTS (
      SELECT FROM profiles AS admin WHERE admin.partner_id = staff.partner_id AND admin.partner_admin
    )
    ORDER BY partner_id, created_at, id
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE pending_grants");
}
