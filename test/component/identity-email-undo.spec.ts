import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { decodeJwt } from "jose";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type IdentityBench, newAddress, PASSWORD, startIdentity } from "../support/identity.ts";

const NEW_PASSWORD = "Nebelhorn-und-Kaese";

let bench: IdentityBench;
beforeAll(async () => {
  bench = await startIdentity();
});
afterAll(() => bench.stop());

type Meta = { token: string };
const ended = expect.objectContaining({ type: "SESSION_REVOKED", code: 401 });
const invalid = { type: "CODE_INVALID", code: 422 };
const change = (email: string, meta: Meta, currentPassword?: string) =>
  bench.ask("identity.updateProfile", { email, ...(currentPassword && { currentPassword }) }, meta);
const profileOf = (meta: Meta) => bench.ask("identity.profile", {}, meta);
const undo = (token: string, newPassword?: string) =>
  bench.ask("identity.undoEmailChange", { token, ...(newPassword && { newPassword }) });

/** Changes the address, with the password. @returns the token that the former address got */
async function moved(from: string, to: string, meta: Meta): Promise<string> {
  const { code = "" } = await bench.mailed(to, "change-email", () => change(to, meta, PASSWORD));
  const { link = "", days } = await bench.mailed(from, "email-changed", () =>
    bench.ask("identity.confirmEmail", { code }, meta),
  );
  expect(days).toBe("7");
  const [, token = ""] = /^http:\/\/[^#]+\/email\/undo#([\w-]{43})$/.exec(link) ?? [];
  expect(token).not.toBe("");
  return token;
}

describe("a new e-mail address", () => {
  it("requires the password: with a token alone or a wrong password nothing changes", async () => {
    const { email, meta } = await bench.customer();
    const wanted = newAddress();
    await expect(change(wanted, meta)).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: { errors: [expect.objectContaining({ field: "currentPassword" })] },
    });
    await expect(change(wanted, meta, "wrong-Passw-0rt")).rejects.toMatchObject({
      type: "INVALID_CREDENTIALS",
    });
    expect(await profileOf(meta)).toMatchObject({ email, version: 2 });
    expect(await profileOf(meta)).not.toHaveProperty("pendingEmail");
    expect(JSON.stringify(bench.seen)).not.toContain(wanted);
  });

  it("permits as many wrong passwords as a sign-in", async () => {
    const { meta } = await bench.customer();
    for (let tries = 0; tries < 10; tries++) {
      await expect(change(newAddress(), meta, "wrong-Passw-0rt")).rejects.toMatchObject({
        type: "INVALID_CREDENTIALS",
      });
    }
    await expect(change(newAddress(), meta, PASSWORD)).rejects.toMatchObject({ type: "TOO_MANY_REQUESTS" });
  });

  it("equal to the present one, and any other field, requires no password", async () => {
    const { email, meta } = await bench.customer();
    await expect(change(email, meta)).resolves.toMatchObject({ email });
    await expect(bench.ask("identity.updateProfile", { firstName: "Zoë" }, meta)).resolves.toMatchObject({
      firstName: "Zoë",
    });
  });

  it("that has an account at the provider only, is refused as taken", async () => {
    const { meta } = await bench.customer();
    const wanted = newAddress();
    const { code = "" } = await bench.mailed(wanted, "change-email", () => change(wanted, meta, PASSWORD));
    await bench.sql(
      "INSERT INTO accounts (id, email, password_hash, confirmed, role) VALUES ($1, $2, 'none', true, 'customer')",
      [newId(), wanted],
    );
    const confirmed = bench.ask("identity.confirmEmail", { code }, meta);
    await expect(confirmed).rejects.toMatchObject({ type: "EMAIL_TAKEN", code: 409 });
  });

  it("ends the other sessions, with their devices, and keeps the one that changed it", async () => {
    const { email, userId, meta } = await bench.customer();
    const other = await bench.signIn(email);
    await moved(email, newAddress(), meta);
    await eventually(() => expect(profileOf({ token: other.accessToken })).rejects.toEqual(ended));
    await expect(profileOf(meta)).resolves.toBeDefined();
    const told = await bench.said("user.signed_out", (one) => one.userId === userId);
    expect(told.sessionIds).toEqual([decodeJwt(other.accessToken).sid]);
  });
});

