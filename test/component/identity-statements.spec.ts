import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Database, type Db, rows, type Transaction } from "../../lib/sql/database.ts";
import * as accounts from "../../providers/identity/built-in.repository.ts";
import * as sessions from "../../providers/identity/ended-sessions.repository.ts";
import type { IdentityDependencies } from "../../services/identity/dependencies.ts";
import * as audit from "../../services/identity/store/audit.repository.ts";
import * as codes from "../../services/identity/store/codes.repository.ts";
import * as undos from "../../services/identity/store/email-undos.repository.ts";
import * as erasures from "../../services/identity/store/erasures.repository.ts";
import * as invitations from "../../services/identity/store/invitations.repository.ts";
import * as limits from "../../services/identity/store/limits.repository.ts";
import * as profiles from "../../services/identity/store/profiles.repository.ts";
import { withAddressDigestLock } from "../../services/identity/use-cases/address-lock.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";
import { statementsOf } from "../support/statements.ts";
import { at, inStillTransaction } from "../support/still-transaction.ts";

/* The statements of Identity by themselves: what stands beside a row that they mean, and times to the moment. */

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await createDatabase("identity");
  db = openPool(database, 30);
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const still = (work: (trx: Transaction) => Promise<void>) => inStillTransaction(db, work);
const sqlOf = (trx: Db): accounts.Sql => ({
  rows: <T>(text: string, bindings: readonly unknown[] = []) => rows<T>(trx, text, bindings),
  transact: () => Promise.reject(new Error("not here")),
});
const address = () => `${newId()}@example.org`;
const client = {};

describe("the lock of an address", () => {
  it("that another one holds, is asked for some forty times in a second, and then refused", async () => {
    await limits.countUse(db, { scope: limits.ADDRESS_LOCK_SCOPE, max: 1, windowSeconds: 30 }, "held");
    const deps = { postgres: { db }, requestTimeoutMs: 1_800 } as IdentityDependencies;
    const sent = await statementsOf(/\ballowances\b/, () =>
      expect(withAddressDigestLock(deps, "held", async () => undefined)).rejects.toMatchObject({
        type: "OVERLOADED",
      }),
    );
    expect(sent.length).toBeGreaterThan(1);
    expect(sent.length).toBeLessThanOrEqual(42);
    await limits.resetAllowance(db, limits.ADDRESS_LOCK_SCOPE, "held");
  });
});

