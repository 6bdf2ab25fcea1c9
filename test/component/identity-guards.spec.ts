import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { decodeJwt } from "jose";
import type { Message } from "../../contracts/messages.ts";
import type { Role } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { affected, type Database } from "../../lib/sql/database.ts";
import { saveAccount } from "../../providers/identity/built-in.repository.ts";
import { builtInProvider, type Grant } from "../../providers/identity/index.ts";
import { recordAudit } from "../../services/identity/actions/admin.ts";
import { emailChangeCode } from "../../services/identity/actions/email-change.ts";
import { digestUnder, type IdentityDependencies } from "../../services/identity/dependencies.ts";
import { auditOf } from "../../services/identity/store/audit.repository.ts";
import type { Purpose } from "../../services/identity/store/codes.repository.ts";
import { insertUndo } from "../../services/identity/store/email-undos.repository.ts";
import { insertInvitation } from "../../services/identity/store/invitations.repository.ts";
import { ADDRESS_LOCK_SCOPE } from "../../services/identity/store/limits.repository.ts";
import { withAddressLock } from "../../services/identity/use-cases/address-lock.ts";
import { issueCode } from "../../services/identity/use-cases/codes.ts";
import { requesterOf } from "../../services/identity/use-cases/limits.ts";
import { eventually } from "../support/eventually.ts";
import { hiddenFailures, type Statement, withChangeBefore } from "../support/failing-statements.ts";
import { type IdentityBench, newAddress, PASSWORD, SEAL_SECRET, startIdentity } from "../support/identity.ts";
import { openPool } from "../support/postgres.ts";

/*
 * Guards that a second guard hides: each test takes the second one away first, by letting its time pass in the
 * database.
 */

const WRONG = "wrong-Passw-0rt";
const NEW_PASSWORD = "Nebelhorn-und-Kaese";
const TRIES = 10;

const PARTNER_ID = newId();
const digest = digestUnder(SEAL_SECRET);
const hashOf = (token: string) => createHash("sha256").update(token).digest("base64url");
const person = { password: PASSWORD, firstName: "Jonas", lastName: "Meier" };
const pushToken = { provider: "fcm", token: "t".repeat(40) } as const;
const deliverer = { role: "deliverer" } as const;

let bench: IdentityBench;
let db: Database;
let owner: { userId: string };
let operator: { meta: { token: string } };
beforeAll(async () => {
  bench = await startIdentity();
  db = openPool(bench.database, 3);
  owner = await bench.customer();
  operator = await bench.admin();
});
afterAll(async () => {
  await db.close();
  await bench.stop();
});

/** A user with the password and the names of `owner`, made by two statements, with a session. */
async function user(role: Role = "customer") {
  const [userId, email] = [newId(), newAddress()];
  const partnerId = role === "partner" ? PARTNER_ID : null;
  const bindings = { userId, email, role, partnerId, likeId: owner.userId };
  await affected(
    db,
    `INSERT INTO accounts (id, email, role, partner_id, password_hash, confirmed)
     SELECT :userId, :email, :role, :partnerId, password_hash, true FROM accounts WHERE id = :likeId`,
    bindings,
  );
  await affected(
    db,
    `INSERT INTO profiles (id, email, role, partner_id, email_confirmed, first_name, last_name, language)
     SELECT :userId, :email, :role, :partnerId, true, first_name, last_name, language FROM profiles
     WHERE id = :likeId`,
    bindings,
  );
  const tokens = await bench.signIn(email);
  const sessionId = decodeJwt(tokens.accessToken).sid as string;
  return { userId, email, tokens, sessionId, meta: { token: tokens.accessToken } };
}
const codeFor = async (purpose: Purpose, email: string) => {
  const requester = requesterOf({ digest }, undefined);
  return (await issueCode({ digest }, db, { purpose, address: digest(email), requester })).code;
};
async function invitation(email: string, grant: Grant, sessionId = newId()) {
  const [id, token] = [newId(), newId()];
  const [tokenHash, invitedBy] = [hashOf(token), newId()];
  await insertInvitation(db, { id, email, grant, tokenHash, invitedBy, sessionId, lifeSeconds: 1_000 });
  return { id, token };
}

/** Places that tries under way hold end after 5 s; what stays is what was counted. */
const letHoldsEnd = () => bench.sql("UPDATE allowances SET held = '{}'");

