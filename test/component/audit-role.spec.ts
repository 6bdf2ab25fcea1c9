import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { newId } from "../../lib/ids.ts";
import { Database } from "../../lib/sql/database.ts";
import { migrate } from "../../platform/migrate.ts";
import { canChangeAudit, pruneAudit } from "../../services/identity/store/audit.repository.ts";
import { type IdentityBench, startIdentity } from "../support/identity.ts";
import { ACQUIRE_TIMEOUT_MS, createDatabase, type TestDatabase } from "../support/postgres.ts";
import { query } from "../support/sql.ts";

/**
 * The script that the PostgreSQL image runs for each service's database at the first start of Compose or of the dev
 * overlay.
 */
const INIT = new URL("../../deploy/postgres/init.sh", import.meta.url);
const PASSWORD = "password-of-the-tests";
const DENIED = "42501";
const DAY_MS = 86_400_000;

const suffix = newId().replaceAll("-", "");
const service = `identity_${suffix}`;
const owner = `migrate_${suffix}`;

let server: TestDatabase;
let bench: IdentityBench;
let urls: Record<"service" | "owner" | "root", string>;

beforeAll(async () => {
  server = await createDatabase("identity");
  const root = new URL(server.url);
  const at = (user: string) => {
    const url = new URL(root);
    url.pathname = `/${service}`;
    Object.assign(url, { username: user, password: PASSWORD });
    return url.href;
  };
  const insideNew = new URL(root);
  insideNew.pathname = `/${service}`;
  urls = { service: at(service), owner: at(owner), root: insideNew.href };
  await query(server.url, `CREATE ROLE ${owner} LOGIN PASSWORD '${PASSWORD}'`);
  const [outside = "", inside = ""] = shippedSql().split(/^\\connect .*$/m);
  for (const statement of statements(outside)) await query(server.url, statement);
  for (const statement of statements(inside)) await query(urls.root, statement);
  await migrate("identity", urls.owner);
  bench = await startIdentity({ settings: { POSTGRES_URL_IDENTITY: urls.service } });
});
afterAll(async () => {
  await bench?.stop();
  await query(server.url, `DROP DATABASE IF EXISTS ${service} WITH (FORCE)`);
  await query(server.url, `DROP ROLE IF EXISTS ${service}, ${owner}`);
  await server.drop();
});

/** The SQL of the script's function, with this test's names for the users: they belong to the whole server. */
function shippedSql(): string {
  const [, sql = ""] =
    /database\(\) \{[\s\S]*?<<'SQL'\n([\s\S]*?)\nSQL\n/.exec(readFileSync(INIT, "utf8")) ?? [];
  return sql
    .replaceAll(':"name"', service)
    .replaceAll(":'password'", `'${PASSWORD}'`)
    .replaceAll(/\bmigrate\b/g, owner);
}

function statements(sql: string): string[] {
  return sql
    .split(";")
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "");
}

async function outcomeOf(url: string, statement: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("BEGIN");
    await client.query(statement);
    return "done";
  } catch (error) {
    return (error as { code: string }).code;
  } finally {
    await client.query("ROLLBACK");
    await client.end();
  }
}

