import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { decodeJwt } from "jose";
import { newId } from "../../lib/ids.ts";
import { IdentityError } from "../../providers/identity/index.ts";
import { eventually } from "../support/eventually.ts";
import { type IdentityBench, newAddress, PASSWORD, startIdentity } from "../support/identity.ts";

const NEW_PASSWORD = "Nebelhorn-und-Kaese";
const WRONG = "wrong-Passw-0rt";

let bench: IdentityBench;
let trouble: "unavailable" | "overloaded" | undefined;
let cannotEndSessions = false;
let passwordChecks = 0;
beforeAll(async () => {
  bench = await startIdentity({
    around: (provider) => ({
      ...provider,
      async signIn(email, password, client) {
        passwordChecks++;
        if (trouble) throw new IdentityError(trouble);
        return provider.signIn(email, password, client);
      },
      async endSessions(userId, except) {
        if (cannotEndSessions) throw new IdentityError("unavailable");
        return provider.endSessions(userId, except);
      },
      async remove(userId) {
        if (trouble) throw new IdentityError(trouble);
        return provider.remove(userId);
      },
    }),
  });
});
afterAll(() => bench.stop());

const ended = expect.objectContaining({ type: "SESSION_REVOKED", code: 401 });
const profileWith = (token: string) => bench.ask("identity.profile", {}, { token });
const eventuallyEnded = (token: string) =>
  eventually(() => expect(profileWith(token)).rejects.toEqual(ended));

describe("identity.signIn", () => {
  it("returns tokens by which every node identifies the caller", async () => {
    const { tokens, userId } = await bench.customer();
    expect(tokens).toEqual({
      accessToken: expect.any(String),
      tokenType: "Bearer",
      expiresInSeconds: 600,
      refreshToken: expect.any(String),
    });
    await expect(profileWith(tokens.accessToken)).resolves.toMatchObject({ id: userId });
  });

  it("for a wrong password and for an unknown address, returns the same, and checks a password each time", async () => {
    const { email } = await bench.customer();
    const before = passwordChecks;
    const outcomes = await Promise.allSettled([
      bench.signIn(email, WRONG),
      bench.signIn(`nobody-${newId()}@example.org`, WRONG),
    ]);
    const answers = outcomes.map((outcome) => {
      const { type, code, message, data } = (outcome as PromiseRejectedResult).reason;
      return { type, code, message, data };
    });
    expect(answers[0]).toMatchObject({ type: "INVALID_CREDENTIALS", code: 401 });
    expect(answers[1]).toEqual(answers[0]);
    expect(passwordChecks - before).toBe(2);
  });

  it("accepts the address in any case", async () => {
    const { email } = await bench.customer();
    await expect(bench.signIn(email.toUpperCase())).resolves.toBeDefined();
  });

  it("after ten wrong passwords, refuses the right one too, with the time to wait; a new password ends that", async () => {
    const { email } = await bench.customer();
    const outcomes = await Promise.allSettled(Array.from({ length: 14 }, () => bench.signIn(email, WRONG)));
    const types = outcomes.map((outcome) => (outcome as PromiseRejectedResult).reason.type);
    expect(types.filter((type) => type === "INVALID_CREDENTIALS")).toHaveLength(10);
    expect(types.filter((type) => type === "TOO_MANY_REQUESTS")).toHaveLength(4);
    const locked = await bench.signIn(email).catch((error) => error);
    expect(locked).toMatchObject({ type: "TOO_MANY_REQUESTS", code: 429 });
    expect(locked.data.retryAfterSeconds).toBeGreaterThan(800);
    expect(locked.data.retryAfterSeconds).toBeLessThanOrEqual(900);

    const { code = "" } = await bench.mailed(email, "reset-password", () =>
      bench.ask("identity.forgotPassword", { email }),
    );
    await bench.ask("identity.resetPassword", { email, code, password: NEW_PASSWORD });
    await expect(bench.signIn(email, NEW_PASSWORD)).resolves.toBeDefined();
  });

  it("counts unknown addresses in the same way, and a right password resets the count", async () => {
    const nobody = `nobody-${newId()}@example.org`;
    for (let count = 0; count < 10; count++) await bench.signIn(nobody, WRONG).catch(() => undefined);
    await expect(bench.signIn(nobody, WRONG)).rejects.toMatchObject({ type: "TOO_MANY_REQUESTS" });

    const { email } = await bench.customer();
    for (let round = 0; round < 2; round++) {
      for (let count = 0; count < 9; count++) await bench.signIn(email, WRONG).catch(() => undefined);
      await expect(bench.signIn(email)).resolves.toBeDefined();
    }
  });

  it("after a hundred wrong passwords from one client, refuses that client for any address, and only that one", async () => {
    const { email } = await bench.customer();
    const meta = { clientIp: "203.0.113.9" };
    for (let count = 0; count < 100; count++) {
      await bench.signIn(`nobody-${count}-${newId()}@example.org`, WRONG, meta).catch(() => undefined);
    }
    await expect(bench.signIn(email, PASSWORD, meta)).rejects.toMatchObject({ type: "TOO_MANY_REQUESTS" });
    await expect(bench.signIn(email, PASSWORD, { clientIp: "203.0.113.10" })).resolves.toBeDefined();
  });

  it("without the provider, answers that, and does not count a wrong password", async () => {
    const { email } = await bench.customer();
    for (let count = 0; count < 9; count++) await bench.signIn(email, WRONG).catch(() => undefined);
    trouble = "unavailable";
    for (let count = 0; count < 3; count++) {
      await expect(bench.signIn(email)).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE", code: 503 });
    }
    trouble = "overloaded";
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "OVERLOADED", code: 503 });
    trouble = undefined;
    await expect(bench.signIn(email)).resolves.toBeDefined();
  });
});