describe("wrong passwords of an action that requires the password", () => {
  const acts = {
    "identity.changePassword": (meta: { token: string }, password: string) =>
      bench.ask("identity.changePassword", { currentPassword: password, newPassword: NEW_PASSWORD }, meta),
    "identity.deleteAccount": (meta: { token: string }, password: string) =>
      bench.ask("identity.deleteAccount", { password }, meta),
  };

  it.each(Object.entries(acts))("%s, still count when no attempt is running any more", async (_, act) => {
    const { meta } = await bench.customer();
    for (let tries = 0; tries < TRIES; tries++) {
      await expect(act(meta, WRONG)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    }
    await letHoldsEnd();
    await expect(act(meta, PASSWORD)).rejects.toMatchObject({ type: "TOO_MANY_REQUESTS" });
  });
});

describe("an accepted invitation", () => {
  it("is refused to a second person after the first claim has ended", async () => {
    const { token, email } = await bench.invited("deliverer");
    const person = { token, password: PASSWORD, firstName: "Jonas", lastName: "Meier" };
    await bench.ask("identity.acceptInvitation", person);
    await bench.sql("UPDATE invitations SET claimed_until = 'epoch' WHERE email = $1", [email]);
    const again = bench.ask("identity.acceptInvitation", { ...person, password: NEW_PASSWORD });
    await expect(again).rejects.toMatchObject({ type: "INVITATION_INVALID" });
    await expect(bench.signIn(email)).resolves.toBeDefined();
  });
});

describe("an action of which a statement fails", () => {
  /** The lock of an address and the reservation of a try expire by themselves. */
  const isRelease = ({ text, values }: Statement) =>
    text.includes("array_remove(held") || (text.startsWith("DELETE") && values.includes(ADDRESS_LOCK_SCOPE));
  /** The relay of the outbox is woken by the call, and works beside it. */
  const isRelay = ({ text }: Statement) => /(?<!INTO |DELETE FROM )outbox/.test(text);
  const all = (statement: Statement) =>
    !/^(?:BEGIN|COMMIT|ROLLBACK)/.test(statement.text) && !isRelease(statement) && !isRelay(statement);
  const withoutLimits = (statement: Statement) => all(statement) && !statement.text.includes("allowances");
  /** The sweep publishes what an action could not. */
  const PUBLISHED = ["FROM sessions", "INSERT INTO outbox", "UPDATE sessions"];

  interface Case {
    prepare: () => Promise<() => Promise<unknown>>;
    hidden?: readonly string[];
    outcome?: string;
    counted?: typeof all;
  }
  const cases: Record<string, Case> = {
    register: {
      prepare: async () => () => bench.ask("identity.register", { ...person, email: newAddress() }),
      counted: all,
    },
    confirm: {
      async prepare() {
        const { email, code } = await bench.registered();
        return () => bench.ask("identity.confirm", { email, code });
      },
    },
    resendCode: {
      async prepare() {
        const { email } = await user();
        await codeFor("confirm-email", email);
        return () => bench.ask("identity.resendCode", { email });
      },
    },
    signIn: {
      async prepare() {
        const { userId, email } = await user();
        await bench.sql("UPDATE profiles SET push_token = $2 WHERE id = $1", [userId, pushToken]);
        return () => bench.ask("identity.signIn", { email, password: PASSWORD });
      },
      counted: all,
    },
    "signIn with another role at the provider": {
      async prepare() {
        const { userId, email } = await user();
        await bench.sql("UPDATE accounts SET role = 'deliverer' WHERE id = $1", [userId]);
        return () => bench.ask("identity.signIn", { email, password: PASSWORD });
      },
    },
    "signIn with a wrong password": {
      async prepare() {
        const { email } = await user();
        return () => bench.ask("identity.signIn", { email, password: WRONG });
      },
      outcome: "INVALID_CREDENTIALS",
      counted: all,
    },
    "signIn of a suspended user": {
      async prepare() {
        const { userId, email } = await user();
        await bench.sql("UPDATE profiles SET suspended_at = now(), suspension_reason = 'x' WHERE id = $1", [
          userId,
        ]);
        return () => bench.ask("identity.signIn", { email, password: PASSWORD });
      },
      outcome: "ACCOUNT_SUSPENDED",
    },
    "refresh with a used token": {
      async prepare() {
        const { tokens, sessionId } = await user();
        await bench.sql("UPDATE sessions SET generation = 2 WHERE id = $1", [sessionId]);
        return () => bench.ask("identity.refresh", { refreshToken: tokens.refreshToken });
      },
      outcome: "SESSION_REVOKED",
      hidden: PUBLISHED,
    },
    signOut: {
      async prepare() {
        const { meta } = await user();
        return () => bench.ask("identity.signOut", {}, meta);
      },
      hidden: PUBLISHED,
    },
    "signOut of another session": {
      async prepare() {
        const { email, meta } = await user();
        const other = await bench.signIn(email);
        const sessionId = decodeJwt(other.accessToken).sid as string;
        return () => bench.ask("identity.signOut", { sessionId }, meta);
      },
      hidden: PUBLISHED,
    },
    signOutEverywhere: {
      async prepare() {
        const { meta } = await user();
        return () => bench.ask("identity.signOutEverywhere", {}, meta);
      },
      hidden: PUBLISHED,
    },
    forgotPassword: {
      async prepare() {
        const { email } = await user();
        return () => bench.ask("identity.forgotPassword", { email });
      },
      counted: all,
    },
    resetPassword: {
      async prepare() {
        const { email } = await user();
        const code = await codeFor("reset-password", email);
        return () => bench.ask("identity.resetPassword", { email, code, password: NEW_PASSWORD });
      },
      hidden: PUBLISHED,
      counted: all,
    },
    changePassword: {
      async prepare() {
        const { email, meta } = await user();
        await bench.signIn(email);
        const passwords = { currentPassword: PASSWORD, newPassword: NEW_PASSWORD };
        return () => bench.ask("identity.changePassword", passwords, meta);
      },
      hidden: PUBLISHED,
    },
    updateProfile: {
      async prepare() {
        const { meta } = await user();
        const changes = { email: newAddress(), currentPassword: PASSWORD, pushToken };
        return () => bench.ask("identity.updateProfile", changes, meta);
      },
      counted: all,
    },
    confirmEmail: {
      async prepare() {
        const { userId, email, meta } = await user();
        await bench.signIn(email);
        await bench.sql("UPDATE profiles SET pending_email = $2 WHERE id = $1", [userId, newAddress()]);
        const { code } = await issueCode({ digest }, db, emailChangeCode(userId));
        return () => bench.ask("identity.confirmEmail", { code }, meta);
      },
      hidden: PUBLISHED,
    },
    undoEmailChange: {
      async prepare() {
        const { userId } = await user();
        const token = newId();
        const undo = { userId, formerEmail: newAddress(), lifeSeconds: 1_000 };
        await insertUndo(db, { ...undo, tokenHash: hashOf(token) });
        return () => bench.ask("identity.undoEmailChange", { token, newPassword: NEW_PASSWORD });
      },
      hidden: PUBLISHED,
    },
    deleteAccount: {
      async prepare() {
        const { meta } = await user();
        return () => bench.ask("identity.deleteAccount", { password: PASSWORD }, meta);
      },
      // The sweep also completes the erasure at the provider.
      hidden: [...PUBLISHED, "FROM accounts", "DELETE FROM erasures"],
    },
    invite: {
      prepare: async () => () =>
        bench.ask("identity.invite", { email: newAddress(), ...deliverer }, operator.meta),
      counted: all,
    },
    withdrawInvitation: {
      async prepare() {
        const { id } = await invitation(newAddress(), deliverer);
        return () => bench.ask("identity.withdrawInvitation", { invitationId: id }, operator.meta);
      },
    },
    resendInvitation: {
      async prepare() {
        const { id } = await invitation(newAddress(), deliverer);
        return () => bench.ask("identity.resendInvitation", { invitationId: id }, operator.meta);
      },
      counted: all,
    },
    acceptInvitation: {
      async prepare() {
        const { token } = await invitation(newAddress(), deliverer);
        return () => bench.ask("identity.acceptInvitation", { ...person, token });
      },
    },
    "acceptInvitation of a customer": {
      async prepare() {
        const { email } = await user();
        const { token } = await invitation(email, deliverer);
        return () => bench.ask("identity.acceptInvitation", { ...person, token });
      },
      hidden: PUBLISHED,
    },
    "acceptInvitation after an interrupted one": {
      async prepare() {
        const { userId, email } = await user();
        await bench.sql("DELETE FROM profiles WHERE id = $1", [userId]);
        const { token } = await invitation(email, deliverer);
        return () => bench.ask("identity.acceptInvitation", { ...person, token });
      },
    },
    suspendUser: {
      async prepare() {
        const { userId } = await user();
        return () => bench.ask("identity.suspendUser", { userId, reason: "x" }, operator.meta);
      },
      hidden: PUBLISHED,
    },
    restoreUser: {
      async prepare() {
        const { userId } = await user();
        await bench.sql("UPDATE profiles SET suspended_at = now(), suspension_reason = 'x' WHERE id = $1", [
          userId,
        ]);
        return () => bench.ask("identity.restoreUser", { userId }, operator.meta);
      },
    },
    setRole: {
      async prepare() {
        const { userId } = await user();
        return () => bench.ask("identity.setRole", { userId, ...deliverer }, operator.meta);
      },
      hidden: PUBLISHED,
    },
    endUserSession: {
      async prepare() {
        const { userId, sessionId } = await user();
        return () => bench.ask("identity.endUserSession", { userId, sessionId }, operator.meta);
      },
      hidden: PUBLISHED,
    },
    endUserSessions: {
      async prepare() {
        const { userId } = await user();
        return () => bench.ask("identity.endUserSessions", { userId }, operator.meta);
      },
      hidden: PUBLISHED,
    },
  };

  it.each(Object.entries(cases))("%s, fails unless other work repeats it", async (_, one) => {
    const { prepare, hidden = [], outcome = "done", counted = withoutLimits } = one;
    expect(await hiddenFailures(prepare, counted)).toEqual({ outcome, hidden });
  });
});

describe("what an action stores with a time limit", () => {
  const DAY_SECONDS = 86_400;
  const secondsOf = async (expression: string, table: string, condition: string, value: string) => {
    const sql = `SELECT extract(epoch FROM ${expression} - created_at)::integer AS seconds FROM ${table} WHERE ${condition} = $1`;
    return (await bench.sql<{ seconds: number }>(sql, [value])).map(({ seconds }) => seconds);
  };

  it("a session, is valid for 30 days from its last use, and for 180 days from its beginning", async () => {
    const { tokens, sessionId } = await user();
    const life = () => secondsOf("expires_at", "sessions", "id", sessionId);
    expect(await life()).toEqual([30 * DAY_SECONDS]);
    await bench.sql("UPDATE sessions SET created_at = now() - interval '170 days' WHERE id = $1", [
      sessionId,
    ]);
    await bench.ask("identity.refresh", { refreshToken: tokens.refreshToken });
    expect(await life()).toEqual([180 * DAY_SECONDS]);
  });

  it("an invitation, is valid for 7 days, also when it is sent again", async () => {
    const { invitationId } = await bench.ask(
      "identity.invite",
      { email: newAddress(), ...deliverer },
      operator.meta,
    );
    const life = () => secondsOf("expires_at", "invitations", "id", invitationId);
    expect(await life()).toEqual([7 * DAY_SECONDS]);
    await bench.sql("UPDATE invitations SET expires_at = now() WHERE id = $1", [invitationId]);
    await bench.ask("identity.resendInvitation", { invitationId }, operator.meta);
    expect(
      await secondsOf("(created_at + (expires_at - updated_at))", "invitations", "id", invitationId),
    ).toEqual([7 * DAY_SECONDS]);
  });

  it("a code, is valid for 15 minutes; a registration waits for a day, an undone change for 7 days", async () => {
    const { userId, email, meta } = await user();
    const codeLife = (about: string) => secondsOf("valid_until", "verification_codes", "address", about);
    const { minutes } = await bench.mailed(email, "reset-password", () =>
      bench.ask("identity.forgotPassword", { email }),
    );
    expect({ minutes, life: await codeLife(digest(email)) }).toEqual({ minutes: "15", life: [900] });
    const registered = await bench.registered();
    expect(await codeLife(digest(registered.email))).toEqual([900]);
    const retention = secondsOf("expires_at", "verification_codes", "address", digest(registered.email));
    expect(await retention).toEqual([DAY_SECONDS]);
    await bench.sql("UPDATE profiles SET pending_email = $2 WHERE id = $1", [userId, newAddress()]);
    const { code } = await issueCode({ digest }, db, emailChangeCode(userId));
    await bench.ask("identity.confirmEmail", { code }, meta);
    expect(await secondsOf("expires_at", "email_undos", "user_id", userId)).toEqual([7 * DAY_SECONDS]);
  });

  it("the lock of an address, ends after 30 seconds by itself", async () => {
    const email = newAddress();
    let life: number[] = [];
    const deps = { postgres: { db }, requestTimeoutMs: 10_000, digest } as unknown as IdentityDependencies;
    await withAddressLock(deps, email, async () => {
      life = await secondsOf("renewed_at", "allowances", "subject", digest(email));
    });
    expect(life).toEqual([30]);
  });
});

describe("identity.confirmEmail", () => {
  it("with a code whose change was ended meanwhile, is refused like a wrong code", async () => {
    const { userId, meta } = await user();
    const { code } = await issueCode({ digest }, db, emailChangeCode(userId));
    await expect(bench.ask("identity.confirmEmail", { code }, meta)).rejects.toMatchObject({
      type: "CODE_INVALID",
    });
  });
});

describe("identity.deleteAccount", () => {
  it("of an account that another request deleted meanwhile, succeeds", async () => {
    const { userId, email, meta } = await user();
    const deps = { postgres: { db }, requestTimeoutMs: 60_000, digest } as unknown as IdentityDependencies;
    const deleting = await withAddressLock(deps, email, async () => {
      const outcome = bench.ask("identity.deleteAccount", { password: PASSWORD }, meta);
      await eventually(async () => {
        const [lock] = await bench.sql("SELECT used FROM allowances WHERE scope = $1 AND subject = $2", [
          ADDRESS_LOCK_SCOPE,
          digest(email),
        ]);
        expect(lock?.used).toBeGreaterThan(1);
      });
      await bench.sql("DELETE FROM profiles WHERE id = $1", [userId]);
      return { outcome };
    });
    await expect(deleting.outcome).resolves.toEqual({});
  });
});

describe("identity.acceptInvitation", () => {
  it("by a suspended customer, is refused", async () => {
    const { userId, email } = await user();
    await bench.sql("UPDATE profiles SET suspended_at = now(), suspension_reason = 'x' WHERE id = $1", [
      userId,
    ]);
    const { token } = await invitation(email, deliverer);
    await expect(bench.ask("identity.acceptInvitation", { ...person, token })).rejects.toMatchObject({
      type: "ACCOUNT_SUSPENDED",
    });
  });
});

describe("the link that undoes a change of the e-mail address", () => {
  it("of a user who does not exist any more, is refused like a used one", async () => {
    const token = newId();
    const undo = { userId: newId(), formerEmail: newAddress(), lifeSeconds: 1_000 };
    await insertUndo(db, { ...undo, tokenHash: hashOf(token) });
    await expect(bench.ask("identity.undoEmailChange", { token })).rejects.toMatchObject({
      type: "CODE_INVALID",
    });
  });
});

describe("the built-in provider, whose database refuses a new address", () => {
  const refusing = (error: Error) =>
    builtInProvider({
      sql: { rows: () => Promise.reject(error), transact: () => Promise.reject(error) },
      encryptionKeys: { secret: SEAL_SECRET },
      issuer: "http://127.0.0.1",
      audience: "tests",
    }).changeEmail(newId(), newAddress());

  it("since another account got it at the same moment, says that it is taken", async () => {
    const violation = Object.assign(new Error("duplicate key"), { code: "23505" });
    await expect(refusing(violation)).rejects.toMatchObject({ kind: "email_taken" });
  });

  it("for any other reason, throws that", async () => {
    const failure = Object.assign(new Error("out of disk"), { code: "53100" });
    await expect(refusing(failure)).rejects.toBe(failure);
  });
});

describe("a request beside another one that changes the same user just before", () => {
  const set = (changes: string, userId: string) => () =>
    bench.sql(`UPDATE profiles SET ${changes} WHERE id = $1`, [userId]);
  const gone = (userId: string) => () => bench.sql("DELETE FROM profiles WHERE id = $1", [userId]);
  const refusal = (type: string) => expect.objectContaining({ type });
  const actionsOf = async (subject: string) =>
    (
      await bench.sql<{ action: string }>("SELECT action FROM audit_entries WHERE subject = $1", [subject])
    ).map(({ action }) => action);

  it("confirmEmail, whose change was ended, is refused like a wrong code", async () => {
    const { userId, meta } = await user();
    await set(`pending_email = '${newAddress()}'`, userId)();
    const { code } = await issueCode({ digest }, db, emailChangeCode(userId));
    const confirming = withChangeBefore(
      /SET email = pending_email/,
      set("pending_email = NULL", userId),
      () => bench.ask("identity.confirmEmail", { code }, meta),
    );
    await expect(confirming).rejects.toEqual(refusal("CODE_INVALID"));
  });

  it("undoEmailChange, of a user who was deleted, is refused like a used link", async () => {
    const { userId } = await user();
    const token = newId();
    const undo = { userId, formerEmail: newAddress(), lifeSeconds: 1_000 };
    await insertUndo(db, { ...undo, tokenHash: hashOf(token) });
    const undoing = withChangeBefore(/^UPDATE profiles SET email =/, gone(userId), () =>
      bench.ask("identity.undoEmailChange", { token }),
    );
    await expect(undoing).rejects.toEqual(refusal("CODE_INVALID"));
  });

  it("acceptInvitation, of a user who got another role, is refused as taken", async () => {
    const { userId, email } = await user();
    const { token } = await invitation(email, deliverer);
    const accepting = withChangeBefore(/^UPDATE profiles SET role/, set("role = 'admin'", userId), () =>
      bench.ask("identity.acceptInvitation", { ...person, token }),
    );
    await expect(accepting).rejects.toEqual(refusal("EMAIL_TAKEN"));
  });

  it("acceptInvitation, which another one accepted, is refused", async () => {
    const { id, token } = await invitation(newAddress(), deliverer);
    const taken = () => bench.sql("UPDATE invitations SET accepted_by = id WHERE id = $1", [id]);
    const accepting = withChangeBefore(/^UPDATE invitations SET accepted_by/, taken, () =>
      bench.ask("identity.acceptInvitation", { ...person, token }),
    );
    await expect(accepting).rejects.toEqual(refusal("INVITATION_INVALID"));
  });

  it("setRole, of a user who got another role, is refused and records nothing", async () => {
    const { userId } = await user();
    const setting = withChangeBefore(/^UPDATE profiles SET role/, set("role = 'admin'", userId), () =>
      bench.ask("identity.setRole", { userId, ...deliverer }, operator.meta),
    );
    await expect(setting).rejects.toEqual(refusal("NOT_FOUND"));
    expect(await actionsOf(userId)).toEqual([]);
  });

  it("suspendUser and restoreUser, which another operator did, answer the state and record nothing", async () => {
    const { userId } = await user();
    const suspended = set("suspended_at = now(), suspension_reason = 'first'", userId);
    const suspending = withChangeBefore(/^UPDATE profiles SET suspended_at = now/, suspended, () =>
      bench.ask("identity.suspendUser", { userId, reason: "second" }, operator.meta),
    );
    await expect(suspending).resolves.toMatchObject({ state: "suspended", suspensionReason: "first" });
    const restored = set("suspended_at = NULL, suspension_reason = NULL", userId);
    const restoring = withChangeBefore(/^UPDATE profiles SET suspended_at = NULL/, restored, () =>
      bench.ask("identity.restoreUser", { userId }, operator.meta),
    );
    await expect(restoring).resolves.toMatchObject({ state: "active" });
    expect(await actionsOf(userId)).toEqual([]);
  });

  it("suspendUser and restoreUser, of a user who was deleted, answer the last state", async () => {
    const suspended = await user();
    const suspending = withChangeBefore(
      /^UPDATE profiles SET suspended_at = now/,
      gone(suspended.userId),
      () => bench.ask("identity.suspendUser", { userId: suspended.userId, reason: "x" }, operator.meta),
    );
    await expect(suspending).resolves.toMatchObject({ id: suspended.userId, state: "active" });
    const restored = await user();
    const restoring = withChangeBefore(
      /^UPDATE profiles SET suspended_at = NULL/,
      gone(restored.userId),
      () => bench.ask("identity.restoreUser", { userId: restored.userId }, operator.meta),
    );
    await expect(restoring).resolves.toMatchObject({ id: restored.userId, state: "active" });
  });

  it("updateProfile and setAvatar, of a user who was deleted, are refused as not found", async () => {
    const one = await user();
    const updating = withChangeBefore(/^UPDATE profiles SET first_name/, gone(one.userId), () =>
      bench.ask("identity.updateProfile", { firstName: "Ida" }, one.meta),
    );
    await expect(updating).rejects.toEqual(refusal("NOT_FOUND"));
    const setting = bench.ask("identity.setAvatar", { present: true }, one.meta);
    await expect(setting).rejects.toEqual(refusal("NOT_FOUND"));
  });

  it("signIn, with a password that was changed, is refused as wrong", async () => {
    const { userId, email } = await user();
    const changed = () => bench.sql("UPDATE accounts SET password_hash = 'other' WHERE id = $1", [userId]);
    const signing = withChangeBefore(/^WITH account AS/, changed, () => bench.signIn(email));
    await expect(signing).rejects.toEqual(refusal("INVALID_CREDENTIALS"));
  });

  it("signIn, of a user whose role changed at the provider and then here, succeeds and records nothing", async () => {
    const { userId, email } = await user();
    await bench.sql("UPDATE accounts SET role = 'deliverer' WHERE id = $1", [userId]);
    await withChangeBefore(/^UPDATE profiles SET role/, set("role = 'admin'", userId), () =>
      bench.signIn(email),
    );
    expect(await actionsOf(userId)).toEqual([]);
  });

  it("signIn, of an account that is known at the provider only, finds the profile that another one made", async () => {
    const insert = (id: string, email: string) => () =>
      bench.sql(
        `INSERT INTO profiles (id, email, email_confirmed, first_name, last_name, language, role)
         VALUES ($1, $2, true, 'A', 'B', 'en', 'customer')`,
        [id, email],
      );
    const [one, other] = [await user(), await user()];
    for (const { userId } of [one, other]) await gone(userId)();
    const made = insert(one.userId, one.email);
    await withChangeBefore(/^UPDATE profiles SET email_confirmed/, made, () => bench.signIn(one.email));
    const taken = insert(newId(), other.email);
    const signing = withChangeBefore(/^UPDATE profiles SET email_confirmed/, taken, () =>
      bench.signIn(other.email),
    );
    await expect(signing).rejects.toEqual(refusal("EMAIL_TAKEN"));
  });

  it("signIn, of an account that is being erased, is refused as unknown", async () => {
    const { userId, email } = await user();
    await gone(userId)();
    await bench.sql("INSERT INTO erasures (user_id, address) VALUES ($1, $2)", [userId, digest(email)]);
    await expect(bench.signIn(email)).rejects.toEqual(refusal("INVALID_CREDENTIALS"));
  });

  it("confirm, of an address that another one confirmed, is refused like a wrong code", async () => {
    const { email, userId, code } = await bench.registered();
    const confirming = withChangeBefore(
      /^UPDATE profiles SET email_confirmed/,
      set("email_confirmed = true", userId),
      () => bench.ask("identity.confirm", { email, code }),
    );
    await expect(confirming).rejects.toEqual(refusal("CODE_INVALID"));
  });

  it("resetPassword, of an address without a confirmed account, is refused like a wrong code", async () => {
    const { email, userId } = await user();
    for (const change of [set("email_confirmed = false", userId), gone(userId)]) {
      await change();
      const code = await codeFor("reset-password", email);
      const resetting = bench.ask("identity.resetPassword", { email, code, password: NEW_PASSWORD });
      await expect(resetting).rejects.toEqual(refusal("CODE_INVALID"));
    }
  });
});

describe("an account of the built-in provider", () => {
  it("that is removed while its address is registered, is made again", async () => {
    const answers = [[], [], [{ id: "made" }]];
    const sql = {
      rows: async () => answers.shift() as never,
      transact: () => Promise.reject(new Error("not here")),
    };
    const account = {
      id: newId(),
      email: newAddress(),
      passwordHash: "h",
      confirmed: false,
      role: "customer",
    } as const;
    expect(await saveAccount(sql, account)).toEqual({ userId: "made", taken: false });
  });
});

describe("the messages of operators' acts", () => {
  it("identity.createAdmin, tells the other services of the admin", async () => {
    const { userId, email } = await bench.admin();
    expect(await bench.said("user.registered", (one) => one.userId === userId)).toMatchObject({
      ...{ email, role: "admin" },
    });
  });

  it("an act at another service, is recorded once under the id and the time of its message", async () => {
    const [id, subject, actorId, time] = [newId(), newId(), newId(), "2026-01-02T03:04:05.000Z"];
    const data = { version: 1, actorId, action: "order.refunded", subject, detail: "5 EUR" };
    const act = { id, time, data } as unknown as Message<"audit.recorded">;
    for (const _ of [1, 2]) await db.transaction((trx) => recordAudit(trx, act));
    expect(await auditOf(db, actorId, 10)).toEqual([
      { id, at: time, actorId, action: "order.refunded", subject, detail: "5 EUR" },
    ]);
  });
});
