import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { type DatabaseName, databases } from "../../platform/migrate.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

const OWN_WRITES = "the writes of one row, each a request that the limits of its user and address count";
const MOVES = "the moves of one order, of which the table of states allows few";
const WAITS = "tries of one thing with waits of seconds between them: 2^31 seconds are 68 years";

/** Columns of 32 bits that no CHECK keeps small, with what bounds them. */
const BOUNDED: Record<DatabaseName, Record<string, string>> = {
  orders: {
    "bank_contacts.failures": WAITS,
    "banks.version": OWN_WRITES,
    "former_deliverers.version": OWN_WRITES,
    "inbox.attempts": WAITS,
    "order_transitions.version": MOVES,
    "orders.deadline_failures": WAITS,
    "orders.handover_failures": "the trigger check_order, which refuses a sixth",
    "orders.reconcile_failures": WAITS,
    "orders.reconcile_looks": WAITS,
    "orders.version": MOVES,
    "outbox.attempts": WAITS,
    "refunds.attempts": WAITS,
  },
  partners: {
    "availability.stock": "a partner may set a million, and orders give back what they took",
    "availability.version": "written by the release before revisions only, whose sequence it followed",
    "inbox.attempts": WAITS,
    "outbox.attempts": WAITS,
    "partners.version": OWN_WRITES,
    "products.version": OWN_WRITES,
    "stock_reservations.order_version": MOVES,
    "webhook_deliveries.claims": WAITS,
    "webhook_deliveries.duration_ms": "one call, which its time limit ends",
  },
  notifications: {
    "agents.version": OWN_WRITES,
    "held_notifications.order_version": MOVES,
    "inbox.attempts": WAITS,
    "known_orders.version": MOVES,
    "notifications.passes": WAITS,
    "outbox.attempts": WAITS,
    "recipients.version": OWN_WRITES,
    "templates.version": OWN_WRITES,
  },
  identity: {
    "allowances.used": "what one window of a limit allows",
    "export_pages.number": "the pages of one user's data",
    "exports.failures": WAITS,
    "exports.pages": "the pages of one user's data",
    "inbox.attempts": WAITS,
    "keycloak_sessions.generation": OWN_WRITES,
    "outbox.attempts": WAITS,
    "profiles.avatar_version": OWN_WRITES,
    "profiles.version": OWN_WRITES,
    "sessions.generation": OWN_WRITES,
    "verification_codes.tries": OWN_WRITES,
  },
};

/** A constraint that keeps the column below a number, or at another column that is kept so. */
const HAS_UPPER_BOUND = (column: string) => new RegExp(`\\b${column} (?:<=? \\d+|= quantity|= ANY)`);

describe.each(databases)("in the database of %s,", (service) => {
  let database: TestDatabase;
  let client: pg.Client;
  beforeAll(async () => {
    database = await createDatabase(service);
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await database.drop();
  });

  it("no sequence ends at 2^31, except those of the migrations", async () => {
    const { rows } = await client.query<{ name: string }>(
      `SELECT sequence_name AS name FROM information_schema.sequences
       WHERE data_type <> 'bigint' AND sequence_name NOT LIKE 'knex\\_migrations%'`,
    );
    expect(rows).toEqual([]);
  });

  it("every column of 32 bits has a CHECK, or is listed with the reason why it grows slowly", async () => {
    const { rows } = await client.query<{ name: string; column: string; checks: string[] }>(
      `SELECT c.table_name || '.' || c.column_name AS name, c.column_name AS column,
         ARRAY(SELECT pg_get_constraintdef(oid) FROM pg_constraint
           WHERE contype = 'c' AND conrelid = format('%I', c.table_name)::regclass) AS checks
       FROM information_schema.columns c
       WHERE c.table_schema = 'public' AND c.data_type IN ('integer', 'smallint')
         AND c.table_name NOT LIKE 'knex\\_migrations%'`,
    );
    const unbounded = rows.filter(
      ({ column, checks }) => !checks.some((check) => HAS_UPPER_BOUND(column).test(check)),
    );
    expect(rows.length).toBeGreaterThan(5);
    expect(unbounded.map(({ name }) => name).sort()).toEqual(Object.keys(BOUNDED[service]).sort());
  });
});