describe("identity.refresh", () => {
  it("returns new tokens of the same session", async () => {
    const { tokens, meta } = await bench.customer();
    const next = await bench.ask("identity.refresh", { refreshToken: tokens.refreshToken });
    await expect(profileWith(next.accessToken)).resolves.toBeDefined();
    const { items } = await bench.ask("identity.sessions", {}, meta);
    expect(items).toHaveLength(1);
  });

  it("of a used token after the grace period, ends the session everywhere at once and records it", async () => {
    const { tokens, userId } = await bench.customer();
    const stolen = await bench.ask("identity.refresh", { refreshToken: tokens.refreshToken });
    await profileWith(stolen.accessToken);
    await bench.sql(
      "UPDATE sessions SET rotated_at = rotated_at - interval '11 seconds' WHERE account_id = $1",
      [userId],
    );
    const again = bench.ask("identity.refresh", { refreshToken: tokens.refreshToken });
    await expect(again).rejects.toEqual(ended);
    await eventuallyEnded(stolen.accessToken);
    await expect(bench.ask("identity.refresh", { refreshToken: stolen.refreshToken })).rejects.toEqual(ended);
    await expect(bench.sql("SELECT action FROM audit_entries WHERE subject = $1", [userId])).resolves.toEqual(
      [{ action: "session.reuse-detected" }],
    );
  });

  it("of an invalid token, is refused", async () => {
    await expect(bench.ask("identity.refresh", { refreshToken: "rubbish" })).rejects.toMatchObject({
      type: "UNAUTHENTICATED",
    });
  });
});

describe("sessions", () => {
  it("identity.sessions lists the caller's own, with their clients, and marks the present one", async () => {
    const { email, meta } = await bench.customer();
    await bench.ask(
      "identity.signIn",
      { email, password: PASSWORD, userAgent: "Phone 3" },
      { clientIp: "192.0.2.3" },
    );
    const { items } = await bench.ask("identity.sessions", {}, meta);
    expect(items).toHaveLength(2);
    expect(items).toContainEqual(expect.objectContaining({ current: true }));
    expect(items).toContainEqual(
      expect.objectContaining({ current: false, userAgent: "Phone 3", ip: "192.0.2.3" }),
    );
  });

  it("identity.signOut ends the present session", async () => {
    const { tokens, meta, userId } = await bench.customer();
    await bench.ask("identity.signOut", {}, meta);
    await eventuallyEnded(tokens.accessToken);
    await expect(bench.ask("identity.refresh", { refreshToken: tokens.refreshToken })).rejects.toEqual(ended);
    expect(await bench.said("user.signed_out", (user) => user.userId === userId)).toMatchObject({
      version: 1,
    });
    await expect(
      bench.sql("SELECT action, actor_id, ip FROM audit_entries WHERE subject = $1", [userId]),
    ).resolves.toEqual([{ action: "session.ended", actor_id: userId, ip: null }]);
  });

  it("identity.signOut, of another of the caller's sessions, keeps this one; of another user's, is NOT_FOUND", async () => {
    const { email, meta } = await bench.customer();
    const phone = await bench.signIn(email);
    const { items } = await bench.ask("identity.sessions", {}, meta);
    const sessionId = items.find(({ current }) => !current)?.id as string;

    const stranger = await bench.customer();
    for (const other of [sessionId, newId()]) {
      await expect(bench.ask("identity.signOut", { sessionId: other }, stranger.meta)).rejects.toMatchObject({
        type: "NOT_FOUND",
        code: 404,
      });
    }
    await expect(profileWith(phone.accessToken)).resolves.toBeDefined();
    await bench.ask("identity.signOut", { sessionId }, meta);
    await bench.ask("identity.signOut", { sessionId }, meta);
    await eventuallyEnded(phone.accessToken);
    await expect(bench.ask("identity.profile", {}, meta)).resolves.toBeDefined();
  });

  it("identity.signOutEverywhere ends all sessions of the caller only", async () => {
    const [one, other] = [await bench.customer(), await bench.customer()];
    const phone = await bench.signIn(one.email);
    await bench.ask("identity.signOutEverywhere", {}, one.meta);
    await eventuallyEnded(one.tokens.accessToken);
    await eventuallyEnded(phone.accessToken);
    await expect(bench.ask("identity.profile", {}, other.meta)).resolves.toBeDefined();
  });
});