describe("an allowance", () => {
  const tries: limits.Allowance = { scope: "password", max: 2, windowSeconds: 100 };
  const SUBJECT = "a.b";
  const move = (trx: Db, seconds: number) =>
    rows(trx, `UPDATE allowances SET renewed_at = ${at(seconds)} WHERE subject = ?`, [SUBJECT]);

  it("is counted until its window ends, and from zero after it", async () => {
    await still(async (trx) => {
      const use = () => limits.countUse(trx, tries, SUBJECT);
      expect([await use(), await use()]).toEqual([
        { used: 1, renewedInSeconds: 100 },
        { used: 2, renewedInSeconds: 100 },
      ]);
      await move(trx, 0.5);
      expect(await limits.hasUse(trx, tries.scope, SUBJECT)).toBe(true);
      expect(await use()).toEqual({ used: 3, renewedInSeconds: 1 });
      await move(trx, 0);
      expect(await limits.hasUse(trx, tries.scope, SUBJECT)).toBe(false);
      expect(await use()).toEqual({ used: 1, renewedInSeconds: 100 });
    });
  });

  it("limits running and used attempts together", async () => {
    await still(async (trx) => {
      const hold = () => limits.reserveUse(trx, tries, SUBJECT, 5);
      const first = await hold();
      expect(await hold()).toBeDefined();
      expect(await hold()).toBeUndefined();
      expect(await limits.secondsUntilAvailable(trx, tries, SUBJECT)).toBe(5);
      await limits.releaseReservation(trx, { ...tries, scope: "other" }, SUBJECT, first ?? "");
      await limits.releaseReservation(trx, tries, "b", first ?? "");
      expect(await hold()).toBeUndefined();
      await limits.releaseReservation(trx, tries, SUBJECT, first ?? "");
      // Both bear the time of this transaction, so that both are free.
      const again = await hold();
      expect(again).toBeDefined();
      await limits.countUse(trx, tries, SUBJECT, again);
      await limits.countUse(trx, tries, SUBJECT);
      expect(await hold()).toBeUndefined();
      expect(await limits.secondsUntilAvailable(trx, tries, SUBJECT)).toBe(100);
      await move(trx, 0);
      expect(await hold()).toBeDefined();
      expect(await limits.secondsUntilAvailable(trx, tries, "nobody")).toBe(1);
    });
  });

  it("does not count an attempt that was lost", async () => {
    await still(async (trx) => {
      await limits.reserveUse(trx, { ...tries, max: 1 }, SUBJECT, 5);
      await rows(trx, "UPDATE allowances SET held = ARRAY[now()]");
      expect(await limits.reserveUse(trx, { ...tries, max: 1 }, SUBJECT, 5)).toBeDefined();
    });
  });

  it("is deleted for its own subject and scope only", async () => {
    await still(async (trx) => {
      const subjects = ["a", "a.b", "a.c", "ab", "b"];
      const left = async (scope: string) =>
        (
          await rows<{ subject: string }>(
            trx,
            'SELECT subject FROM allowances WHERE scope = ? ORDER BY subject COLLATE "C"',
            [scope],
          )
        ).map(({ subject }) => subject);
      for (const scope of ["mail", "code"]) {
        for (const subject of subjects) await limits.countUse(trx, { ...tries, scope }, subject);
      }
      await limits.resetAllowance(trx, "mail", "a.b");
      expect(await left("mail")).toEqual(["a", "a.c", "ab", "b"]);
      await limits.resetAllowances(trx, "mail", "a");
      expect(await left("mail")).toEqual(["ab", "b"]);
      expect(await left("code")).toEqual(subjects);
    });
  });

  it("is swept from the moment when it is full again, the oldest first", async () => {
    await still(async (trx) => {
      for (const [subject, seconds] of [
        ["a", -1],
        ["b", -3],
        ["c", 0],
        ["d", 1],
        ["e", -2],
      ] as const) {
        await limits.countUse(trx, tries, subject);
        await rows(trx, `UPDATE allowances SET renewed_at = ${at(seconds)} WHERE subject = ?`, [subject]);
      }
      const left = async () =>
        (await rows<{ subject: string }>(trx, "SELECT subject FROM allowances ORDER BY subject")).map(
          ({ subject }) => subject,
        );
      expect(await limits.sweepAllowances(trx, 2)).toBe(2);
      expect(await left()).toEqual(["a", "c", "d"]);
      expect(await limits.sweepAllowances(trx, 9)).toBe(1);
      expect(await left()).toEqual(["c", "d"]);
    });
  });
});

