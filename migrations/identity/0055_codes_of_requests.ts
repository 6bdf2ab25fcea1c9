import type { Knex } from "knex";

/**
 * A code belongs to the request that it was created for. An address may have several, one for each requester, and a
 * registration is stored beside its code. Codes that were sent before this migration become invalid.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("DELETE FROM verification_codes");
  await knex.raw(`
    ALTER TABLE verification_codes
      -- A digest of the address that the code was sent to, or the id of the user who changes it.
      ADD COLUMN address text CHECK (length(address) BETWEEN 1 AND 64),
      ADD COLUMN requester text CHECK (length(requester) BETWEEN 1 AND 64),
      -- The end of the code's validity, if the row is kept longer.
      ADD COLUMN valid_until timestamptz,
      ADD COLUMN registration_sealed text CHECK (length(registration_sealed) BETWEEN 1 AND 20000)
  `);
  await knex.raw("CREATE INDEX verification_codes_address ON verification_codes (address, purpose)");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DELETE FROM verification_codes");
  await knex.raw(`
    ALTER TABLE verification_codes DROP COLUMN address, DROP COLUMN requester, DROP COLUMN valid_until,
      DROP COLUMN registration_sealed
  `);
}