describe("passwords", () => {
  it("identity.changePassword requires the present one, ends the other sessions and mails the owner", async () => {
    const { email, meta, tokens } = await bench.customer();
    const phone = await bench.signIn(email);
    const change = (currentPassword: string, newPassword: string) =>
      bench.ask("identity.changePassword", { currentPassword, newPassword }, meta);
    await expect(change(WRONG, NEW_PASSWORD)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    await expect(change(PASSWORD, "password1")).rejects.toMatchObject({ type: "PASSWORD_TOO_COMMON" });
    await expect(change(PASSWORD, "short")).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    await bench.mailed(email, "password-changed", () => change(PASSWORD, NEW_PASSWORD));
    await eventuallyEnded(phone.accessToken);
    await expect(profileWith(tokens.accessToken)).resolves.toBeDefined();
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    await expect(bench.signIn(email, NEW_PASSWORD)).resolves.toBeDefined();
  });

  it("identity.changePassword, guessed with a stolen token, is limited like a sign-in", async () => {
    const { email, meta } = await bench.customer();
    const guess = () =>
      bench.ask("identity.changePassword", { currentPassword: WRONG, newPassword: NEW_PASSWORD }, meta);
    for (let count = 0; count < 10; count++) {
      await expect(guess()).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    }
    await expect(guess()).rejects.toMatchObject({ type: "TOO_MANY_REQUESTS" });
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "TOO_MANY_REQUESTS" });
  });

  it("identity.resetPassword, with the code, ends every session; the code works once", async () => {
    const { email, tokens } = await bench.customer();
    const { code = "" } = await bench.mailed(email, "reset-password", () =>
      bench.ask("identity.forgotPassword", { email }),
    );
    const reset = (password: string) => bench.ask("identity.resetPassword", { email, code, password });
    await expect(reset("password1")).rejects.toMatchObject({ type: "PASSWORD_TOO_COMMON" });
    const outcomes = await Promise.allSettled([reset(NEW_PASSWORD), reset(`${NEW_PASSWORD}-2`)]);
    const done = outcomes.filter(({ status }) => status === "fulfilled");
    const refused = outcomes.filter(({ status }) => status === "rejected");
    expect(done).toHaveLength(1);
    expect(refused).toEqual([
      expect.objectContaining({ reason: expect.objectContaining({ type: "CODE_INVALID" }) }),
    ]);
    await eventuallyEnded(tokens.accessToken);
    await expect(bench.ask("identity.refresh", { refreshToken: tokens.refreshToken })).rejects.toEqual(ended);
    const chosen = outcomes[0].status === "fulfilled" ? NEW_PASSWORD : `${NEW_PASSWORD}-2`;
    await expect(bench.signIn(email, chosen)).resolves.toBeDefined();
  });

  it("identity.resetPassword refuses the code of another purpose", async () => {
    const { email, code } = await bench.registered();
    const reset = { email, code, password: NEW_PASSWORD };
    await expect(bench.ask("identity.resetPassword", reset)).rejects.toMatchObject({ type: "CODE_INVALID" });
  });
});