describe("a code", () => {
  const code = (requester: string, more: Partial<codes.NewCode> = {}): codes.NewCode => ({
    ...{ purpose: "confirm-email", address: "a", requester, subject: `a ${requester}` },
    ...{ codeHash: `hash of ${requester}`, lifeSeconds: 10, ...more },
  });
  const of = (requester: string, more: Partial<codes.CodeKey> = {}): codes.CodeKey => ({
    ...{ purpose: "confirm-email", address: "a", requester, ...more },
  });
  const end = (trx: Db, column: "valid_until" | "expires_at", seconds: number, subject: string) =>
    rows(trx, `UPDATE verification_codes SET ${column} = ${at(seconds)} WHERE subject = ?`, [subject]);
  const hash = async (trx: Db, requester: string, more?: Partial<codes.CodeKey>) =>
    (await codes.tryCode(trx, of(requester, more), 2))?.codeHash;

  it("has its own number of attempts, without those of other codes", async () => {
    await still(async (trx) => {
      await codes.saveCode(trx, code("x"));
      for (let tries = 0; tries < 5; tries++) expect(await hash(trx, "stranger")).toBe("hash of x");
      expect([await hash(trx, "x"), await hash(trx, "x")]).toEqual(["hash of x", "hash of x"]);
      expect(await hash(trx, "x")).toBeUndefined();
      await codes.saveCode(trx, code("x"));
      expect(await hash(trx, "x")).toBe("hash of x");
    });
  });

  it("is the requester's own, else the only one of the address", async () => {
    await still(async (trx) => {
      for (const requester of ["x", "y"]) await codes.saveCode(trx, code(requester));
      await codes.saveCode(trx, code("z", { purpose: "reset-password", subject: "z" }));
      await codes.saveCode(trx, code("z", { address: "b", subject: "b z" }));
      expect([await hash(trx, "x"), await hash(trx, "y"), await hash(trx, "z")]).toEqual([
        ...["hash of x", "hash of y", undefined],
      ]);
      expect(await hash(trx, "w", { purpose: "reset-password" })).toBe("hash of z");
      expect(await hash(trx, "w", { purpose: "change-email" })).toBeUndefined();
      expect(await codes.hasOwnCode(trx, of("x"))).toBe(true);
      for (const other of [of("z"), of("x", { purpose: "change-email" }), of("x", { address: "b" })]) {
        expect(await codes.hasOwnCode(trx, other)).toBe(false);
      }
    });
  });

  it.each(["valid_until", "expires_at"] as const)("is valid until its %s, to the moment", async (column) => {
    await still(async (trx) => {
      await codes.saveCode(trx, code("x", { registration: { encrypted: "r", retentionSeconds: 20 } }));
      await end(trx, column, 0.001, "a x");
      expect(await hash(trx, "x")).toBe("hash of x");
      expect(await codes.hasOwnCode(trx, of("x"))).toBe(true);
      await end(trx, column, 0, "a x");
      expect(await hash(trx, "x")).toBeUndefined();
      expect(await codes.hasOwnCode(trx, of("x"))).toBe(false);
      expect(await codes.useCode(trx, "confirm-email", "a x", "hash of x")).toBe(false);
    });
  });

  it("is stored as long as the registration that it confirms, else as long as it is valid", async () => {
    await still(async (trx) => {
      await codes.saveCode(trx, code("x"));
      await codes.saveCode(trx, code("y", { registration: { encrypted: "sealed", retentionSeconds: 20 } }));
      const kept = await rows(
        trx,
        `SELECT subject, extract(epoch FROM valid_until - now())::integer AS lives, registration_sealed,
           extract(epoch FROM expires_at - now())::integer AS kept FROM verification_codes ORDER BY subject`,
      );
      expect(kept).toEqual([
        { subject: "a x", lives: 10, kept: 10 },
        { subject: "a y", lives: 10, kept: 20, registrationSealed: "sealed" },
      ]);
      expect(await codes.tryCode(trx, of("y"), 2)).toEqual({
        ...{ subject: "a y", codeHash: "hash of y", registrationSealed: "sealed" },
      });
    });
  });

  it("is renewed by its requester, by others only if it is the only one and no longer valid", async () => {
    await still(async (trx) => {
      const renewable = (requester: string) => codes.renewableCode(trx, of(requester));
      await codes.saveCode(trx, code("x", { registration: { encrypted: "r", retentionSeconds: 20 } }));
      expect([await renewable("x"), await renewable("stranger")]).toEqual(["a x", undefined]);
      await end(trx, "valid_until", 0, "a x");
      expect([await renewable("x"), await renewable("stranger")]).toEqual(["a x", "a x"]);
      expect(await codes.renewableCode(trx, of("x", { address: "b" }))).toBeUndefined();
      expect(await codes.renewableCode(trx, of("x", { purpose: "change-email" }))).toBeUndefined();
      await codes.saveCode(trx, code("y"));
      expect([await renewable("y"), await renewable("x"), await renewable("stranger")]).toEqual([
        ...["a y", "a x", undefined],
      ]);
      await end(trx, "expires_at", 0, "a x");
      expect(await renewable("x")).toBeUndefined();
    });
  });

  it("renewed, has new attempts and confirms the same registration; no other code changes", async () => {
    await still(async (trx) => {
      const registration = { encrypted: "r", retentionSeconds: 20 };
      for (const requester of ["x", "y"]) await codes.saveCode(trx, code(requester, { registration }));
      await hash(trx, "x");
      await hash(trx, "x");
      const renewal = { purpose: "confirm-email", subject: "a x", codeHash: "new", lifeSeconds: 5 } as const;
      await codes.renewCode(trx, { ...renewal, purpose: "change-email" });
      expect(await hash(trx, "x")).toBeUndefined();
      await codes.renewCode(trx, renewal);
      expect([await hash(trx, "x"), await hash(trx, "y")]).toEqual(["new", "hash of y"]);
      await end(trx, "expires_at", 0, "a x");
      await codes.renewCode(trx, { ...renewal, codeHash: "newer" });
      expect(await rows(trx, "SELECT code_hash FROM verification_codes WHERE subject = 'a x'")).toEqual([
        { codeHash: "new" },
      ]);
    });
  });

  it("is used once, by its own hash, and deleted alone", async () => {
    await still(async (trx) => {
      for (const requester of ["x", "y"]) await codes.saveCode(trx, code(requester));
      const use = (purpose: codes.Purpose, subject: string, codeHash: string) =>
        codes.useCode(trx, purpose, subject, codeHash);
      expect(await use("confirm-email", "a x", "hash of y")).toBe(false);
      expect(await use("change-email", "a x", "hash of x")).toBe(false);
      expect(await use("confirm-email", "a z", "hash of x")).toBe(false);
      expect([
        await use("confirm-email", "a x", "hash of x"),
        await use("confirm-email", "a x", "hash of x"),
      ]).toEqual([true, false]);
      expect(await hash(trx, "y")).toBe("hash of y");
      const left = async () =>
        (await rows<{ subject: string }>(trx, "SELECT subject FROM verification_codes")).map(
          ({ subject }) => subject,
        );
      await codes.deleteCode(trx, "change-email", "a x");
      expect(await left()).toHaveLength(2);
      await codes.deleteCode(trx, "confirm-email", "a x");
      expect(await left()).toEqual(["a y"]);
    });
  });

  it("is swept from the moment after its end, the oldest first", async () => {
    await still(async (trx) => {
      for (const [requester, seconds] of [
        ["a", -1],
        ["b", -3],
        ["c", 0],
        ["d", 1],
        ["e", -2],
      ] as const) {
        await codes.saveCode(trx, code(requester));
        await end(trx, "expires_at", seconds, `a ${requester}`);
      }
      const left = async () =>
        (await rows<{ requester: string }>(trx, "SELECT requester FROM verification_codes ORDER BY 1")).map(
          ({ requester }) => requester,
        );
      expect(await codes.sweepCodes(trx, 2)).toBe(2);
      expect(await left()).toEqual(["a", "c", "d"]);
      expect(await codes.sweepCodes(trx, 9)).toBe(1);
      expect(await left()).toEqual(["c", "d"]);
    });
  });
});

