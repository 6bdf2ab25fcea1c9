import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Database, rows } from "../../lib/sql/database.ts";
import { insertSession, sweepSessions } from "../../providers/identity/built-in.repository.ts";
import { unpublishedSessions } from "../../providers/identity/ended-sessions.repository.ts";
import {
  insertSession as insertKeycloakSession,
  sweepSessions as sweepKeycloakSessions,
  unclosedSessions,
} from "../../providers/identity/keycloak.repository.ts";
import { providerSql } from "../../services/identity/dependencies.ts";
import { sweepCodes } from "../../services/identity/store/codes.repository.ts";
import { sweepUndos } from "../../services/identity/store/email-undos.repository.ts";
import { eraseTraces, pendingErasures } from "../../services/identity/store/erasures.repository.ts";
import { sweepInvitations } from "../../services/identity/store/invitations.repository.ts";
import { resetAllowances, sweepAllowances } from "../../services/identity/store/limits.repository.ts";
import {
  deleteUnconfirmedRow,
  pendingGrants,
  unconfirmedProfiles,
} from "../../services/identity/store/profiles.repository.ts";
import { explain } from "../support/explain.ts";
import { LOAD_TIMEOUT_MS, PLAN_ROWS, type PlanBench, planBench } from "../support/plans.ts";

/** Half of the large size: seven tables have so many. */
const ROWS = PLAN_ROWS / 2;
const BATCH = 10;
/** Some pages of an index and of the table for each row of the batch, whatever the size of the table. */
const BATCH_PAGES = 150;

let bench: PlanBench;
let db: Database;
beforeAll(async () => {
  bench = await planBench("identity");
  db = bench.db;
  const id = "gen_random_uuid()";
  // Of each table all but a few rows are still needed, and the planner has no statistics about their number.
  const [soon, long] = ["now() + n * interval '1 second'", "now() - interval '40 days'"];
  const over = `CASE WHEN n % 500 = 0 THEN ${long} ELSE ${soon} END`;
  const from = `FROM generate_series(1, ${ROWS}) n`;
  await bench.load(
    `INSERT INTO sessions (id, account_id, salt, expires_at, ended_at, told)
     SELECT ${id}, ${id}, 'salt-of-sixteen-c', ${soon}, CASE WHEN n % 500 = 0 THEN ${long} END, n % 1000 = 0 ${from}`,
    `INSERT INTO keycloak_sessions (id, account_id, salt, tokens_sealed, expires_at, ended_at, closed, told)
     SELECT ${id}, ${id}, 'salt-of-sixteen-c', 's', ${soon}, CASE WHEN n % 500 = 0 THEN ${long} END, n % 1000 = 0,
       n % 1000 = 0 ${from}`,
    `INSERT INTO verification_codes (purpose, subject, address, requester, code_hash, expires_at)
     SELECT 'confirm-email', 's' || n, 's' || n, 'r', 'h', ${over} ${from}`,
    `INSERT INTO allowances (scope, subject, used, renewed_at) SELECT 'mail', 's' || n, 1, ${over} ${from}`,
    `INSERT INTO invitations (id, email, role, token_hash, invited_by, expires_at)
     SELECT ${id}, n || '@example.org', 'deliverer', 't' || n, ${id}, ${over} ${from}`,
    `INSERT INTO profiles (id, email, first_name, last_name, language, role, updated_at)
     SELECT ${id}, n || '@example.org', 'A', 'B', 'en', 'customer', ${over.replace(soon, "now()")} ${from}`,
    `INSERT INTO erasures (user_id) SELECT ${id} ${from}`,
    `INSERT INTO email_undos (token_hash, user_id, former_email, expires_at)
     SELECT 't' || n, ${id}, 'a@example.org', ${over} ${from}`,
    `INSERT INTO pending_grants (user_id, partner_id) SELECT ${id}, ${id} ${from}`,
    `INSERT INTO outbox (id, source, type, subject, time, dataschema, data, sent_at)
     SELECT ${id}, 's', 't', 'user' || n, now(), 'd', '{}', now() ${from}`,
  );
}, LOAD_TIMEOUT_MS);
afterAll(() => bench.stop());

const sqlOf = (on: Parameters<typeof rows>[0]) => providerSql(() => on);