describe("the end of a session, for the other services", () => {
  const idOf = (token: string) => decodeJwt(token).sid as string;
  /** The sessions of a user whose end was published. */
  const toldOf = (userId: string) =>
    bench.seen.flatMap(({ type, data }) => {
      const { userId: whose, sessionIds = [] } = data as { userId?: string; sessionIds?: string[] };
      return type === "user.signed_out" && whose === userId ? sessionIds : [];
    });
  const toldExactly = (userId: string, ids: string[]) =>
    eventually(() => expect(toldOf(userId).toSorted()).toEqual(ids.toSorted()));
  /** Signed in here and there; what is done, is done here. */
  async function inTwoPlaces() {
    const { email, userId, tokens: here, meta } = await bench.customer();
    const there = await bench.signIn(email);
    return {
      email,
      userId,
      meta,
      here,
      ids: { here: idOf(here.accessToken), there: idOf(there.accessToken) },
    };
  }
  type Place = "here" | "there";
  type Two = Awaited<ReturnType<typeof inTwoPlaces>>;

  it.each<[string, Place[], (two: Two) => Promise<unknown>]>([
    ["signing out", ["here"], ({ meta }) => bench.ask("identity.signOut", {}, meta)],
    [
      "ending another session",
      ["there"],
      ({ meta, ids }) => bench.ask("identity.signOut", { sessionId: ids.there }, meta),
    ],
    [
      "signing out everywhere",
      ["here", "there"],
      ({ meta }) => bench.ask("identity.signOutEverywhere", {}, meta),
    ],
    [
      "a change of the password",
      ["there"],
      ({ meta }) =>
        bench.ask("identity.changePassword", { currentPassword: PASSWORD, newPassword: NEW_PASSWORD }, meta),
    ],
    [
      "a reset of the password",
      ["here", "there"],
      async ({ email }) => {
        const { code = "" } = await bench.mailed(email, "reset-password", () =>
          bench.ask("identity.forgotPassword", { email }),
        );
        await bench.ask("identity.resetPassword", { email, code, password: NEW_PASSWORD });
      },
    ],
    [
      "a refresh token that is used again",
      ["here"],
      async ({ here: { refreshToken }, ids }) => {
        await bench.ask("identity.refresh", { refreshToken });
        await bench.sql("UPDATE sessions SET rotated_at = rotated_at - interval '11 seconds' WHERE id = $1", [
          ids.here,
        ]);
        await expect(bench.ask("identity.refresh", { refreshToken })).rejects.toEqual(ended);
      },
    ],
    [
      "the end of its time",
      ["here", "there"],
      async ({ userId }) => {
        await bench.sql("UPDATE sessions SET expires_at = now() - interval '1 s' WHERE account_id = $1", [
          userId,
        ]);
        await bench.sweep(async () => expect(toldOf(userId)).toHaveLength(2));
      },
    ],
    [
      "the sign-in that makes a session too many",
      ["here"],
      async ({ email, userId, ids }) => {
        await bench.sql(
          `INSERT INTO sessions (id, account_id, salt, expires_at, rotated_at)
           SELECT gen_random_uuid(), $1, 'salt-of-sixteen-c', now() + interval '1 day', now() FROM generate_series(1, 48)`,
          [userId],
        );
        await bench.sql("UPDATE sessions SET rotated_at = now() - interval '1 day' WHERE id = $1", [
          ids.here,
        ]);
        await bench.signIn(email);
        await bench.sweep(async () => expect(toldOf(userId)).toHaveLength(1));
      },
    ],
  ])("after %s, names those that are over and no other", async (_name, over, act) => {
    const two = await inTwoPlaces();
    await act(two);
    await toldExactly(
      two.userId,
      over.map((place) => two.ids[place]),
    );
  });

  it("after a crash behind the provider's part, is published by the sweep, once", async () => {
    const { userId, meta, ids } = await inTwoPlaces();
    await bench.sql(`CREATE FUNCTION no_word() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE 'the connection was lost' USING ERRCODE = '08006'; END $$`);
    await bench.sql(`CREATE TRIGGER no_word BEFORE INSERT ON outbox FOR EACH ROW
      WHEN (new.type = 'user.signed_out') EXECUTE FUNCTION no_word()`);
    await bench.ask("identity.signOut", {}, meta);
    expect(toldOf(userId)).toEqual([]);
    await bench.sql("DROP FUNCTION no_word CASCADE");
    await bench.sweep(async () => expect(toldOf(userId)).toEqual([ids.here]));
  });

  it("withdraws open invitations that it sent, unless the user signed out", async () => {
    const accept = (token: string) =>
      bench.ask("identity.acceptInvitation", { token, password: PASSWORD, firstName: "Jo", lastName: "Wu" });
    const invite = async (meta: { token: string }) => {
      const email = newAddress();
      const { token = "" } = await bench.mailed(email, "invitation", () =>
        bench.ask("identity.invite", { email, role: "deliverer" }, meta),
      );
      return token;
    };
    const { email, meta: here } = await bench.admin();
    const [there, elsewhere] = [
      { token: (await bench.signIn(email)).accessToken },
      { token: (await bench.signIn(email)).accessToken },
    ];
    const [own, thieves, gone] = [await invite(here), await invite(there), await invite(elsewhere)];
    await bench.ask("identity.signOut", {}, elsewhere);
    await expect(accept(gone)).resolves.toBeDefined();
    await bench.ask(
      "identity.changePassword",
      { currentPassword: PASSWORD, newPassword: NEW_PASSWORD },
      here,
    );
    await expect(accept(thieves)).rejects.toMatchObject({ type: "INVITATION_INVALID" });
    const late = await invite(here);
    await expect(accept(own)).resolves.toBeDefined();
    await bench.ask("identity.signOutEverywhere", {}, here);
    await expect(accept(late)).rejects.toMatchObject({ type: "INVITATION_INVALID" });
  });

  it("the push token of a registration belongs to the first session, one of the profile to the session that sets it", async () => {
    const pushToken = { provider: "sandbox", token: `phone-${newId()}`, deviceName: "Phone" } as const;
    const { userId, tokens, email } = await bench.customer({ pushToken });
    const first = { userId, sessionId: idOf(tokens.accessToken), ...pushToken };
    await expect(bench.said("user.device_added", (one) => one.userId === userId)).resolves.toMatchObject(
      first,
    );
    const second = await bench.signIn(email);
    const other = { ...pushToken, token: `phone-${newId()}` };
    await bench.ask("identity.updateProfile", { pushToken: other }, { token: second.accessToken });
    await expect(
      bench.said("user.device_added", (one) => one.userId === userId && one.token === other.token),
    ).resolves.toMatchObject({ sessionId: idOf(second.accessToken) });
    const told = bench.seen.filter(({ type, subject }) => type === "user.device_added" && subject === userId);
    expect(told).toHaveLength(2);
  });
});

