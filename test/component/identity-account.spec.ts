import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Params } from "../../contracts/actions.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type IdentityBench, PASSWORD, startIdentity } from "../support/identity.ts";

let bench: IdentityBench;
beforeAll(async () => {
  bench = await startIdentity();
});
afterAll(() => bench.stop());

const address = () => `user-${newId()}@example.org`;
const person = (email: string, more: Partial<Params<"identity.register">> = {}) => ({
  email,
  password: PASSWORD,
  firstName: "Grete",
  lastName: "Hansen",
  ...more,
});
const wrong = (code: string) => (code === "000000" ? "111111" : "000000");

describe("identity.register", () => {
  it("makes a customer who can sign in once the code came back, and only then tells the others", async () => {
    const pushToken = { provider: "sandbox", token: "phone-1", deviceName: "Phone" } as const;
    const { email, userId, code } = await bench.registered({
      language: "de",
      phone: "+41791234567",
      pushToken,
    });
    expect(code).toMatch(/^\d{6}$/);
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "EMAIL_NOT_CONFIRMED", code: 403 });
    expect(
      bench.seen.filter(({ subject, type }) => subject === userId && type === "user.registered"),
    ).toEqual([]);

    await bench.ask("identity.confirm", { email, code });
    const told = await bench.said("user.registered", (user) => user.userId === userId);
    expect(told).toEqual({
      version: 2,
      userId,
      email,
      firstName: "Grete",
      language: "de",
      role: "customer",
      pushToken,
    });
    const tokens = await bench.signIn(email);
    const profile = await bench.ask("identity.profile", {}, { token: tokens.accessToken });
    expect(profile).toMatchObject({
      id: userId,
      email,
      role: "customer",
      emailConfirmed: true,
      phone: "+41791234567",
    });
    expect(profile).not.toHaveProperty("pushToken");
    expect(await bench.sql("SELECT push_token FROM profiles WHERE id = $1", [userId])).toEqual([
      { push_token: null },
    ]);
  });

  it("with a role in the body, is refused", async () => {
    const asAdmin = { ...person(address()), role: "admin" };
    await expect(bench.ask("identity.register", asAdmin)).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
  });

  it.each([
    ["a birthday that never was", { birthDate: "2001-02-29" }, "birthDate"],
    ["a birthday to come", { birthDate: "2999-01-01" }, "birthDate"],
  ])("with %s, is refused naming the field", async (_name, more, field) => {
    await expect(bench.ask("identity.register", person(address(), more))).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: { errors: [expect.objectContaining({ field })] },
    });
  });

  it.each(["password1", "12345678", "GreteHansen1", "Hansen2024!"])(
    "with the password %s, is refused",
    async (password) => {
      const weak = person(address(), {
        password,
        lastName: password === "GreteHansen1" ? "GreteHansen" : "Hansen",
      });
      await expect(bench.ask("identity.register", weak)).rejects.toMatchObject({
        type: "PASSWORD_TOO_COMMON",
      });
    },
  );

  it("of an address that has an account, answers as ever, changes nothing and tells the owner", async () => {
    const { email, userId } = await bench.customer();
    let answer = {};
    await bench.mailed(email, "account-exists", async () => {
      answer = await bench.ask("identity.register", person(email, { password: "Nebelhorn-und-Kaese" }));
    });
    expect(answer).toEqual({ userId: expect.stringMatching(/^[0-9a-f-]{36}$/), email });
    expect(answer).not.toEqual({ userId, email });
    await expect(bench.signIn(email)).resolves.toBeDefined();
    await expect(bench.signIn(email, "Nebelhorn-und-Kaese")).rejects.toMatchObject({
      type: "INVALID_CREDENTIALS",
    });
  });

  it("of an address that nobody confirmed, counts instead of the earlier one, whose code is worth nothing", async () => {
    const email = address();
    const squatter = await bench.registered({
      email,
      firstName: "Eve",
      password: "Nebelhorn-und-Kaese",
      pushToken: { provider: "sandbox", token: "phone-of-eve" },
    });
    const owner = await bench.registered({ email });
    expect(owner.userId).toBe(squatter.userId);
    if (squatter.code !== owner.code) {
      await expect(bench.ask("identity.confirm", { email, code: squatter.code })).rejects.toMatchObject({
        type: "CODE_INVALID",
      });
    }
    await bench.ask("identity.confirm", { email, code: owner.code });
    await expect(bench.signIn(email, "Nebelhorn-und-Kaese")).rejects.toMatchObject({
      type: "INVALID_CREDENTIALS",
    });
    await expect(bench.signIn(email)).resolves.toBeDefined();
    const told = await bench.said("user.registered", (user) => user.userId === owner.userId);
    expect(told).toMatchObject({ firstName: "Grete" });
    expect(told).not.toHaveProperty("pushToken");
  });

  it("by ten at once for one address, makes one account", async () => {
    const email = address();
    const answers = await Promise.allSettled(
      Array.from({ length: 10 }, () => bench.ask("identity.register", person(email))),
    );
    const types = answers.map((answer) => (answer.status === "rejected" ? answer.reason.type : "done"));
    expect(types.filter((type) => type === "done")).toHaveLength(6);
    expect(types.filter((type) => type === "TOO_MANY_REQUESTS")).toHaveLength(4);
    const [count] = await bench.sql<{ accounts: number; profiles: number }>(
      `SELECT (SELECT count(*) FROM accounts WHERE email = $1) AS accounts,
              (SELECT count(*) FROM profiles WHERE email = $1) AS profiles`,
      [email],
    );
    expect(count).toEqual({ accounts: 1, profiles: 1 });
  });
});

