import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { rows } from "../../lib/sql/database.ts";
import {
  deleteAccount,
  endAllSessions,
  insertSession,
  type Sql,
} from "../../providers/identity/built-in.repository.ts";
import { markPublished } from "../../providers/identity/ended-sessions.repository.ts";
import { eraseTraces } from "../../services/identity/store/erasures.repository.ts";
import {
  insertInvitation,
  lockInvitation as lockOne,
  withdrawInvitations,
} from "../../services/identity/store/invitations.repository.ts";
import { resetAllowances } from "../../services/identity/store/limits.repository.ts";
import { type IdentityBench, newAddress, PASSWORD, startIdentity } from "../support/identity.ts";
import { type OtherTransaction, whileLocked } from "../support/locks.ts";
import { openPool } from "../support/postgres.ts";

let bench: IdentityBench;
let db: ReturnType<typeof openPool>;
let sql: Sql;
beforeAll(async () => {
  bench = await startIdentity();
  db = openPool(bench.database, 2);
  sql = {
    rows: (text, bindings) => rows(db, text, bindings),
    transact: () => Promise.reject(new Error("not used")),
  };
});
afterAll(async () => {
  await db.close();
  await bench.stop();
});

const lockProfile = (other: OtherTransaction, id: string) =>
  other.query("UPDATE profiles SET updated_at = now() WHERE id = $1", [id]);

const lockInvitation = (other: OtherTransaction, id: string) =>
  other.query("UPDATE invitations SET updated_at = now() WHERE id = $1", [id]);

const storeInvitation =
  (email: string, sessionId = newId()) =>
  (id: string) =>
    bench.sql(
      `INSERT INTO invitations (id, email, role, token_hash, invited_by, session_id, expires_at)
       VALUES ($1, $2, 'deliverer', $3, $4, $5, now() + interval '1 day')`,
      [id, email, id, newId(), sessionId],
    );

/** Two ids, the higher of which is stored first, so that a statement without an order would lock it first. */
async function stored(insert: (id: string) => Promise<unknown>): Promise<[low: string, high: string]> {
  const [low, high] = [newId(), newId()].sort() as [string, string];
  await insert(high);
  await insert(low);
  return [low, high];
}

