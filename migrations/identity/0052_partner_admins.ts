import type { Knex } from "knex";

/**
 * Grants that the identity provider does not have yet. The sweep transfers them, with either provider.
 *
 * Before, all staff of a partner had the rights that only its admins have now. For each partner without an admin, the
 * staff member with the oldest account becomes one. The others keep their rights on catalogue, stock, hours and orders.
 * An operator can make them admins by an invitation.
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
