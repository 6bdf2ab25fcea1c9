import { describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Db, rows } from "../../lib/sql/database.ts";
import * as audit from "../../services/identity/store/audit.repository.ts";
import * as codes from "../../services/identity/store/codes.repository.ts";
import * as undos from "../../services/identity/store/email-undos.repository.ts";
import * as erasures from "../../services/identity/store/erasures.repository.ts";
import * as invitations from "../../services/identity/store/invitations.repository.ts";
import * as limits from "../../services/identity/store/limits.repository.ts";
import { at, statementDatabase } from "../support/still-transaction.ts";

/*
 * The statements of invitations, changes of address, erasures and the audit log by themselves: other rows beside
 * the ones that they name, and times to the moment.
 */

const statements = statementDatabase("identity", 4);
const { still } = statements;
const address = () => `${newId()}@example.org`;

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
    await statements.expectToWaitFor(table, {
      erasure: () =>
        erasures.eraseTraces(statements.db, { id: newId(), email: address(), subjects: ["absent"] }),
    });
  });
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
