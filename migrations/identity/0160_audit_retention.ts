import type { Knex } from "knex";

/** No setting makes the retention of the audit log shorter than this. */
const KEPT_DAYS_MIN = 365;

/**
 * Entries of the audit log may be deleted after their retention. The service's user still has no right to delete: it calls
 * a function that runs with the rights of the owner and deletes the oldest entries. A trigger keeps every entry of the last
 * year, whoever deletes, also the owner and in replication mode.
 */
export async function up(knex: Knex): Promise<void> {
  // Migration 0007 has revoked these privileges from the owner too, who may grant them again.
  await knex.raw("GRANT DELETE, TRIGGER ON audit_entries TO CURRENT_USER");
  await knex.raw(`
    CREATE FUNCTION refuse_deletion_of_young_audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF OLD.created_at > now() - interval '${KEPT_DAYS_MIN} days' THEN
        RAISE EXCEPTION 'audit_entries keeps the last year' USING ERRCODE = 'insufficient_privilege';
      END IF;
      RETURN OLD;
    END $$;
    CREATE TRIGGER audit_entries_keep_year BEFORE DELETE ON audit_entries
      FOR EACH ROW EXECUTE FUNCTION refuse_deletion_of_young_audit();
    ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_entries_keep_year;
    DROP TRIGGER audit_entries_only_grow ON audit_entries;
    CREATE TRIGGER audit_entries_only_grow BEFORE UPDATE OR TRUNCATE ON audit_entries
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit();
    ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_entries_only_grow;
    REVOKE TRIGGER ON audit_entries FROM CURRENT_USER;
  `);
  // The entry of another service has the id and the time of its message; the service writes both.
  await knex.raw(`
    CREATE FUNCTION prune_audit(before_id uuid, rows_max integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE pruned integer;
    BEGIN
      DELETE FROM audit_entries WHERE id = ANY (ARRAY(
        SELECT id FROM audit_entries
        WHERE id < before_id AND created_at <= now() - interval '${KEPT_DAYS_MIN} days' ORDER BY id LIMIT rows_max));
      GET DIAGNOSTICS pruned = ROW_COUNT;
      RETURN pruned;
    END $$
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP FUNCTION prune_audit");
  await knex.raw("GRANT TRIGGER ON audit_entries TO CURRENT_USER");
  await knex.raw(`
    DROP TRIGGER audit_entries_only_grow ON audit_entries;
    CREATE TRIGGER audit_entries_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit();
    ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_entries_only_grow;
    DROP TRIGGER audit_entries_keep_year ON audit_entries;
    REVOKE DELETE, TRIGGER ON audit_entries FROM CURRENT_USER;
  `);
  await knex.raw("DROP FUNCTION refuse_deletion_of_young_audit");
}