describe("codes", () => {
  it("identity.confirm, after five wrong tries, refuses the right code too; a new one works", async () => {
    const { email, code } = await bench.registered();
    const tries = Array.from({ length: 5 }, () =>
      bench.ask("identity.confirm", { email, code: wrong(code) }),
    );
    for (const outcome of await Promise.allSettled(tries)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { type: "CODE_INVALID", code: 422 } });
    }
    await expect(bench.ask("identity.confirm", { email, code })).rejects.toMatchObject({
      type: "CODE_INVALID",
    });
    const fresh = await bench.mailed(email, "confirm-email", () =>
      bench.ask("identity.resendCode", { email }),
    );
    await expect(bench.ask("identity.confirm", { email, code: fresh.code ?? "" })).resolves.toEqual({});
  });

  it("identity.confirm, tried by ten at once, checks no more than five guesses", async () => {
    const { email, code } = await bench.registered();
    const guesses = Array.from({ length: 11 }, (_, index) => String(index).padStart(6, "0"));
    const outcomes = await Promise.allSettled(
      guesses
        .filter((guess) => guess !== code)
        .slice(0, 10)
        .map((guess) => bench.ask("identity.confirm", { email, code: guess })),
    );
    const types = outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason.type);
    expect(new Set(types)).toEqual(new Set(["CODE_INVALID"]));
    const tried = await bench.sql<{ tries: number }>(
      `SELECT c.tries FROM verification_codes c
       WHERE c.purpose = 'confirm-email' ORDER BY c.updated_at DESC LIMIT 1`,
    );
    expect(tried).toEqual([{ tries: 5 }]);
  });

  it("wrong codes for one address are limited, however many codes are asked for", async () => {
    const { email, code } = await bench.registered();
    for (let count = 0; count < 25; count++) {
      await bench.ask("identity.confirm", { email, code: wrong(code) }).catch(() => undefined);
    }
    await expect(bench.ask("identity.confirm", { email, code })).rejects.toMatchObject({
      type: "TOO_MANY_REQUESTS",
      data: { retryAfterSeconds: expect.any(Number) },
    });
  });

  it("an expired code is refused, and a used one is", async () => {
    const first = await bench.registered();
    await bench.sql("UPDATE verification_codes SET expires_at = now() - interval '1 second'");
    await expect(bench.ask("identity.confirm", first)).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    const { email, code } = first;
    await expect(bench.ask("identity.confirm", { email, code })).rejects.toMatchObject({
      type: "CODE_INVALID",
    });
    const second = await bench.registered();
    await bench.ask("identity.confirm", { email: second.email, code: second.code });
    await expect(
      bench.ask("identity.confirm", { email: second.email, code: second.code }),
    ).rejects.toMatchObject({ type: "CODE_INVALID" });
  });

  it("no code and no address stand readable beside the profile", async () => {
    const { email, code } = await bench.registered();
    const stored = JSON.stringify([
      await bench.sql("SELECT * FROM verification_codes"),
      await bench.sql("SELECT * FROM allowances"),
    ]);
    expect(stored).not.toContain(email);
    expect(stored).not.toContain(`"${code}"`);
  });

  it("no code and no token of an invitation stand readable in the message that asks for the mail", async () => {
    const registered = await bench.registered();
    const invited = await bench.invited("deliverer");
    for (const { email, secret } of [
      { ...registered, secret: registered.code },
      { ...invited, secret: invited.token },
    ]) {
      const rows = await bench.sql("SELECT * FROM outbox WHERE data ->> 'email' = $1", [email]);
      expect(JSON.stringify(rows)).toContain('"sealed":"s1.');
      expect(secret.length).toBeGreaterThan(5);
      expect(JSON.stringify(rows)).not.toContain(secret);
    }
  });

  it("resendCode and forgotPassword, for an address that nobody has, do the same work and send nothing", async () => {
    const email = address();
    const before = bench.seen.length;
    await expect(bench.ask("identity.resendCode", { email })).resolves.toEqual({});
    await expect(bench.ask("identity.forgotPassword", { email })).resolves.toEqual({});
    const { email: known } = await bench.customer();
    await bench.mailed(known, "reset-password", () => bench.ask("identity.forgotPassword", { email: known }));
    expect(JSON.stringify(bench.seen.slice(before))).not.toContain(email);
    await expect(bench.ask("identity.confirm", { email, code: "123456" })).rejects.toMatchObject({
      type: "CODE_INVALID",
    });
    const reset = { email, code: "123456", password: "Nebelhorn-und-Kaese" };
    await expect(bench.ask("identity.resetPassword", reset)).rejects.toMatchObject({ type: "CODE_INVALID" });
  });

  it("mails to one address are limited, and the refusal says for how long", async () => {
    const email = address();
    for (let count = 0; count < 6; count++) await bench.ask("identity.forgotPassword", { email });
    for (const action of ["identity.forgotPassword", "identity.resendCode"] as const) {
      await expect(bench.ask(action, { email })).rejects.toMatchObject({
        type: "TOO_MANY_REQUESTS",
        code: 429,
        data: { retryAfterSeconds: expect.any(Number) },
      });
    }
  });
});

