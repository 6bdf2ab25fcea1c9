import type { Knex } from "knex";

/**
 * The audit log. Its rows contain ids and no personal data of customers, so an erasure does not need to change them. No
 * role can change or delete a row, not even the owner of the table.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE audit_entries (
      id uuid PRIMARY KEY,
      actor_id uuid,
      action text NOT NULL CHECK (length(action) BETWEEN 1 AND 60),
      subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
      detail text CHECK (length(detail) BETWEEN 1 AND 2000),
      ip text CHECK (length(ip) BETWEEN 1 AND 45),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    )
  `);
  await knex.raw("CREATE INDEX audit_entries_actor ON audit_entries (actor_id, id)");
  await knex.raw("CREATE INDEX audit_entries_subject ON audit_entries (subject, id)");
  await knex.raw(`
    CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'audit_entries only grows' USING ERRCODE = 'insufficient_privilege';
    END $$
  `);
  // The trigger also stops superusers. The revoked privilege documents it in \\dp.
  await knex.raw(`
    CREATE TRIGGER audit_entries_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit()
  `);
  await knex.raw("REVOKE UPDATE, DELETE, TRUNCATE ON audit_entries FROM CURRENT_USER, PUBLIC");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE audit_entries");
  await knex.raw("DROP FUNCTION refuse_change_of_audit");
}