/* Locks in another order than that of the other transactions let two of them wait for each other, for a second at least. */
describe("the locks of the identity service", () => {
  it("a change of the address waits for the profile and holds no code", async () => {
    const { userId, meta } = await bench.customer();
    const email = newAddress();
    const { code = "" } = await bench.mailed(email, "change-email", () =>
      bench.ask("identity.updateProfile", { email, currentPassword: PASSWORD }, meta),
    );
    const changed = await whileLocked(
      bench.database.url,
      (other) => lockProfile(other, userId),
      () => bench.ask("identity.confirmEmail", { code }, meta),
      (other) => other.query("DELETE FROM verification_codes WHERE address = $1", [userId]),
    );
    expect(changed).toMatchObject({ email });
  });

  it("an undone change of the address waits for the profile and holds no link", async () => {
    const { userId, email: former, meta } = await bench.customer();
    const email = newAddress();
    const { code = "" } = await bench.mailed(email, "change-email", () =>
      bench.ask("identity.updateProfile", { email, currentPassword: PASSWORD }, meta),
    );
    const { link = "" } = await bench.mailed(former, "email-changed", () =>
      bench.ask("identity.confirmEmail", { code }, meta),
    );
    const token = link.slice(link.indexOf("#") + 1);
    await whileLocked(
      bench.database.url,
      (other) => lockProfile(other, userId),
      () => bench.ask("identity.undoEmailChange", { token }),
      (other) => other.query("DELETE FROM email_undos WHERE user_id = $1", [userId]),
    );
    expect(await bench.sql("SELECT email FROM profiles WHERE id = $1", [userId])).toEqual([
      { email: former },
    ]);
  });

  it("an invitation waits for an earlier one to its address and holds no limit of mails", async () => {
    const { meta } = await bench.admin();
    const email = newAddress();
    const invite = () => bench.ask("identity.invite", { email, role: "deliverer" }, meta);
    await invite();
    await whileLocked(
      bench.database.url,
      (other) => other.query("UPDATE invitations SET updated_at = now() WHERE email = $1", [email]),
      invite,
      (other) => other.query("DELETE FROM allowances WHERE scope = 'mail'"),
    );
    expect(await bench.sql("SELECT FROM invitations WHERE email = $1", [email])).toHaveLength(2);
  });

  it("the end of all sessions and the deletion of their account lock the sessions in the order of their ids", async () => {
    const { userId } = await bench.customer();
    const [low, high] = await stored((id) =>
      bench.sql(
        `INSERT INTO sessions (id, account_id, salt, expires_at)
         SELECT $1, account_id, salt, expires_at FROM sessions WHERE account_id = $2 LIMIT 1`,
        [id, userId],
      ),
    );
    const lockSession = (other: OtherTransaction, id: string) =>
      other.query("UPDATE sessions SET updated_at = now() WHERE id = $1", [id]);
    for (const end of [endAllSessions, deleteAccount]) {
      await whileLocked<unknown>(
        bench.database.url,
        (other) => lockSession(other, low),
        () => end(sql, userId),
        (other) => lockSession(other, high),
      );
    }
    expect(await bench.sql("SELECT FROM sessions WHERE account_id = $1", [userId])).toEqual([]);
  });

  it("the withdrawal of several invitations locks them in the order of their ids", async () => {
    const sessionId = newId();
    const [low, high] = await stored(storeInvitation(newAddress(), sessionId));
    await whileLocked(
      bench.database.url,
      (other) => lockInvitation(other, low),
      () => withdrawInvitations(db, [sessionId]),
      (other) => lockInvitation(other, high),
    );
    expect(
      await bench.sql("SELECT FROM invitations WHERE expires_at > now() AND session_id = $1", [sessionId]),
    ).toEqual([]);
  });

  it("the reset of several limits locks them in the order of their keys", async () => {
    const address = newId().slice(24);
    const [low, high] = await stored((id) =>
      bench.sql(
        "INSERT INTO allowances (scope, subject, used, renewed_at) VALUES ('password', $1, 1, now())",
        [`${address}.${id}`],
      ),
    );
    const lockLimit = (other: OtherTransaction, id: string) =>
      other.query("UPDATE allowances SET used = 2 WHERE subject = $1", [`${address}.${id}`]);
    await whileLocked(
      bench.database.url,
      (other) => lockLimit(other, low),
      () => resetAllowances(db, "password", address),
      (other) => lockLimit(other, high),
    );
    expect(
      await bench.sql("SELECT FROM allowances WHERE split_part(subject, '.', 1) = $1", [address]),
    ).toEqual([]);
  });

  it("the erasure of an account locks its invitations and its limits in the order of their keys", async () => {
    const [email, address, userId] = [newAddress(), newId().slice(24), newId()];
    const [lowInvitation, highInvitation] = await stored(storeInvitation(email));
    const [lowLimit, highLimit] = await stored((id) =>
      bench.sql("INSERT INTO allowances (scope, subject, used, renewed_at) VALUES ('mail', $1, 1, now())", [
        `${address}.${id}`,
      ]),
    );
    const erase = () => eraseTraces(db, { id: userId, email, subjects: [address] });
    const lockLimit = (other: OtherTransaction, id: string) =>
      other.query("UPDATE allowances SET used = 2 WHERE subject = $1", [`${address}.${id}`]);
    await whileLocked(
      bench.database.url,
      (other) => lockInvitation(other, lowInvitation),
      erase,
      (other) => lockInvitation(other, highInvitation),
    );
    await bench.sql("UPDATE allowances SET used = 1 WHERE subject LIKE $1", [`${address}.%`]);
    for (const id of [highLimit, lowLimit])
      await bench.sql(
        `INSERT INTO allowances (scope, subject, used, renewed_at) VALUES ('mail', $1, 1, now())
         ON CONFLICT DO NOTHING`,
        [`${address}.${id}`],
      );
    await whileLocked(
      bench.database.url,
      (other) => lockLimit(other, lowLimit),
      erase,
      (other) => lockLimit(other, highLimit),
    );
    expect(await bench.sql("SELECT FROM invitations WHERE email = $1", [email])).toEqual([]);
  });

  it("a new invitation locks those that it replaces in the order of their ids", async () => {
    const email = newAddress();
    const [low, high] = await stored(storeInvitation(email));
    await whileLocked(
      bench.database.url,
      (other) => lockInvitation(other, low),
      () =>
        insertInvitation(db, {
          ...{ id: newId(), email, grant: { role: "deliverer" }, tokenHash: newId() },
          ...{ invitedBy: newId(), sessionId: newId(), lifeSeconds: 10 },
        }),
      (other) => lockInvitation(other, high),
    );
  });

  it("a withdrawal or a resending waits for another one of the same invitation", async () => {
    const [id] = await stored(storeInvitation(newAddress()));
    const found = await whileLocked(
      bench.database.url,
      (other) => lockInvitation(other, id),
      () => lockOne(db, id, {}),
      (other) => other.query("UPDATE invitations SET updated_at = now() WHERE id = $1", [id]),
    );
    expect(found).toMatchObject({ id });
  });

  it("the deletion of an account locks the account before its sessions", async () => {
    const { userId } = await bench.customer();
    await whileLocked(
      bench.database.url,
      (other) => other.query("UPDATE accounts SET updated_at = now() WHERE id = $1", [userId]),
      () => deleteAccount(sql, userId),
      (other) => other.query("UPDATE sessions SET updated_at = now() WHERE account_id = $1", [userId]),
    );
  });

  it("a new session and the publication of ended ones lock sessions in the order of their ids", async () => {
    const { userId } = await bench.customer();
    const [low, high] = await stored((id) =>
      bench.sql(
        `INSERT INTO sessions (id, account_id, salt, expires_at)
         SELECT $1, account_id, salt, expires_at FROM sessions WHERE account_id = $2 LIMIT 1`,
        [id, userId],
      ),
    );
    const lockSession = (other: OtherTransaction, id: string) =>
      other.query("UPDATE sessions SET updated_at = now() WHERE id = $1", [id]);
    const [account] = await bench.sql<{ id: string; passwordHash: string }>(
      'SELECT id, email, password_hash AS "passwordHash", confirmed, role FROM accounts WHERE id = $1',
      [userId],
    );
    const open = () =>
      insertSession(sql, {
        ...{ id: newId(), account: account as never, salt: "salt-of-sixteen-c", client: {} },
        ...{ idleSeconds: 60, keep: 1 },
      });
    const publish = () => markPublished(sql, "sessions", [high, low]);
    for (const work of [open, publish]) {
      await whileLocked<unknown>(
        bench.database.url,
        (other) => lockSession(other, low),
        work,
        (other) => lockSession(other, high),
      );
    }
    const told = await bench.sql("SELECT FROM sessions WHERE id = ANY ($1) AND told", [[low, high]]);
    expect(told).toHaveLength(2);
  });
});
