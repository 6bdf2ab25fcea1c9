import { describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Db, rows } from "../../lib/sql/database.ts";
import * as accounts from "../../providers/identity/built-in.repository.ts";
import * as sessions from "../../providers/identity/ended-sessions.repository.ts";
import * as audit from "../../services/identity/store/audit.repository.ts";
import * as codes from "../../services/identity/store/codes.repository.ts";
import * as undos from "../../services/identity/store/email-undos.repository.ts";
import * as erasures from "../../services/identity/store/erasures.repository.ts";
import * as invitations from "../../services/identity/store/invitations.repository.ts";
import * as limits from "../../services/identity/store/limits.repository.ts";
import * as profiles from "../../services/identity/store/profiles.repository.ts";
import { at, statementDatabase } from "../support/still-transaction.ts";

/*
 * The statements of profiles, accounts, sessions and signing keys by themselves: other rows beside the ones that
 * they name, and times to the moment.
 */

const statements = statementDatabase("identity", 30);
const { still } = statements;
const sqlOf = (trx: Db): accounts.Sql => ({
  rows: <T>(text: string, bindings: readonly unknown[] = []) => rows<T>(trx, text, bindings),
  transact: () => Promise.reject(new Error("not here")),
});
const address = () => `${newId()}@example.org`;
const client = {};

