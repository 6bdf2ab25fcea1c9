import type { Knex } from "knex";

/**
 * The service's own user has privileges on every table by default. In the audit log it may only read and insert. The
 * trigger is also active for replication.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    DO $$
    DECLARE grantee text;
    BEGIN
      FOR grantee IN
        SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = 'audit_entries'::regclass
      LOOP
        EXECUTE 'REVOKE UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON audit_entries FROM ' || grantee;
      END LOOP;
    END $$
  `);
  await knex.raw("ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_entries_only_grow");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE audit_entries ENABLE TRIGGER audit_entries_only_grow");
}
