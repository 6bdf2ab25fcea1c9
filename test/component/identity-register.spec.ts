import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Params } from "../../contracts/actions.ts";
import { type IdentityBench, newAddress, otherCode, PASSWORD, startIdentity } from "../support/identity.ts";

let bench: IdentityBench;
beforeAll(async () => {
  bench = await startIdentity();
});
afterAll(() => bench.stop());

const person = (email: string, more: Partial<Params<"identity.register">> = {}) => ({
  email,
  password: PASSWORD,
  firstName: "Grete",
  lastName: "Hansen",
  ...more,
});

/** A password that is neither common nor a keyboard pattern. */
const MANY_CHARACTERS = createHash("shake256", { outputLength: 128 }).update("a long one").digest("hex");

describe("identity.register", () => {
  it("creates a customer who can sign in after the code, and announces them only then", async () => {
    const pushToken = { provider: "sandbox", token: "phone-1", deviceName: "Phone" } as const;
    const codes = () => bench.sql("SELECT subject FROM verification_codes ORDER BY subject");
    const before = await codes();
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
    expect(await codes()).toEqual(before);
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
    const asAdmin = { ...person(newAddress()), role: "admin" };
    await expect(bench.ask("identity.register", asAdmin)).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
  });

  it.each([
    ["a birthday that never was", { birthDate: "2001-02-29" }, "birthDate"],
    ["a birthday to come", { birthDate: "2999-01-01" }, "birthDate"],
  ])("with %s, is refused with the name of the field", async (_name, more, field) => {
    await expect(bench.ask("identity.register", person(newAddress(), more))).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: { errors: [expect.objectContaining({ field })] },
    });
  });

  it.each(["password1", "12345678", "GreteHansen1", "Hansen2024!"])(
    "with the password %s, is refused",
    async (password) => {
      const weak = person(newAddress(), {
        password,
        lastName: password === "GreteHansen1" ? "GreteHansen" : "Hansen",
      });
      await expect(bench.ask("identity.register", weak)).rejects.toMatchObject({
        type: "PASSWORD_TOO_COMMON",
      });
    },
  );

  it.each([
    [8, "Kq7-vXz2"],
    [64, MANY_CHARACTERS.slice(0, 64)],
    [128, MANY_CHARACTERS.slice(0, 128)],
    [128, "\u{1f511}".repeat(20) + MANY_CHARACTERS.slice(0, 108)],
  ])("with a password of %d characters, requires the whole of it at sign-in", async (length, password) => {
    expect([...password]).toHaveLength(length);
    const { email } = await bench.customer({ password });
    await expect(bench.signIn(email, password)).resolves.toBeDefined();
    const shorter = [...password].slice(0, -1).join("");
    await expect(bench.signIn(email, shorter)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
  });

  it.each([
    [7, "Kq7-vXz", "stringMin"],
    [129, MANY_CHARACTERS.slice(0, 129), "stringMax"],
  ])(
    "with a password of %d characters, is refused with the name of the field",
    async (length, password, rule) => {
      expect([...password]).toHaveLength(length);
      await expect(bench.ask("identity.register", person(newAddress(), { password }))).rejects.toMatchObject({
        type: "VALIDATION_ERROR",
        data: [expect.objectContaining({ field: "password", type: rule })],
      });
    },
  );

  it("of an address with an account, gets the usual answer, changes nothing and mails the owner", async () => {
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

  it("of an unconfirmed address, replaces the earlier one, whose code becomes invalid", async () => {
    const email = newAddress();
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

  it("ten times at once for one address, creates one account", async () => {
    const email = newAddress();
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
  it("identity.confirm, after five wrong attempts, refuses the right code too; a new one works", async () => {
    const { email, code } = await bench.registered();
    const tries = Array.from({ length: 5 }, () =>
      bench.ask("identity.confirm", { email, code: otherCode(code) }),
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

  it("identity.confirm, ten times at once, checks at most five guesses", async () => {
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

  it("wrong codes for one address are limited, with any number of codes", async () => {
    const { email, code } = await bench.registered();
    for (let count = 0; count < 25; count++) {
      await bench.ask("identity.confirm", { email, code: otherCode(code) }).catch(() => undefined);
    }
    await expect(bench.ask("identity.confirm", { email, code })).rejects.toMatchObject({
      type: "TOO_MANY_REQUESTS",
      data: { retryAfterSeconds: expect.any(Number) },
    });
  });

  it("an expired code and a used one are refused", async () => {
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

  it("no code and no address is beside the profile in plain text", async () => {
    const { email, code } = await bench.registered();
    const stored = JSON.stringify([
      await bench.sql("SELECT * FROM verification_codes"),
      await bench.sql("SELECT * FROM allowances"),
    ]);
    expect(stored).not.toContain(email);
    expect(stored).not.toContain(`"${code}"`);
  });

  it("no code and no token of an invitation is in the message for the mail in plain text", async () => {
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

  it("resendCode and forgotPassword, for an unknown address, get the usual answer and send nothing", async () => {
    const email = newAddress();
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

  it("mails to one address are limited, and the refusal contains the time to wait", async () => {
    const email = newAddress();
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

describe("a registration that cannot be completed", () => {
  it.each([
    [
      "whose secret is lost",
      "UPDATE verification_codes SET registration_sealed = 'v1.unreadable' WHERE subject = $1",
    ],
    ["that is missing", "UPDATE verification_codes SET registration_sealed = NULL WHERE subject = $1"],
  ])("since it is one %s, is refused like a wrong code", async (_, spoil) => {
    const { email, code } = await bench.registered();
    const [newest] = await bench.sql<{ subject: string }>(
      "SELECT subject FROM verification_codes ORDER BY created_at DESC LIMIT 1",
    );
    await bench.sql(spoil, [newest?.subject]);
    await expect(bench.ask("identity.confirm", { email, code })).rejects.toMatchObject({
      type: "CODE_INVALID",
    });
  });

  it("since the profile is gone, is refused like a wrong code", async () => {
    const { email, userId, code } = await bench.registered();
    await bench.sql("DELETE FROM profiles WHERE id = $1", [userId]);
    await expect(bench.ask("identity.confirm", { email, code })).rejects.toMatchObject({
      type: "CODE_INVALID",
    });
  });
});

it("a registration of an address that has an account at the provider only, is answered in its own language", async () => {
  const email = newAddress();
  await bench.sql(
    "INSERT INTO accounts (id, email, password_hash, confirmed, role) VALUES (gen_random_uuid(), $1, 'none', true, 'customer')",
    [email],
  );
  await bench.mailed(email, "account-exists", () =>
    bench.ask("identity.register", person(email, { language: "de" })),
  );
  const mails = bench.seen.filter(({ data }) => (data as { email?: string }).email === email);
  expect(mails).toMatchObject([{ subject: "account-exists", data: { language: "de", version: 1 } }]);
});