describe("a profile", () => {
  const profile = (more: Partial<profiles.NewProfile> = {}): profiles.NewProfile => ({
    ...{ id: newId(), email: address(), emailConfirmed: false, grant: { role: "customer" } },
    ...{ firstName: "Grete", language: "en", ...more },
  });
  const PARTNER = newId();

  it("of a registration, replaces its own unconfirmed one only", async () => {
    await still(async (trx) => {
      const first = profile({ phone: "+4930123456", birthDate: "1990-01-01" });
      const other = profile();
      expect(await profiles.saveNewProfile(trx, other)).toMatchObject({ lastName: "", version: 1 });
      expect(await profiles.saveNewProfile(trx, first)).toMatchObject({ phone: first.phone, version: 1 });
      expect(await profiles.saveNewProfile(trx, { ...first, firstName: "Ida" })).toMatchObject({
        ...{ firstName: "Ida", version: 1 },
      });
      expect(await profiles.saveNewProfile(trx, { ...first, email: address() })).toBeUndefined();
      expect(await profiles.saveNewProfile(trx, { ...first, id: newId() })).toBeUndefined();
      const confirmed = { ...first, emailConfirmed: true };
      expect(await profiles.saveNewProfile(trx, confirmed)).toMatchObject({
        emailConfirmed: true,
        version: 2,
      });
      expect(await profiles.saveNewProfile(trx, { ...first, firstName: "Eve" })).toBeUndefined();
      expect(await profiles.profileById(trx, first.id)).toMatchObject({ firstName: "Grete" });
      expect(await profiles.profileByEmail(trx, other.email)).toMatchObject({ id: other.id, version: 1 });
    });
  });

  it("is confirmed once, and its push token taken once", async () => {
    await still(async (trx) => {
      const pushToken = { provider: "sandbox", token: "t" } as unknown as profiles.PushToken;
      const [one, other] = [profile({ pushToken }), profile({ pushToken })];
      for (const each of [one, other]) await profiles.saveNewProfile(trx, each);
      expect(await profiles.confirmProfile(trx, one.id)).toMatchObject({ emailConfirmed: true, version: 2 });
      expect(await profiles.confirmProfile(trx, one.id)).toBeUndefined();
      expect(await profiles.takePushToken(trx, one.id)).toMatchObject({ id: one.id, pushToken });
      expect(await profiles.takePushToken(trx, one.id)).toBeUndefined();
      expect(await profiles.profileById(trx, one.id)).not.toHaveProperty("pushToken");
      expect(await profiles.profileById(trx, other.id)).toMatchObject({ emailConfirmed: false, pushToken });
    });
  });

  it("gives its push token to one of two transactions", async () => {
    const pushToken = { provider: "sandbox", token: "t" } as unknown as profiles.PushToken;
    const { db } = statements;
    const one = profile({ pushToken });
    await profiles.saveNewProfile(db, one);
    const first = await db.begin();
    expect(await profiles.takePushToken(first, one.id)).toMatchObject({ pushToken });
    const second = db.transaction((trx) => profiles.takePushToken(trx, one.id));
    await statements.statementsWaitForLocks(1).finally(() => first.commit());
    expect(await second).toBeUndefined();
  });

  it("is changed by the given fields, in the version that was read", async () => {
    await still(async (trx) => {
      const [one, other] = [profile({ phone: "+4930123456", lastName: "Ng" }), profile()];
      for (const each of [one, other]) await profiles.saveNewProfile(trx, each);
      expect(await profiles.updateProfileRow(trx, one.id, { firstName: "Ida" }, 2)).toBeUndefined();
      expect(await profiles.updateProfileRow(trx, one.id, { firstName: "Ida" }, 1)).toMatchObject({
        ...{ firstName: "Ida", lastName: "Ng", phone: "+4930123456", language: "en", version: 2 },
      });
      const cleared = { lastName: null, phone: null, birthDate: "1990-01-01", language: "de" };
      const changed = await profiles.updateProfileRow(trx, one.id, cleared);
      expect(changed).toMatchObject({ lastName: "", birthDate: "1990-01-01", language: "de", version: 3 });
      expect(changed).not.toHaveProperty("phone");
      expect(await profiles.updateProfileRow(trx, one.id, { birthDate: null })).not.toHaveProperty(
        "birthDate",
      );
      expect(await profiles.profileById(trx, other.id)).toMatchObject({ firstName: "Grete", version: 1 });
      const found = await profiles.profilesById(trx, [other.id, one.id, newId()]);
      expect(new Map(found.map(({ id, version }) => [id, version]))).toEqual(
        new Map([
          [one.id, 4],
          [other.id, 1],
        ]),
      );
    });
  });

  it("gets the waiting address, and no other", async () => {
    await still(async (trx) => {
      const [one, other] = [profile(), profile()];
      const [next, later] = [address(), address()];
      for (const each of [one, other]) {
        await profiles.saveNewProfile(trx, each);
      }
      await profiles.updateProfileRow(trx, one.id, { pendingEmail: next });
      await profiles.updateProfileRow(trx, other.id, { pendingEmail: later });
      expect(await profiles.applyPendingEmail(trx, one.id, later)).toBeUndefined();
      const adopted = await profiles.applyPendingEmail(trx, one.id, next);
      expect(adopted).toMatchObject({ email: next, version: 3 });
      expect(adopted).not.toHaveProperty("pendingEmail");
      expect(await profiles.restoreEmail(trx, one.id, one.email)).toMatchObject({
        email: one.email,
        version: 4,
      });
      expect(await profiles.profileById(trx, other.id)).toMatchObject({
        pendingEmail: later,
        email: other.email,
      });
    });
  });

  it("gets a role if it still has the one that the decision was based on", async () => {
    await still(async (trx) => {
      const staff = (partnerAdmin: boolean, partnerId = PARTNER) => ({
        ...{ role: "partner" as const, partnerId, partnerAdmin },
      });
      const [one, other] = [profile({ grant: staff(false) }), profile()];
      for (const each of [one, other]) await profiles.saveNewProfile(trx, each);
      const grant = (from: Parameters<typeof profiles.setProfileGrant>[2]) =>
        profiles.setProfileGrant(trx, one.id, from, { role: "customer" });
      expect(await grant(staff(true))).toBeUndefined();
      expect(await grant(staff(false, newId()))).toBeUndefined();
      expect(await grant({ role: "customer" })).toBeUndefined();
      expect(await profiles.setProfileGrant(trx, one.id, staff(false), staff(true))).toMatchObject({
        ...{ partnerAdmin: true, version: 2 },
      });
      const granted = await grant(staff(true));
      expect(granted).toMatchObject({ role: "customer", partnerAdmin: false, version: 3 });
      expect(granted).not.toHaveProperty("partnerId");
      const from = { role: "customer" as const };
      expect(await profiles.setProfileGrant(trx, one.id, from, staff(false))).toMatchObject(staff(false));
      expect(await profiles.profileById(trx, other.id)).toMatchObject({ role: "customer", version: 1 });
    });
  });

  it("that waits for a role, waits alone, in a stable order", async () => {
    await still(async (trx) => {
      const ids = [newId(), newId(), newId()].sort();
      for (const id of ids) {
        await rows(trx, "INSERT INTO pending_grants (user_id, partner_id) VALUES (?, ?)", [id, PARTNER]);
      }
      const pending = async (limit: number) =>
        (await profiles.pendingGrants(trx, limit)).map(({ userId }) => userId);
      expect(await pending(2)).toEqual(ids.slice(0, 2));
      await profiles.deletePendingGrant(trx, ids[1] ?? "");
      expect(await pending(9)).toEqual([ids[0], ids[2]]);
    });
  });

  it("counts its pictures, and not their removals", async () => {
    await still(async (trx) => {
      const [one, other] = [profile(), profile()];
      for (const each of [one, other]) await profiles.saveNewProfile(trx, each);
      expect(await profiles.setAvatarRow(trx, one.id, true)).toMatchObject({
        hasAvatar: true,
        avatarVersion: 1,
      });
      expect(await profiles.setAvatarRow(trx, one.id, false)).toMatchObject({
        hasAvatar: false,
        avatarVersion: 1,
      });
      expect(await profiles.setAvatarRow(trx, one.id, true)).toMatchObject({ avatarVersion: 2, version: 4 });
      expect(await profiles.profileById(trx, other.id)).toMatchObject({ hasAvatar: false, avatarVersion: 0 });
    });
  });

  it("is deleted alone, and unconfirmed ones in their time, the oldest first", async () => {
    await still(async (trx) => {
      const all = [profile(), profile(), profile(), profile({ emailConfirmed: true }), profile()];
      const [fresh, old, oldest, confirmed, due] = all.map(({ id }) => id) as [string, ...string[]] &
        [string, string, string, string, string];
      for (const each of all) await profiles.saveNewProfile(trx, each);
      const ages: [string, number][] = [
        [fresh, -86_399],
        [old, -86_401],
        [oldest, -86_402],
        [confirmed, -90_000],
        [due, -86_400],
      ];
      for (const [id, seconds] of ages) {
        await rows(trx, `UPDATE profiles SET updated_at = ${at(seconds)} WHERE id = ?`, [id]);
      }
      const found = async (limit: number) =>
        (await profiles.unconfirmedProfiles(trx, 1, limit)).map(({ id }) => id);
      expect([await found(1), await found(9)]).toEqual([[oldest], [oldest, old]]);
      // Of a day and a moment more, as the clock has moved on since the transaction began.
      expect(await profiles.deleteUnconfirmedRow(trx, confirmed, 1)).toBeUndefined();
      await rows(trx, `UPDATE profiles SET updated_at = ${at(-3_600)} WHERE id = ?`, [fresh]);
      expect(await profiles.deleteUnconfirmedRow(trx, fresh, 1)).toBeUndefined();
      expect(await profiles.deleteUnconfirmedRow(trx, fresh)).toMatchObject({ id: fresh });
      expect(await profiles.deleteUnconfirmedRow(trx, old, 1)).toMatchObject({ id: old });
      expect(await profiles.deleteProfileRow(trx, confirmed)).toMatchObject({ id: confirmed });
      expect(await profiles.deleteProfileRow(trx, confirmed)).toBeUndefined();
      expect(await profiles.profileById(trx, oldest)).toBeDefined();
    });
  });
});

