import type { Knex } from "knex";

/**
 * Keycloak's own id of a session, from which ours is derived if it is no UUID. In rows of the former release, which
 * took UUIDs only, it is the id itself. Not validated: no row has a value yet.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE keycloak_sessions
      ADD COLUMN keycloak_id text,
      ADD CONSTRAINT keycloak_sessions_keycloak_id_check CHECK (length(keycloak_id) BETWEEN 1 AND 255) NOT VALID
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE keycloak_sessions DROP COLUMN keycloak_id");
}