describe("the profile", () => {
  it("identity.updateProfile changes what is given, raises the version and tells the others", async () => {
    const { userId, meta } = await bench.customer();
    const pushToken = { provider: "sandbox", token: "phone-2" } as const;
    const updated = await bench.ask(
      "identity.updateProfile",
      { expectedVersion: 2, firstName: "Zoë", birthDate: "1990-05-17", pushToken },
      meta,
    );
    expect(updated).toMatchObject({
      firstName: "Zoë",
      lastName: "Hansen",
      birthDate: "1990-05-17",
      version: 3,
    });
    const told = await bench.said("user.updated", (user) => user.userId === userId);
    expect(told).toMatchObject({ version: 3, firstName: "Zoë", pushToken });
  });

  it("identity.updateProfile, of a version that is past, is refused and changes nothing", async () => {
    const { meta } = await bench.customer();
    await bench.ask("identity.updateProfile", { expectedVersion: 2, firstName: "Zoë" }, meta);
    const late = bench.ask("identity.updateProfile", { expectedVersion: 2, firstName: "Eve" }, meta);
    await expect(late).rejects.toMatchObject({ type: "PRECONDITION_FAILED", code: 412 });
    await expect(bench.ask("identity.profile", {}, meta)).resolves.toMatchObject({ firstName: "Zoë" });
  });

  it("identity.updateProfile, by many of one version at once, lets one win", async () => {
    const { meta } = await bench.customer();
    const names = Array.from({ length: 8 }, (_, index) => `Zoë${"e".repeat(index)}`);
    const outcomes = await Promise.allSettled(
      names.map((firstName) => bench.ask("identity.updateProfile", { expectedVersion: 2, firstName }, meta)),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  it("every field of the answer, sent back as input, is refused unless it may be changed", async () => {
    const { meta } = await bench.customer();
    const profile = await bench.ask("identity.profile", {}, meta);
    const fixed = ["id", "role", "emailConfirmed", "version", "createdAt"] as const;
    for (const field of [...fixed, "partnerId", "partnerAdmin", "pendingEmail", "avatarVersion"]) {
      const value = {
        ...profile,
        partnerId: newId(),
        partnerAdmin: true,
        pendingEmail: "a@b.ch",
        avatarVersion: 1,
      }[field as keyof typeof profile];
      const sent = bench.ask("identity.updateProfile", { [field]: value } as object, meta);
      await expect(sent).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    }
  });

  it("a new address takes effect when its code comes back; the former one is told and free again", async () => {
    const { email, userId, meta } = await bench.customer();
    const next = address();
    const { code = "" } = await bench.mailed(next, "change-email", () =>
      bench.ask("identity.updateProfile", { email: next }, meta),
    );
    await expect(bench.ask("identity.profile", {}, meta)).resolves.toMatchObject({
      email,
      pendingEmail: next,
    });
    await expect(bench.signIn(email)).resolves.toBeDefined();
    await expect(bench.ask("identity.confirmEmail", { code: wrong(code) }, meta)).rejects.toMatchObject({
      type: "CODE_INVALID",
    });
    await bench.mailed(email, "email-changed", () => bench.ask("identity.confirmEmail", { code }, meta));
    const told = await bench.said("user.updated", (user) => user.userId === userId && user.email === next);
    expect(told.version).toBeGreaterThan(2);
    await expect(bench.signIn(next)).resolves.toBeDefined();
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    await expect(bench.customer({ email })).resolves.toBeDefined();
  });

  it("a new address that is another's gets no code, and its owner is told", async () => {
    const [owner, other] = [await bench.customer(), await bench.customer()];
    await bench.mailed(owner.email, "account-exists", () =>
      bench.ask("identity.updateProfile", { email: owner.email }, other.meta),
    );
    const codes = bench.seen.filter(
      ({ data }) => "template" in data && data.template === "change-email" && data.email === owner.email,
    );
    expect(codes).toEqual([]);
  });

  it("a new address that somebody else confirms meanwhile is refused; one that waits unconfirmed gives way", async () => {
    const [first, second] = [await bench.customer(), await bench.customer()];
    const change = async (email: string, { meta }: typeof first) =>
      (await bench.mailed(email, "change-email", () => bench.ask("identity.updateProfile", { email }, meta)))
        .code ?? "";
    const wanted = address();
    const [one, two] = [await change(wanted, first), await change(wanted, second)];
    await bench.ask("identity.confirmEmail", { code: one }, first.meta);
    await expect(bench.ask("identity.confirmEmail", { code: two }, second.meta)).rejects.toMatchObject({
      type: "EMAIL_TAKEN",
      code: 409,
    });
    const squatter = await bench.registered();
    const code = await change(squatter.email, second);
    await expect(bench.ask("identity.confirmEmail", { code }, second.meta)).resolves.toMatchObject({
      email: squatter.email,
    });
    await bench.said("user.deleted", (user) => user.userId === squatter.userId);
  });

  it("a code for a new address is worth nothing to another user", async () => {
    const [owner, other] = [await bench.customer(), await bench.customer()];
    const email = address();
    const { code = "" } = await bench.mailed(email, "change-email", () =>
      bench.ask("identity.updateProfile", { email }, owner.meta),
    );
    await expect(bench.ask("identity.confirmEmail", { code }, other.meta)).rejects.toMatchObject({
      type: "CODE_INVALID",
    });
  });

  it("without a token, nothing of it is shown or changed", async () => {
    const refusals = [
      bench.ask("identity.profile", {}),
      bench.ask("identity.updateProfile", { firstName: "Eve" }),
      bench.ask("identity.sessions", {}),
      bench.ask("identity.exportData", {}),
      bench.ask("identity.signOut", {}),
      bench.ask("identity.deleteAccount", { password: PASSWORD }),
      bench.ask("identity.setAvatar", { present: true }),
      bench.ask("identity.invite", { email: address(), role: "admin" }),
      bench.ask("identity.audit", {}),
    ];
    for (const refusal of refusals) {
      await expect(refusal).rejects.toMatchObject({ type: "UNAUTHENTICATED" });
    }
  });
});

describe("erasure", () => {
  it("identity.deleteAccount asks for the password", async () => {
    const { meta, email } = await bench.customer();
    const wrongly = bench.ask("identity.deleteAccount", { password: "wrong-Passw-0rt" }, meta);
    await expect(wrongly).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    await expect(bench.signIn(email)).resolves.toBeDefined();
  });

  it("identity.deleteAccount leaves nothing personal in any column of any table", async () => {
    const canary = newId().slice(-12).replaceAll(/\d/g, "q");
    const email = `canary-${canary}@example.org`;
    const { userId, meta } = await bench.customer({
      email,
      firstName: `Canary${canary}`,
      lastName: `Canary${canary}`,
      phone: "+41791112233",
      birthDate: "1987-06-05",
      pushToken: { provider: "sandbox", token: `canary-${canary}` },
    });
    const signedIn = { email, password: PASSWORD, userAgent: `canary-${canary}` };
    await bench.ask("identity.signIn", signedIn, { clientIp: "203.0.113.77" });
    await bench.mailed(`canary-new-${canary}@example.org`, "change-email", () =>
      bench.ask("identity.updateProfile", { email: `canary-new-${canary}@example.org` }, meta),
    );
    await bench.ask("identity.forgotPassword", { email });
    await expect(bench.signIn(email, "wrong-Passw-0rt")).rejects.toBeDefined();
    const boss = await bench.admin();
    await bench.ask("identity.invite", { email, role: "deliverer" }, boss.meta);
    await bench.ask("identity.signOutEverywhere", {}, meta);
    const { accessToken } = await bench.signIn(email);

    const tables = await bench.sql<{ name: string }>(
      "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'",
    );
    const personal = "canary|41791112233|1987-06-05|203\\.0\\.113\\.77";
    const holding = async () => {
      const found: string[] = [];
      for (const { name } of tables) {
        const rows = await bench.sql(`SELECT 1 FROM "${name}" t WHERE t::text ~* '${personal}'`);
        if (rows.length > 0) found.push(name);
      }
      return found.sort();
    };
    expect(await holding()).toEqual(["accounts", "invitations", "outbox", "profiles", "sessions"]);

    await bench.ask("identity.deleteAccount", { password: PASSWORD }, { token: accessToken });

    const told = await bench.said("user.deleted", (user) => user.userId === userId);
    expect(Object.keys(told).sort()).toEqual(["userId", "version"]);
    expect(await holding()).toEqual([]);
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    await eventually(() =>
      expect(bench.ask("identity.profile", {}, { token: accessToken })).rejects.toMatchObject({
        type: "SESSION_REVOKED",
      }),
    );
    await expect(bench.customer({ email })).resolves.toBeDefined();
  });

  it("identity.exportData holds profile, sessions and what was done", async () => {
    const { userId, meta } = await bench.customer({ phone: "+41791234567" });
    const exported = await bench.ask("identity.exportData", {}, meta);
    expect(exported).toMatchObject({ profile: { id: userId, phone: "+41791234567" }, audit: [] });
    expect(exported.sessions).toEqual([expect.objectContaining({ current: true })]);
    await bench.ask(
      "identity.changePassword",
      { currentPassword: PASSWORD, newPassword: "Nebelhorn-91-x" },
      meta,
    );
    const again = await bench.ask("identity.exportData", {}, meta);
    expect(again.audit).toEqual([expect.objectContaining({ action: "password.changed", actorId: userId })]);
  });
});