describe("an account of the built-in provider", () => {
  const account = (more: Partial<accounts.AccountRow> = {}): accounts.AccountRow => ({
    ...{ id: newId(), email: address(), passwordHash: "hash", confirmed: true, role: "customer", ...more },
  });
  const staff = { role: "partner" as const, partnerId: newId(), partnerAdmin: true };
  const save = async (trx: Db, more: Partial<accounts.AccountRow> = {}) => {
    const made = account(more);
    await accounts.saveAccount(sqlOf(trx), made);
    return made;
  };

  it("replaces an unconfirmed one of the same address only", async () => {
    await still(async (trx) => {
      const sql = sqlOf(trx);
      const [first, other] = [await save(trx, { confirmed: false }), await save(trx)];
      const again = { ...first, id: newId(), passwordHash: "new", ...staff };
      expect(await accounts.saveAccount(sql, again)).toEqual({ userId: first.id, taken: false });
      expect(await accounts.accountById(sql, first.id)).toMatchObject({ passwordHash: "new", ...staff });
      const eve = { ...other, id: newId(), passwordHash: "eve" };
      expect(await accounts.saveAccount(sql, eve)).toEqual({ userId: other.id, taken: true });
      expect(await accounts.accountByEmail(sql, other.email)).toMatchObject({ passwordHash: "hash" });
      expect(await accounts.accountByEmail(sql, address())).toBeUndefined();
    });
  });

  it("is changed alone: its password, its confirmation, its address, its role", async () => {
    await still(async (trx) => {
      const sql = sqlOf(trx);
      const [one, other] = [await save(trx, { confirmed: false }), await save(trx)];
      expect(await accounts.setPasswordHash(sql, one.id, "new", "stale")).toBe(false);
      expect(await accounts.setPasswordHash(sql, one.id, "new", "hash")).toBe(true);
      expect(await accounts.setPasswordHash(sql, one.id, "newer")).toBe(true);
      expect(await accounts.setConfirmed(sql, one.id)).toBe(true);
      expect(await accounts.setEmail(sql, one.id, other.email)).toBe("taken");
      expect(await accounts.setEmail(sql, one.id, one.email)).toBe("done");
      const next = address();
      expect(await accounts.setEmail(sql, one.id, next)).toBe("done");
      expect(await accounts.setAccountGrant(sql, one.id, staff)).toBe(true);
      expect(await accounts.accountById(sql, one.id)).toEqual({
        ...{ id: one.id, email: next, passwordHash: "newer", confirmed: true, ...staff },
      });
      expect(await accounts.setAccountGrant(sql, one.id, { role: "customer" })).toBe(true);
      expect(await accounts.accountById(sql, one.id)).not.toHaveProperty("partnerId");
      for (const outcome of [
        await accounts.setPasswordHash(sql, newId(), "x"),
        await accounts.setConfirmed(sql, newId()),
        await accounts.setAccountGrant(sql, newId(), staff),
      ]) {
        expect(outcome).toBe(false);
      }
      expect(await accounts.setEmail(sql, newId(), address())).toBe("unknown");
      expect(await accounts.accountById(sql, other.id)).toEqual({ ...other, partnerAdmin: false });
      await accounts.deleteAccount(sql, one.id);
      expect(await accounts.accountById(sql, one.id)).toBeUndefined();
      expect(await accounts.accountById(sql, other.id)).toBeDefined();
    });
  });

  const KEEP = 2;
  const session = async (trx: Db, of: accounts.AccountRow, more: object = {}) => {
    const id = newId();
    const given = { id, account: of, salt: "s".repeat(22), client, idleSeconds: 100, keep: KEEP, ...more };
    return (await accounts.insertSession(sqlOf(trx), given)) ? id : undefined;
  };
  const set = (trx: Db, id: string | undefined, values: string) =>
    rows(trx, `UPDATE sessions SET ${values} WHERE id = ?`, [id]);
  const live = async (trx: Db, { id }: accounts.AccountRow) =>
    (await accounts.liveSessions(sqlOf(trx), id)).map((one) => one.id);

  it("opens a session with its password, and ends the oldest beyond a number", async () => {
    await still(async (trx) => {
      const [one, other] = [await save(trx), await save(trx)];
      const theirs = await session(trx, other);
      expect(await session(trx, { ...one, passwordHash: "former" })).toBeUndefined();
      expect(await session(trx, { ...one, id: newId() })).toBeUndefined();
      const [first, second] = [await session(trx, one), await session(trx, one)];
      await set(trx, first, `rotated_at = ${at(-1)}`);
      await set(trx, second, `rotated_at = ${at(-2)}`);
      const ended = await session(trx, one, { client: { userAgent: "agent", ip: "192.0.2.1" } });
      expect(await live(trx, one)).toEqual([ended, first]);
      expect(await live(trx, other)).toEqual([theirs]);
      const [newest, older] = await accounts.liveSessions(sqlOf(trx), one.id);
      expect(newest).toMatchObject({ userAgent: "agent", ip: "192.0.2.1" });
      expect(older).not.toHaveProperty("ip");
    });
  });

  it("has sessions that are valid until they end or expire, to the moment", async () => {
    await still(async (trx) => {
      const sql = sqlOf(trx);
      const one = await save(trx);
      const id = (await session(trx, one)) ?? "";
      const seen = async () => (await accounts.sessionById(sql, id, 10))?.live;
      const rotates = () =>
        accounts.rotate(sql, { id, generation: 0, client, idleSeconds: 100, lifeSeconds: 1_000 });
      expect(await seen()).toBe(true);
      await set(trx, id, "expires_at = now()");
      expect([await seen(), await live(trx, one), await rotates()]).toEqual([false, [], false]);
      await set(trx, id, `expires_at = ${at(0.001)}`);
      expect([await seen(), await live(trx, one)]).toEqual([true, [id]]);
      await set(trx, id, "ended_at = now()");
      expect([await seen(), await live(trx, one), await rotates()]).toEqual([false, [], false]);
    });
  });

  it("rotates a session once for each generation, and no longer than its life", async () => {
    await still(async (trx) => {
      const sql = sqlOf(trx);
      const one = await save(trx);
      const [id = "", other = ""] = [
        await session(trx, one, { client: { ip: "192.0.2.1" } }),
        await session(trx, one),
      ];
      const rotate = (generation: number, more: object = {}) =>
        accounts.rotate(sql, { id, generation, client, idleSeconds: 100, lifeSeconds: 1_000, ...more });
      expect([await rotate(1), await rotate(0), await rotate(0)]).toEqual([false, true, false]);
      expect(await rotate(1, { client: { userAgent: "agent" }, lifeSeconds: 50 })).toBe(true);
      const lives =
        "SELECT extract(epoch FROM expires_at - now())::integer AS seconds FROM sessions WHERE id = ?";
      expect(await rows(trx, lives, [id])).toEqual([{ seconds: 50 }]);
      expect(await rotate(2)).toBe(true);
      expect(await rows(trx, lives, [id])).toEqual([{ seconds: 100 }]);
      const found = (await accounts.liveSessions(sql, one.id)).find((each) => each.id === id);
      expect(found).toMatchObject({ userAgent: "agent", ip: "192.0.2.1" });
      expect(await accounts.sessionById(sql, other, 10)).toMatchObject({ generation: 0 });
      await set(trx, id, `rotated_at = ${at(-10)}`);
      expect(await accounts.sessionById(sql, id, 10)).toMatchObject({ generation: 3, inGrace: false });
      await set(trx, id, `rotated_at = ${at(-9.999)}`);
      expect(await accounts.sessionById(sql, id, 10)).toMatchObject({ inGrace: true });
      expect(await accounts.sessionById(sql, newId(), 10)).toBeUndefined();
    });
  });

  it("ends one session, or all but one, and none of another", async () => {
    await still(async (trx) => {
      const sql = sqlOf(trx);
      const [one, other] = [await save(trx), await save(trx)];
      const theirs = (await session(trx, other)) ?? "";
      const ids = [await session(trx, one, { keep: 9 }), await session(trx, one, { keep: 9 })] as string[];
      const third = (await session(trx, one, { keep: 9 })) ?? "";
      expect(await accounts.endOneSession(sql, one.id, theirs)).toBe(false);
      expect(await accounts.endOneSession(sql, one.id, third)).toBe(true);
      await set(trx, third, `ended_at = ${at(-5)}`);
      expect(await accounts.endOneSession(sql, one.id, third)).toBe(true);
      const when =
        "SELECT extract(epoch FROM ended_at - now())::integer AS seconds FROM sessions WHERE id = ?";
      expect(await rows(trx, when, [third])).toEqual([{ seconds: -5 }]);
      expect(await accounts.endAllSessions(sql, one.id, ids[0])).toEqual([ids[1]]);
      expect(await accounts.endAllSessions(sql, one.id)).toEqual([ids[0]]);
      expect(await rows(trx, when, [third])).toEqual([{ seconds: -5 }]);
      expect(await live(trx, other)).toEqual([theirs]);
    });
  });

  it("has ended sessions published once, and swept a day later, the oldest first", async () => {
    await still(async (trx) => {
      const sql = sqlOf(trx);
      const [one, other] = [await save(trx), await save(trx)];
      const open = async (of: accounts.AccountRow) => (await session(trx, of, { keep: 99 })) ?? "";
      const [ended, out, now, running] = [await open(one), await open(one), await open(one), await open(one)];
      const theirs = await open(other);
      await set(trx, ended, `ended_at = ${at(-86_401)}`);
      await set(trx, out, `expires_at = ${at(-86_402)}`);
      await set(trx, now, "ended_at = now()");
      await set(trx, theirs, `ended_at = ${at(-86_403)}`);
      const untold = async (limit: number, id?: string) =>
        (await sessions.unpublishedSessions(sql, "sessions", limit, id)).map((each) => each.id);
      expect(await untold(9)).toEqual([theirs, out, ended, now]);
      expect(await untold(2, one.id)).toEqual([out, ended]);
      expect(await accounts.sweepSessions(sql, 9)).toBe(0);
      await sessions.markPublished(sql, "sessions", [theirs, out, ended, running]);
      expect(await untold(9)).toEqual([now]);
      await set(trx, running, "ended_at = now()");
      expect(await untold(9)).toHaveLength(2);
      await sessions.markPublished(sql, "sessions", [now, running]);
      expect(await untold(9)).toEqual([]);
      expect(await accounts.sweepSessions(sql, 2)).toBe(2);
      expect(await accounts.sessionById(sql, ended, 1)).toBeDefined();
      await set(trx, now, `ended_at = ${at(-86_400)}`);
      expect(await accounts.sweepSessions(sql, 9)).toBe(1);
      expect(await accounts.sessionById(sql, now, 1)).toBeDefined();
    });
  });
});