describe("the link that undoes a change of the e-mail address", () => {
  it("restores the address and ends every session, the thief's too", async () => {
    const { email, userId, meta } = await bench.customer();
    const taken = newAddress();
    const token = await moved(email, taken, meta);
    const thief = { token: (await bench.signIn(taken)).accessToken };
    await undo(token);
    for (const one of [meta, thief]) await eventually(() => expect(profileOf(one)).rejects.toEqual(ended));
    await expect(bench.signIn(taken)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    const { accessToken } = await bench.signIn(email);
    await expect(profileOf({ token: accessToken })).resolves.toMatchObject({ id: userId, email });
    await bench.said(
      "user.updated",
      (user) => user.userId === userId && user.email === email && user.version > 4,
    );
    await expect(undo(token)).rejects.toMatchObject(invalid);
  });

  it("also sets a new password, because the old one was known", async () => {
    const { email, meta } = await bench.customer();
    const token = await moved(email, newAddress(), meta);
    await expect(undo(token, "password1")).rejects.toMatchObject({ type: "PASSWORD_TOO_COMMON" });
    await undo(token, NEW_PASSWORD);
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    await expect(bench.signIn(email, NEW_PASSWORD)).resolves.toBeDefined();
  });

  it("is valid for seven days", async () => {
    const { email, meta } = await bench.customer();
    const token = await moved(email, newAddress(), meta);
    const later = (interval: string) =>
      bench.sql("UPDATE email_undos SET expires_at = expires_at - $1::interval", [interval]);
    await later("6 days 23 hours 59 minutes");
    await later("2 minutes");
    await expect(undo(token)).rejects.toMatchObject(invalid);
    await bench.sweep(async () => expect(await bench.sql("SELECT 1 FROM email_undos")).toEqual([]));
  });

  it("of the first change undoes the later ones too, and invalidates their links", async () => {
    const { email, meta } = await bench.customer();
    const [second, third] = [newAddress(), newAddress()];
    const owners = await moved(email, second, meta);
    const thieves = await moved(second, third, meta);
    await undo(owners);
    await expect(undo(thieves)).rejects.toMatchObject(invalid);
    const { accessToken } = await bench.signIn(email);
    await expect(profileOf({ token: accessToken })).resolves.toMatchObject({ email });
  });

  it("of an address that the account has again by now, still ends every session and sets the password", async () => {
    const { email, meta } = await bench.customer();
    const second = newAddress();
    const token = await moved(email, second, meta);
    await moved(second, email, meta);
    await undo(token, NEW_PASSWORD);
    await eventually(() => expect(profileOf(meta)).rejects.toEqual(ended));
    const { accessToken } = await bench.signIn(email, NEW_PASSWORD);
    await expect(profileOf({ token: accessToken })).resolves.toMatchObject({ email });
  });

  it("ends a change that waits for its code", async () => {
    const { email, meta } = await bench.customer();
    const [second, third] = [newAddress(), newAddress()];
    const token = await moved(email, second, meta);
    const { code = "" } = await bench.mailed(third, "change-email", () => change(third, meta, PASSWORD));
    await undo(token);
    const { accessToken } = await bench.signIn(email);
    const fresh = { token: accessToken };
    expect(await profileOf(fresh)).not.toHaveProperty("pendingEmail");
    await expect(bench.ask("identity.confirmEmail", { code }, fresh)).rejects.toMatchObject(invalid);
  });

  it("is used by one of five concurrent requests; for an address that another account has meanwhile, it is refused", async () => {
    const { email, meta } = await bench.customer();
    const token = await moved(email, newAddress(), meta);
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => undo(token)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);

    const other = await bench.customer();
    const late = await moved(other.email, newAddress(), other.meta);
    await bench.customer({ email: other.email });
    await expect(undo(late)).rejects.toMatchObject({ type: "EMAIL_TAKEN", code: 409 });
  });

  it("is in no table and no message in plain text, and is deleted with the account", async () => {
    const { email, userId, meta } = await bench.customer();
    const token = await moved(email, newAddress(), meta);
    for (const table of ["email_undos", "outbox"]) {
      expect(JSON.stringify(await bench.sql(`SELECT * FROM ${table}`))).not.toContain(token);
    }
    await bench.ask("identity.deleteAccount", { password: PASSWORD }, meta);
    expect(await bench.sql("SELECT 1 FROM email_undos WHERE user_id = $1", [userId])).toEqual([]);
    await expect(undo(token)).rejects.toMatchObject(invalid);
  });
});
