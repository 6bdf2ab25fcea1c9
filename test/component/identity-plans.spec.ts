import { afterAll, beforeAll, describe, it } from "@jest/globals";
import { affected, type Db } from "../../lib/sql/database.ts";
import { oldestIn } from "../../mixins/pruning/pruning.mixin.ts";
import { auditOf } from "../../services/identity/store/audit.repository.ts";
import { invitationsPage } from "../../services/identity/store/invitations.repository.ts";
import { matchingUsers, type UserFilter, usersPage } from "../../services/identity/store/users.repository.ts";
import { LOAD_TIMEOUT_MS, PLAN_ROWS, type PlanBench, planBench } from "../support/plans.ts";

const ROWS = PLAN_ROWS / 2;
/** The size of the tables when their old statistics were made. */
const SMALL = 1_000;
const LIMIT = 21;
const PARTNER = "00000000-0000-7000-8002-000000000007";
const ACTOR = "00000000-0000-7000-8001-000000000007";

let bench: PlanBench;
beforeAll(async () => {
  bench = await planBench("identity");
  await load(1, SMALL);
  await bench.analyze();
  await load(SMALL + 1, ROWS);
}, LOAD_TIMEOUT_MS);
afterAll(() => bench.stop());

async function load(first: number, last: number): Promise<void> {
  const from = `FROM generate_series(${first}, ${last}) n`;
  const id = (kind: string, number: string) =>
    `('00000000-0000-7000-8${kind}-' || lpad((${number})::text, 12, '0'))::uuid`;
  await bench.load(
    // One in a thousand is a courier, one in five hundred is staff, few are suspended or unconfirmed.
    `INSERT INTO profiles (id, email, email_confirmed, first_name, last_name, language, role, partner_id, suspended_at,
       created_at)
     SELECT ${id("001", "n")}, 'user' || n || '@example.org', n % 700 <> 3, 'Anna', 'Name' || n, 'en',
       CASE WHEN n % 1000 = 1 THEN 'deliverer' WHEN n % 500 = 2 THEN 'partner' ELSE 'customer' END,
       CASE WHEN n % 500 = 2 THEN ${id("002", "n / 500")} END, CASE WHEN n % 900 = 5 THEN now() END,
       now() - (${ROWS} - n) * interval '1 second' ${from}`,
    `INSERT INTO invitations (id, email, role, partner_id, token_hash, invited_by, expires_at)
     SELECT ${id("003", "n")}, n || '@example.org', 'partner', ${id("002", "n % 500")}, 't' || n, ${id("001", "n")},
       now() ${from}`,
    // Half of the acts are one operator's.
    `INSERT INTO audit_entries (id, created_at, actor_id, action, subject)
     SELECT ${id("004", "n")}, now() - interval '20 years', ${id("001", "CASE WHEN n % 2 = 0 THEN 7 ELSE n END")}, 'user.suspended',
       ${id("001", "n % 1000")}::text ${from}`,
  );
}

const PAGE_ROWS = 200;
/** All unconfirmed users may be read: the sweep deletes them after a week. */
const UNCONFIRMED_ROWS = PAGE_ROWS + ROWS / 600;

const filters: [string, UserFilter][] = [
  ["all users", {}],
  ["users of a rare role", { role: "deliverer" }],
  ["staff of a partner", { partnerId: PARTNER }],
  ["suspended users", { state: "suspended" }],
  ["unconfirmed users", { state: "unconfirmed" }],
  ["active users of a role", { role: "customer", state: "active" }],
];

describe.each(["stale", "fresh"])("among many users, with %s statistics", (statistics) => {
  beforeAll(async () => {
    if (statistics === "fresh") await bench.analyze();
  }, LOAD_TIMEOUT_MS);

  it.each(filters)("a page of %s reads the rows of the page", async (_, filter) => {
    const below = filter.state === "unconfirmed" ? UNCONFIRMED_ROWS : PAGE_ROWS;
    const middle = { createdUs: `${Date.now() - (ROWS / 2) * 1_000}000`, id: ACTOR };
    for (const after of [undefined, middle])
      await bench.expectRows((on: Db) => usersPage(on, { ...filter, after, limit: LIMIT }), below);
  });

  it("a search reads the rows that match", async () => {
    const rareName = `name${ROWS / 2 + 1}`;
    await bench.expectRows((on) => matchingUsers(on, `anna ${rareName}`), 60);
    await bench.expectRows((on) => matchingUsers(on, "user7@example.org"), ROWS / 2);
    await bench.expectRows((on) => usersPage(on, { ids: [ACTOR], limit: LIMIT }), 20);
  });

  it("the oldest acts beyond their retention, and the age of the oldest, are found without reading the others", async () => {
    await bench.expectRows((on) => oldestIn("audit_entries", "id")(on), 20);
    // The function's own statement, which EXPLAIN does not show.
    const [{ body } = { body: "" }] = (
      await bench.db.query("SELECT prosrc AS body FROM pg_proc WHERE proname = 'prune_audit'")
    ).rows as { body: string }[];
    const [, deletion = ""] = /(DELETE FROM [\s\S]*?\)\));/.exec(body) ?? [];
    const statement = deletion.replace("before_id", ":beforeId::uuid").replace("rows_max", ":limit");
    const old = { beforeId: "ffffffff-ffff-ffff-ffff-ffffffffffff", limit: 50 };
    await bench.expectRows((on) => affected(on, statement, old), 300);
  });

  it("a page of a partner's invitations, and the newest acts of a user, read the rows of the page", async () => {
    await bench.expectRows((on) => invitationsPage(on, { partnerId: PARTNER, limit: LIMIT }), 120);
    await bench.expectRows((on) => auditOf(on, ACTOR, 20), 120);
  });
});