describe("an invitation", () => {
  const PARTNER = newId();
  const OTHER_PARTNER = newId();
  const SESSION = newId();
  const deliverer = { role: "deliverer" as const };
  const invite = async (trx: Db, tokenHash: string, more: object = {}) => {
    const id = newId();
    await invitations.insertInvitation(trx, {
      ...{ id, email: "staff@example.org", grant: deliverer, tokenHash, invitedBy: newId() },
      ...{ sessionId: SESSION, lifeSeconds: 10, ...more },
    });
    return id;
  };
  const open = async (trx: Db) =>
    (
      await rows<{ tokenHash: string }>(
        trx,
        "SELECT token_hash FROM invitations WHERE expires_at > now() ORDER BY token_hash",
      )
    ).map(({ tokenHash }) => tokenHash);

  it("replaces an open one to the same address for the same purpose only", async () => {
    await still(async (trx) => {
      const staff = (partnerId: string) => ({
        grant: { role: "partner" as const, partnerId, partnerAdmin: true },
      });
      await invite(trx, "1");
      await invite(trx, "2", { email: "other@example.org" });
      await invite(trx, "3", { grant: { role: "admin" } });
      await invite(trx, "4", staff(PARTNER));
      await invite(trx, "5", staff(OTHER_PARTNER));
      expect(await open(trx)).toEqual(["1", "2", "3", "4", "5"]);
      await invite(trx, "6");
      await invite(trx, "7", staff(PARTNER));
      expect(await open(trx)).toEqual(["2", "3", "5", "6", "7"]);
      expect(await invitations.claimInvitation(trx, "7")).toMatchObject({
        ...{ role: "partner", partnerId: PARTNER, partnerAdmin: true },
      });
      expect(await invitations.claimInvitation(trx, "6")).toMatchObject({ partnerAdmin: false });
    });
  });

  it("does not change the end of an earlier one", async () => {
    await still(async (trx) => {
      await invite(trx, "1");
      await rows(trx, `UPDATE invitations SET expires_at = ${at(-5)}`);
      await invite(trx, "2");
      const [ended] = await rows<{ seconds: number }>(
        trx,
        "SELECT extract(epoch FROM expires_at - now())::integer AS seconds FROM invitations WHERE token_hash = '1'",
      );
      expect(ended?.seconds).toBe(-5);
    });
  });

  it("is claimed by one person at a time, for half a minute, while it is open", async () => {
    await still(async (trx) => {
      const claim = (tokenHash: string) => invitations.claimInvitation(trx, tokenHash);
      const id = await invite(trx, "1");
      await invite(trx, "2", { email: "other@example.org" });
      expect(await claim("3")).toBeUndefined();
      expect(await claim("1")).toMatchObject({ id });
      expect(await claim("1")).toBeUndefined();
      const [claimed] = await rows<{ seconds: number }>(
        trx,
        "SELECT extract(epoch FROM claimed_until - now())::integer AS seconds FROM invitations WHERE token_hash = '1'",
      );
      expect(claimed?.seconds).toBe(30);
      await rows(trx, "UPDATE invitations SET claimed_until = now() WHERE id = ?", [id]);
      expect(await claim("1")).toBeUndefined();
      await rows(trx, `UPDATE invitations SET claimed_until = ${at(-0.001)} WHERE id = ?`, [id]);
      expect(await claim("1")).toBeDefined();
      await invitations.releaseInvitation(trx, newId());
      expect(await claim("1")).toBeUndefined();
      await invitations.releaseInvitation(trx, id);
      expect(await claim("1")).toBeDefined();
      await invitations.releaseInvitation(trx, id);
      await rows(trx, "UPDATE invitations SET expires_at = now() WHERE id = ?", [id]);
      expect(await claim("1")).toBeUndefined();
      expect(await claim("2")).toMatchObject({ email: "other@example.org" });
    });
  });

  it("is accepted once, and then neither released nor claimed", async () => {
    await still(async (trx) => {
      const id = await invite(trx, "1");
      await invite(trx, "2", { email: "other@example.org" });
      await invitations.claimInvitation(trx, "1");
      expect(await invitations.acceptInvitationRow(trx, newId(), newId())).toBe(false);
      expect(await invitations.acceptInvitationRow(trx, id, newId())).toBe(true);
      expect(await invitations.acceptInvitationRow(trx, id, newId())).toBe(false);
      await invitations.releaseInvitation(trx, id);
      const [found] = await rows<{ claimed: boolean }>(
        trx,
        "SELECT claimed_until > now() AS claimed FROM invitations WHERE id = ?",
        [id],
      );
      expect(found?.claimed).toBe(true);
      await rows(trx, "UPDATE invitations SET claimed_until = 'epoch'");
      expect(await invitations.claimInvitation(trx, "1")).toBeUndefined();
      expect(await invitations.claimInvitation(trx, "2")).toBeDefined();
    });
  });

  it("is withdrawn with the session that sent it, while it is open", async () => {
    await still(async (trx) => {
      const sessionId = newId();
      const accepted = await invite(trx, "1", { sessionId });
      await invitations.acceptInvitationRow(trx, accepted, newId());
      await invite(trx, "2", { sessionId, email: "a@example.org" });
      await invite(trx, "3", { email: "b@example.org" });
      await invite(trx, "4", { sessionId, email: "c@example.org" });
      await rows(trx, `UPDATE invitations SET expires_at = ${at(-5)} WHERE token_hash = '4'`);
      await invitations.withdrawInvitations(trx, []);
      expect(await open(trx)).toEqual(["1", "2", "3"]);
      await invitations.withdrawInvitations(trx, [sessionId]);
      expect(await open(trx)).toEqual(["1", "3"]);
      const untouched = "SELECT token_hash FROM invitations WHERE expires_at = now() + interval '-5 seconds'";
      expect(await rows(trx, untouched)).toEqual([{ tokenHash: "4" }]);
    });
  });

  it("is swept so many days after its end, the oldest first", async () => {
    await still(async (trx) => {
      for (const [token, seconds] of [
        ["1", -86_401],
        ["2", -86_403],
        ["3", -86_400],
        ["4", -86_402],
      ] as const) {
        await invite(trx, token, { email: address() });
        await rows(trx, `UPDATE invitations SET expires_at = ${at(seconds)} WHERE token_hash = ?`, [token]);
      }
      const left = async () =>
        (await rows<{ tokenHash: string }>(trx, "SELECT token_hash FROM invitations ORDER BY 1")).map(
          ({ tokenHash }) => tokenHash,
        );
      expect(await invitations.sweepInvitations(trx, 1, 2)).toBe(2);
      expect(await left()).toEqual(["1", "3"]);
      expect(await invitations.sweepInvitations(trx, 1, 9)).toBe(1);
      expect(await left()).toEqual(["3"]);
    });
  });
});