describe("the audit log, for the database user that the service has in a cluster", () => {
  it("records admins' actions, which can be read", async () => {
    const { meta, userId } = await bench.admin();
    await bench.ask("identity.invite", { email: `new-${newId()}@example.org`, role: "deliverer" }, meta);
    const { items } = await bench.ask("identity.audit", {}, meta);
    expect(items).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ action: "admin.created", subject: userId }),
        expect.objectContaining({ actorId: userId }),
      ]),
    );
  });

  it("permits all work of the service: sign-up, sessions, erasure, sweep", async () => {
    const { meta, tokens } = await bench.customer();
    await bench.ask("identity.refresh", { refreshToken: tokens.refreshToken });
    await bench.ask("identity.deleteAccount", { password: "Blaubeere-Teppich-91" }, meta);
    await query(urls.root, "INSERT INTO erasures (user_id) VALUES ($1)", [newId()]);
    await bench.sweep(async () => expect(await query(urls.root, "SELECT user_id FROM erasures")).toEqual([]));
  });

  it.each([
    "UPDATE audit_entries SET detail = 'nothing happened'",
    "DELETE FROM audit_entries",
    "TRUNCATE audit_entries",
    "TRUNCATE audit_entries CASCADE",
    "MERGE INTO audit_entries a USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
    `INSERT INTO audit_entries (id, action, subject) SELECT id, action, subject FROM audit_entries LIMIT 1
       ON CONFLICT (id) DO UPDATE SET action = 'other'`,
    "DROP TRIGGER audit_entries_only_grow ON audit_entries",
    "ALTER TABLE audit_entries DISABLE TRIGGER audit_entries_only_grow",
    "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
    "ALTER TABLE audit_entries DISABLE TRIGGER USER",
    "ALTER TABLE audit_entries OWNER TO CURRENT_USER",
    "ALTER TABLE audit_entries RENAME TO old_entries",
    "ALTER TABLE audit_entries DROP COLUMN actor_id",
    "ALTER TABLE audit_entries ENABLE ROW LEVEL SECURITY",
    "CREATE RULE hide AS ON INSERT TO audit_entries DO INSTEAD NOTHING",
    `CREATE TRIGGER swallow BEFORE INSERT ON audit_entries FOR EACH ROW
       EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
    "DROP TABLE audit_entries",
    "DROP SCHEMA public CASCADE",
    "CREATE TABLE audit_entries_2 (id uuid)",
    `CREATE OR REPLACE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN RETURN NULL; END $$`,
    "DROP FUNCTION refuse_change_of_audit CASCADE",
    "SET session_replication_role = replica",
    // PostgreSQL only warns about a grant of a right that the grantor does not have, and changes nothing.
    `GRANT DELETE ON audit_entries TO ${service}; DELETE FROM audit_entries`,
    `SET ROLE ${owner}`,
    `ALTER ROLE ${service} SUPERUSER`,
    `GRANT ${owner} TO ${service}`,
    `DROP DATABASE ${service}`,
    "COPY audit_entries TO PROGRAM 'cat'",
  ])("refuses: %s", async (statement) => {
    const count = () => query<{ count: string }>(urls.service, "SELECT count(*) FROM audit_entries");
    const entries = await count();
    // DROP DATABASE is refused in a transaction before the rights are checked.
    expect([DENIED, ...(statement.startsWith("DROP DATABASE") ? ["25001"] : [])]).toContain(
      await outcomeOf(urls.service, statement),
    );
    expect(await count()).toEqual(entries);
  });

  it("deletes entries only after a year, by the service's function, or by their owner", async () => {
    const [young, old] = [newId(), newId(Date.now() - 400 * DAY_MS)];
    const insert =
      "INSERT INTO audit_entries (id, created_at, action, subject) VALUES ($1, now() - $2::interval, 'a', 'b')";
    await query(urls.service, insert, [young, "364 days"]);
    await query(urls.service, insert, [old, "366 days"]);
    const left = async () =>
      (await query<{ id: string }>(urls.service, "SELECT id FROM audit_entries ORDER BY id")).map(
        ({ id }) => id,
      );
    const before = await left();
    expect(await outcomeOf(urls.service, `DELETE FROM audit_entries WHERE id = '${old}'`)).toBe(DENIED);
    expect(await outcomeOf(urls.owner, `DELETE FROM audit_entries WHERE id = '${young}'`)).toBe(DENIED);
    expect(
      await outcomeOf(
        urls.root,
        `SET LOCAL session_replication_role = replica; DELETE FROM audit_entries WHERE id = '${young}'`,
      ),
    ).toBe(DENIED);
    const db = new Database({
      ...{ url: urls.service, poolSize: 1, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS, applicationName: "audit" },
    });
    const everything = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    expect([await pruneAudit(db, everything, 10), await pruneAudit(db, everything, 10)]).toEqual([1, 0]);
    await db.close();
    expect(await left()).toEqual(before.filter((id) => id !== old));
  });

  it("refuses a change by their owner too, and by the superuser in replication mode", async () => {
    const change = "UPDATE audit_entries SET detail = 'nothing happened'";
    expect(await outcomeOf(urls.owner, change)).toBe(DENIED);
    expect(await outcomeOf(urls.root, change)).toBe(DENIED);
    expect(await outcomeOf(urls.root, `SET LOCAL session_replication_role = replica; ${change}`)).toBe(
      DENIED,
    );
  });

  it("detects a database user that could change it", async () => {
    const asks = async (url: string) => {
      const db = new Database({
        ...{ url, poolSize: 1, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS, applicationName: "audit role" },
      });
      try {
        return await canChangeAudit(db);
      } finally {
        await db.close();
      }
    };
    expect(await asks(urls.service)).toBe(false);
    expect(await asks(urls.owner)).toBe(true);
    expect(await asks(urls.root)).toBe(true);
    for (const privilege of ["UPDATE", "DELETE", "TRUNCATE", "TRIGGER"]) {
      await query(urls.root, `GRANT ${privilege} ON audit_entries TO ${service}`);
      expect(await asks(urls.service)).toBe(true);
      await query(urls.root, `REVOKE ${privilege} ON audit_entries FROM ${service}`);
    }
    expect(await asks(urls.service)).toBe(false);
    await query(urls.root, `REVOKE ALL ON audit_entries FROM ${owner}`);
    expect(await asks(urls.owner)).toBe(true);
    await query(urls.root, `GRANT ALL ON audit_entries TO ${owner}`);
  });
});
