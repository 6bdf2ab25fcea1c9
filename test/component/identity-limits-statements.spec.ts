import { describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Db, rows } from "../../lib/sql/database.ts";
import type { IdentityDependencies } from "../../services/identity/dependencies.ts";
import * as codes from "../../services/identity/store/codes.repository.ts";
import * as limits from "../../services/identity/store/limits.repository.ts";
import { withAddressDigestLock } from "../../services/identity/use-cases/address-lock.ts";
import { statementsOf } from "../support/statements.ts";
import { at, statementDatabase } from "../support/still-transaction.ts";

/*
 * The statements of the limits and codes of Identity by themselves: other rows beside the ones that they name,
 * and times to the moment.
 */

const statements = statementDatabase("identity", 4);
const { still } = statements;

describe("the lock of an address", () => {
  it("held by another request, is tried about forty times in a second, and then refused", async () => {
    await limits.countUse(
      statements.db,
      { scope: limits.ADDRESS_LOCK_SCOPE, max: 1, windowSeconds: 30 },
      "held",
    );
    const deps = { postgres: { db: statements.db }, requestTimeoutMs: 1_800 } as IdentityDependencies;
    const sent = await statementsOf(/\ballowances\b/, () =>
      expect(withAddressDigestLock(deps, "held", async () => undefined)).rejects.toMatchObject({
        type: "OVERLOADED",
      }),
    );
    expect(sent.length).toBeGreaterThan(1);
    expect(sent.length).toBeLessThanOrEqual(42);
    await limits.resetAllowance(statements.db, limits.ADDRESS_LOCK_SCOPE, "held");
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

  it("is not swept while another transaction has locked it", async () => {
    const other = await statements.db.begin();
    const subject = newId();
    await limits.countUse(statements.db, tries, subject);
    await rows(
      statements.db,
      "UPDATE allowances SET renewed_at = now() - interval '1 hour' WHERE subject = ?",
      [subject],
    );
    await other.query("SELECT FROM allowances WHERE subject = ? FOR UPDATE", [subject]);
    expect(await limits.sweepAllowances(statements.db, 9)).toBe(0);
    await other.rollback();
    expect(await limits.sweepAllowances(statements.db, 9)).toBe(1);
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