describe("a sweep of identity, among rows that are still needed", () => {
  it.each<[string, (on: Parameters<typeof rows>[0]) => Promise<unknown>]>([
    ["sessions", (on) => sweepSessions(sqlOf(on), BATCH)],
    ["Keycloak's sessions", (on) => sweepKeycloakSessions(sqlOf(on), BATCH)],
    ["codes", (on) => sweepCodes(on, BATCH)],
    ["allowances", (on) => sweepAllowances(on, BATCH)],
    ["invitations", (on) => sweepInvitations(on, 30, BATCH)],
    ["registrations", (on) => unconfirmedProfiles(on, 7, BATCH)],
    ["erasures", (on) => pendingErasures(on, BATCH)],
    ["addresses that may be undone", (on) => sweepUndos(on, BATCH)],
    ["grants that the provider does not have yet", (on) => pendingGrants(on, BATCH)],
    ["ended sessions that are not published", (on) => unpublishedSessions(sqlOf(on), "sessions", BATCH)],
    [
      "ended sessions of Keycloak that are not published",
      (on) => unpublishedSessions(sqlOf(on), "keycloak_sessions", BATCH),
    ],
    ["sessions to be closed at Keycloak", (on) => unclosedSessions(sqlOf(on), BATCH)],
  ])("of %s, reads what is due and nothing else", async (_name, sweep) => {
    const { pages, scanned, text } = await explain(db, sweep);
    expect({ scanned, few: pages <= BATCH_PAGES || text }).toEqual({ scanned: [], few: true });
  });
});

it("the data of one user is erased without reading that of the others", async () => {
  const [id, subjects] = [newId(), ["s7", "s8"]];
  const { pages, scanned, text } = await explain(db, (on) =>
    eraseTraces(on, { id, email: "7@example.org", subjects }),
  );
  expect({ scanned, few: pages < BATCH_PAGES || text }).toEqual({ scanned: [], few: true });
});

it("the counters of one address are deleted without reading those of the others", async () => {
  const { pages, scanned } = await explain(db, (on) => resetAllowances(on, "mail", "s7"));
  expect({ scanned, few: pages < BATCH_PAGES || pages }).toEqual({ scanned: [], few: true });
});

describe("a new session, among those of all others", () => {
  const [id, accountId, salt] = [newId(), newId(), "salt-of-sixteen-c"];
  const client = { ip: "192.0.2.1", userAgent: "Phone" };

  it("of the built-in provider, reads those of its account and no others", async () => {
    await db.query(
      "INSERT INTO accounts (id, email, password_hash, confirmed, role) VALUES (?, 'a@x.org', 'h', true, 'customer')",
      [accountId],
    );
    const account = {
      id: accountId,
      email: "",
      passwordHash: "h",
      confirmed: true,
      role: "customer",
    } as const;
    const { scanned } = await explain(db, (on) =>
      insertSession(sqlOf(on), { id, account, salt, client, idleSeconds: 60, keep: 50 }),
    );
    expect(scanned).not.toContain("sessions");
  });

  it("of Keycloak, reads those of its account and no others", async () => {
    const ours = { id, keycloakId: id, accountId, salt, tokensSealed: "s", client };
    const session = { ...ours, lifeSeconds: 60, keep: 50 };
    const { scanned } = await explain(db, (on) => insertKeycloakSession(sqlOf(on), session));
    expect(scanned).not.toContain("keycloak_sessions");
  });
});

describe("deleteUnconfirmedRow", () => {
  it.each([
    ["was confirmed", "email_confirmed = true"],
    ["was registered again", "updated_at = now()"],
  ])("of a registration that %s after the sweep read it, skips it", async (_name, change) => {
    const [due] = await unconfirmedProfiles(db, 7, 1);
    await db.query(`UPDATE profiles SET ${change} WHERE id = ?`, [due?.id as string]);
    expect(await deleteUnconfirmedRow(db, due?.id as string, 7)).toBeUndefined();
    expect(await rows(db, "SELECT 1 FROM profiles WHERE id = ?", [due?.id])).toHaveLength(1);
  });

  it("of one that still waits, deletes it", async () => {
    const [due] = await unconfirmedProfiles(db, 7, 1);
    expect(await deleteUnconfirmedRow(db, due?.id as string, 7)).toMatchObject({ id: due?.id });
  });
});