describe("identity.deleteAccount", () => {
  it("while its sessions cannot be ended, is refused and erases nothing", async () => {
    const { userId, meta } = await bench.customer();
    cannotEndSessions = true;
    const refused = bench.ask("identity.deleteAccount", { password: PASSWORD }, meta);
    await expect(refused).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    cannotEndSessions = false;
    await expect(profileWith(meta.token)).resolves.toMatchObject({ id: userId });
  });

  it("with the provider unavailable in between, is completed by the sweep", async () => {
    const { email, userId, meta } = await bench.customer();
    trouble = "unavailable";
    await bench.ask("identity.deleteAccount", { password: PASSWORD }, meta);
    trouble = undefined;
    expect(await bench.sql("SELECT user_id FROM erasures")).toEqual([{ user_id: userId }]);
    expect(await bench.sql("SELECT id FROM profiles WHERE id = $1", [userId])).toEqual([]);
    await bench.sweep(async () => {
      expect(await bench.sql("SELECT user_id FROM erasures")).toEqual([]);
    });
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
  });
});

describe("the sweep", () => {
  it("deletes accounts that were unconfirmed for a week, with old codes and limits", async () => {
    const { email, userId } = await bench.registered();
    const fresh = await bench.registered();
    await bench.sql("UPDATE profiles SET updated_at = now() - interval '8 days' WHERE id = $1", [userId]);
    await bench.sql("UPDATE verification_codes SET expires_at = now() - interval '1 minute'");
    await bench.sql("UPDATE allowances SET renewed_at = now() - interval '1 minute'");
    await bench.sweep(async () => {
      expect(await bench.sql("SELECT id FROM accounts WHERE email = $1", [email])).toEqual([]);
      expect(await bench.sql("SELECT 1 FROM verification_codes")).toEqual([]);
      expect(await bench.sql("SELECT 1 FROM allowances")).toEqual([]);
    });
    await bench.said("user.deleted", (user) => user.userId === userId);
    expect(await bench.sql("SELECT id FROM profiles WHERE id = $1", [fresh.userId])).toHaveLength(1);
  });
});