describe("a signing key", () => {
  it("is known, due and swept at its times, the last only with a successor of some age", async () => {
    await still(async (trx) => {
      const sql = sqlOf(trx);
      await rows(trx, "DELETE FROM signing_keys");
      expect(await accounts.signingKeyIsDue(sql, 10)).toBe(true);
      const ids = [newId(), newId(), newId()] as const;
      for (const [index, id] of ids.entries()) {
        const publicJwk = { kid: id } as unknown as accounts.SigningKeyRow["publicJwk"];
        await accounts.insertSigningKey(sql, { id, publicJwk, privateKeySealed: "sealed" });
        await rows(trx, `UPDATE signing_keys SET created_at = ${at(10 * (index - 3))} WHERE id = ?`, [id]);
      }
      const keys = async (seconds: number) =>
        (await accounts.signingKeys(sql, seconds)).map(({ id, known }) => [ids.indexOf(id as never), known]);
      expect(await keys(20)).toEqual([
        ...[
          [2, false],
          [1, false],
          [0, true],
        ],
      ]);
      expect(await keys(19)).toContainEqual([1, true]);
      expect([await accounts.signingKeyIsDue(sql, 10), await accounts.signingKeyIsDue(sql, 11)]).toEqual([
        ...[true, false],
      ]);
      await accounts.sweepSigningKeys(sql, 20);
      expect(await keys(0)).toHaveLength(3);
      await accounts.sweepSigningKeys(sql, 19);
      expect((await keys(0)).map(([key]) => key)).toEqual([2, 1]);
      expect(await accounts.answers(sql)).toBe(true);
    });
  });
});