describe("a change of address that can be undone", () => {
  const insert = async (trx: Db, tokenHash: string, userId: string, seconds: number) => {
    await undos.insertUndo(trx, { tokenHash, userId, formerEmail: "former@example.org", lifeSeconds: 10 });
    await rows(trx, `UPDATE email_undos SET created_at = ${at(seconds)} WHERE token_hash = ?`, [tokenHash]);
  };
  const left = async (trx: Db) =>
    (await rows<{ tokenHash: string }>(trx, "SELECT token_hash FROM email_undos ORDER BY 1")).map(
      ({ tokenHash }) => tokenHash,
    );
  const end = (trx: Db, seconds: number, tokenHash: string) =>
    rows(trx, `UPDATE email_undos SET expires_at = ${at(seconds)} WHERE token_hash = ?`, [tokenHash]);

  it("is found until its end, by its own token", async () => {
    await still(async (trx) => {
      const userId = newId();
      await insert(trx, "1", userId, 0);
      await insert(trx, "2", newId(), 0);
      expect(await undos.findUndo(trx, "1")).toEqual({ userId, formerEmail: "former@example.org" });
      expect(await undos.findUndo(trx, "3")).toBeUndefined();
      await end(trx, 0, "1");
      expect(await undos.findUndo(trx, "1")).toBeUndefined();
      expect(await undos.useUndo(trx, "1", { userId, formerEmail: "" })).toBe(false);
    });
  });

  it("ends with those of later changes of the same user, and not with earlier ones", async () => {
    await still(async (trx) => {
      const userId = newId();
      for (const [token, seconds] of [
        ["1", -3],
        ["2", -2],
        ["3", -1],
      ] as const) {
        await insert(trx, token, userId, seconds);
      }
      await insert(trx, "4", newId(), 0);
      const undo = { userId, formerEmail: "" };
      expect(await undos.useUndo(trx, "2", undo)).toBe(true);
      expect(await left(trx)).toEqual(["1", "4"]);
      expect(await undos.useUndo(trx, "2", undo)).toBe(false);
      expect(await undos.useUndo(trx, "1", undo)).toBe(true);
      expect(await left(trx)).toEqual(["4"]);
    });
  });

  it("is swept from the moment after its end, the oldest first", async () => {
    await still(async (trx) => {
      for (const [token, seconds] of [
        ["1", -1],
        ["2", -3],
        ["3", 0],
        ["4", -2],
      ] as const) {
        await insert(trx, token, newId(), 0);
        await end(trx, seconds, token);
      }
      expect(await undos.sweepUndos(trx, 2)).toBe(2);
      expect(await left(trx)).toEqual(["1", "3"]);
      expect(await undos.sweepUndos(trx, 9)).toBe(1);
      expect(await left(trx)).toEqual(["3"]);
    });
  });
});

describe("an erasure", () => {
  it("is pending once, the longest untried first", async () => {
    await still(async (trx) => {
      const ids = [newId(), newId(), newId()];
      for (const [index, id] of ids.entries()) {
        await erasures.insertErasure(trx, id, `digest ${index}`);
        await erasures.insertErasure(trx, id, "another");
        await rows(trx, `UPDATE erasures SET updated_at = ${at(index - 5)} WHERE user_id = ?`, [id]);
      }
      const [first, second, third] = ids as [string, string, string];
      const pending = async (limit: number) =>
        (await erasures.pendingErasures(trx, limit)).map(({ userId }) => userId);
      expect(await erasures.pendingErasures(trx, 1)).toEqual([{ userId: first, address: "digest 0" }]);
      expect(await pending(9)).toEqual([first, second, third]);
      await erasures.postponeErasure(trx, first);
      expect(await pending(9)).toEqual([second, third, first]);
      expect([await erasures.isErased(trx, second), await erasures.isErased(trx, newId())]).toEqual([
        true,
        false,
      ]);
      await erasures.deleteErasure(trx, second);
      expect(await pending(9)).toEqual([third, first]);
      expect(await erasures.isErased(trx, second)).toBe(false);
    });
  });

  const inserted = async (trx: Db, id: string, email: string, subject: string, userId: string) => {
    await invitations.insertInvitation(trx, {
      ...{ id, email, grant: { role: "deliverer" }, tokenHash: id, invitedBy: newId() },
      ...{ sessionId: newId(), lifeSeconds: 10 },
    });
    await undos.insertUndo(trx, { tokenHash: id, userId, formerEmail: email, lifeSeconds: 10 });
    for (const purpose of codes.purposes) {
      const code = { purpose, address: subject, requester: "r", subject: id, codeHash: "h", lifeSeconds: 10 };
      await codes.saveCode(trx, code);
    }
    const allowance = { scope: "mail", max: 1, windowSeconds: 10 };
    for (const counted of [subject, `${subject}.client`]) {
      await limits.countUse(trx, allowance, counted);
      await limits.countUse(trx, { ...allowance, scope: limits.ADDRESS_LOCK_SCOPE }, counted);
    }
    await rows(
      trx,
      "INSERT INTO idempotency_keys (user_id, scope, key, body_hash, answer) VALUES (?, 's', 'k', 'h', '{}')",
      [userId],
    );
    for (const about of [id, userId]) {
      await rows(
        trx,
        `INSERT INTO outbox (id, source, type, subject, time, dataschema, data)
         VALUES (?, 's', 't', ?, now(), 'd', '{}')`,
        [newId(), about],
      );
    }
  };
  const TABLES = [
    "outbox",
    "invitations",
    "email_undos",
    "verification_codes",
    "allowances",
    "idempotency_keys",
  ];
  const counts = async (trx: Db) => {
    const found: Record<string, number> = {};
    for (const table of TABLES) {
      const [row] = await rows<{ count: number }>(trx, `SELECT count(*)::integer AS count FROM ${table}`);
      found[table] = row?.count ?? 0;
    }
    return found;
  };

  it("removes all data of the user and none of another", async () => {
    await still(async (trx) => {
      const [user, other] = [newId(), newId()];
      await inserted(trx, newId(), "gone@example.org", "gone", user);
      await inserted(trx, newId(), "stays@example.org", "stays", other);
      await erasures.eraseTraces(trx, { id: user, email: "gone@example.org", subjects: ["gone", user] });
      expect(await counts(trx)).toEqual({
        // The turns of the person end with the turn in which this happens.
        ...{
          outbox: 2,
          invitations: 1,
          email_undos: 1,
          verification_codes: 3,
          allowances: 6,
          idempotency_keys: 1,
        },
      });
    });
  });

  it.each(TABLES)("is not complete before the data in %s is removed", async (table) => {
    const blocker = await db.begin();
    await blocker.query(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
    const ended: string[] = [];
    const erasing = erasures
      .eraseTraces(db, { id: newId(), email: address(), subjects: ["nobody"] })
      .then(() => ended.push(table));
    await waiting(1);
    expect(ended).toEqual([]);
    await blocker.rollback();
    await erasing;
  });
});

/** So many statements wait for a lock. */
const waiting = (count: number) =>
  eventually(async () => {
    const [found] = await rows<{ count: number }>(
      db,
      `SELECT count(DISTINCT pid)::integer AS count FROM pg_locks
       WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    );
    expect(found?.count).toBe(count);
  });

describe("an entry of the audit", () => {
  const entry = (more: object = {}) => ({ action: "identity.signIn", subject: "s", ...more });

  it("is stored once under its id, with its given time", async () => {
    await still(async (trx) => {
      const id = newId();
      await audit.addRemoteAudit(trx, id, "2026-01-01T00:00:00Z", entry({ detail: "d", ip: "192.0.2.1" }));
      await audit.addRemoteAudit(trx, id, "2026-01-02T00:00:00Z", entry());
      expect(await audit.auditPage(trx, 9)).toMatchObject([
        { id, at: "2026-01-01T00:00:00.000Z", detail: "d", ip: "192.0.2.1" },
      ]);
      await audit.addAudit(trx, entry());
      const [own] = await audit.auditPage(trx, 1);
      expect(Object.keys(own ?? {}).sort()).toEqual(["action", "at", "id", "subject"]);
    });
  });

  it("is on its page, newest first, and with the users whom it concerns", async () => {
    await still(async (trx) => {
      const [user, other] = [newId(), newId()];
      const ids = [newId(), newId(), newId(), newId()].sort();
      const written = [
        entry({ actorId: user }),
        entry({ subject: user }),
        entry({ actorId: other }),
        entry(),
      ];
      for (const [index, one] of written.entries()) {
        await audit.addRemoteAudit(trx, ids[index] ?? "", "2026-01-01T00:00:00Z", one);
      }
      const idsOf = (entries: audit.AuditEntry[]) => entries.map(({ id }) => ids.indexOf(id));
      expect(idsOf(await audit.auditPage(trx, 2))).toEqual([3, 2]);
      expect(idsOf(await audit.auditPage(trx, 9, ids[2]))).toEqual([1, 0]);
      expect(idsOf(await audit.auditOf(trx, user, 9))).toEqual([1, 0]);
      expect(idsOf(await audit.auditOf(trx, user, 1))).toEqual([1]);
    });
  });
});

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
    releaseUse: () => limits.releaseReservation(db, allowance, "w", "2026-01-01"),
    forgetUse: () => limits.resetAllowance(db, "mail", "w"),
    forgetUses: () => limits.resetAllowances(db, "mail", "w"),
    saveCode: () => codes.saveCode(db, { ...code, address: "w", requester: "r" }),
    renewCode: () => codes.renewCode(db, code),
    dropCode: () => codes.deleteCode(db, "confirm-email", "w"),
    releaseInvitation: () => invitations.releaseInvitation(db, newId()),
    withdrawInvitations: () => invitations.withdrawInvitations(db, [newId()]),
    insertUndo: () =>
      undos.insertUndo(db, { tokenHash: "w", userId: newId(), formerEmail: address(), lifeSeconds: 1 }),
    insertErasure: () => erasures.insertErasure(db, newId(), "w"),
    postponeErasure: () => erasures.postponeErasure(db, newId()),
    deleteErasure: () => erasures.deleteErasure(db, newId()),
    addAudit: () => audit.addAudit(db, { action: "a", subject: "w" }),
    addToldAudit: () => audit.addRemoteAudit(db, newId(), "2026-01-01", { action: "a", subject: "w" }),
    deletePendingGrant: () => profiles.deletePendingGrant(db, newId()),
    sweepSigningKeys: () => accounts.sweepSigningKeys(sqlOf(db), 1_000_000),
  };

  it("ends when the database has it, not before", async () => {
    const blocker = await db.begin();
    await blocker.query(`LOCK TABLE ${TABLES} IN ACCESS EXCLUSIVE MODE`);
    const ended: string[] = [];
    const all = Object.entries(writes).map(async ([name, write]) => {
      await write();
      ended.push(name);
    });
    await waiting(Object.keys(writes).length);
    expect(ended).toEqual([]);
    await blocker.rollback();
    await Promise.all(all);
  });

  it("of the sweeps, skips rows of another transaction", async () => {
    const other = await db.begin();
    const subject = newId();
    await limits.countUse(db, allowance, subject);
    await rows(db, "UPDATE allowances SET renewed_at = now() - interval '1 hour' WHERE subject = ?", [
      subject,
    ]);
    await other.query("SELECT FROM allowances WHERE subject = ? FOR UPDATE", [subject]);
    expect(await limits.sweepAllowances(db, 9)).toBe(0);
    await other.rollback();
    expect(await limits.sweepAllowances(db, 9)).toBe(1);
  });
});