describe("a write", () => {
  const TABLES =
    "allowances, verification_codes, invitations, email_undos, erasures, audit_entries, pending_grants, signing_keys";
  const allowance = { scope: "mail", max: 1, windowSeconds: 10 };
  const code = { purpose: "confirm-email", subject: "w", codeHash: "h", lifeSeconds: 10 } as const;
  const writes: Record<string, () => Promise<unknown>> = {
    releaseUse: () => limits.releaseReservation(statements.db, allowance, "w", "2026-01-01"),
    forgetUse: () => limits.resetAllowance(statements.db, "mail", "w"),
    forgetUses: () => limits.resetAllowances(statements.db, "mail", "w"),
    saveCode: () => codes.saveCode(statements.db, { ...code, address: "w", requester: "r" }),
    renewCode: () => codes.renewCode(statements.db, code),
    dropCode: () => codes.deleteCode(statements.db, "confirm-email", "w"),
    releaseInvitation: () => invitations.releaseInvitation(statements.db, newId()),
    withdrawInvitations: () => invitations.withdrawInvitations(statements.db, [newId()]),
    insertUndo: () =>
      undos.insertUndo(statements.db, {
        tokenHash: "w",
        userId: newId(),
        formerEmail: address(),
        lifeSeconds: 1,
      }),
    insertErasure: () => erasures.insertErasure(statements.db, newId(), "w"),
    postponeErasure: () => erasures.postponeErasure(statements.db, newId()),
    deleteErasure: () => erasures.deleteErasure(statements.db, newId()),
    addAudit: () => audit.addAudit(statements.db, { action: "a", subject: "w" }),
    addToldAudit: () =>
      audit.addRemoteAudit(statements.db, newId(), "2026-01-01", { action: "a", subject: "w" }),
    deletePendingGrant: () => profiles.deletePendingGrant(statements.db, newId()),
    sweepSigningKeys: () => accounts.sweepSigningKeys(sqlOf(statements.db), 1_000_000),
  };

  it("ends when the database has it, not before", async () => {
    await statements.expectToWaitFor(TABLES, writes);
  });

  it.each<[string, string, () => Promise<number>]>([
    ["allowances", "renewed_at", () => limits.sweepAllowances(statements.db, 9)],
    ["verification_codes", "expires_at", () => codes.sweepCodes(statements.db, 9)],
    ["invitations", "expires_at", () => invitations.sweepInvitations(statements.db, 0, 9)],
    ["email_undos", "expires_at", () => undos.sweepUndos(statements.db, 9)],
    ["sessions", "expires_at", () => accounts.sweepSessions(sqlOf(statements.db), 9)],
  ])("of the sweep of %s, skips rows of another transaction", async (table, end, sweep) => {
    const { db } = statements;
    await db.query(`DELETE FROM ${table}`);
    const [subject, userId] = [newId(), newId()];
    const account = {
      id: userId,
      email: address(),
      passwordHash: "h",
      confirmed: true,
      role: "customer",
    } as const;
    const inserts: Record<string, () => Promise<unknown>> = {
      allowances: () => limits.countUse(db, allowance, subject),
      verification_codes: () => codes.saveCode(db, { ...code, subject, address: subject, requester: "r" }),
      invitations: () =>
        invitations.insertInvitation(db, {
          ...{ id: newId(), email: address(), grant: { role: "deliverer" as const } },
          ...{ tokenHash: subject, invitedBy: userId, sessionId: newId(), lifeSeconds: 10 },
        }),
      email_undos: () =>
        undos.insertUndo(db, { tokenHash: subject, userId, formerEmail: address(), lifeSeconds: 1 }),
      sessions: async () => {
        await accounts.saveAccount(sqlOf(db), account);
        await accounts.insertSession(sqlOf(db), {
          ...{ id: newId(), account, salt: "salt-of-sixteen-c", client, idleSeconds: 60, keep: 50 },
        });
        await db.query("UPDATE sessions SET told = true");
      },
    };
    await inserts[table]?.();
    await db.query(`UPDATE ${table} SET ${end} = now() - interval '2 days'`);
    const other = await db.begin();
    await other.query(`SELECT FROM ${table} FOR UPDATE`);
    expect(await sweep()).toBe(0);
    await other.rollback();
    expect(await sweep()).toBe(1);
  });
});
