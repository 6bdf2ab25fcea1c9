import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { KEYCLOAK_HOOK_TIMEOUT_MS, type KeycloakServer, sharedKeycloak } from "../servers/keycloak.ts";
import { eventually } from "../support/eventually.ts";
import { type IdentityBench, PASSWORD, startIdentity } from "../support/identity.ts";
import { keycloakConsole, keycloakSettings, PATIENT_MS } from "../support/keycloak.ts";
import { type Relay, startRelay } from "../support/relay.ts";

const NEW_PASSWORD = "Nebelhorn-und-Kaese";

let server: KeycloakServer;
let relay: Relay;
let bench: IdentityBench;
let console: ReturnType<typeof keycloakConsole>;
beforeAll(async () => {
  server = await sharedKeycloak();
  relay = await startRelay(server.url);
  const settings = { ...keycloakSettings(server), KEYCLOAK_URL: relay.url };
  bench = await startIdentity({
    requestTimeoutMs: PATIENT_MS,
    settings: { ...settings, KEYCLOAK_ISSUER: `${server.url}/realms/${settings.KEYCLOAK_REALM}` },
  });
  console = keycloakConsole(server);
}, KEYCLOAK_HOOK_TIMEOUT_MS);
afterAll(async () => {
  await bench.stop();
  await relay.stop();
  await server.stop();
});

const ended = expect.objectContaining({ type: "SESSION_REVOKED", code: 401 });
const wrong = expect.objectContaining({ type: "INVALID_CREDENTIALS", code: 401 });
const profileWith = (token: string) => bench.ask("identity.profile", {}, { token });
const refresh = (refreshToken: string) => bench.ask("identity.refresh", { refreshToken });

describe("identity on Keycloak", () => {
  it("supports a customer from the registration to the deletion", async () => {
    const { email, userId, code } = await bench.registered({ language: "de" });
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "EMAIL_NOT_CONFIRMED" });
    await bench.ask("identity.confirm", { email, code });
    await expect(bench.said("user.registered", (user) => user.userId === userId)).resolves.toMatchObject({
      role: "customer",
      language: "de",
    });

    const tokens = await bench.signIn(email);
    expect(tokens).toMatchObject({ tokenType: "Bearer", expiresInSeconds: 600 });
    await expect(profileWith(tokens.accessToken)).resolves.toMatchObject({ id: userId, email });

    const next = await refresh(tokens.refreshToken);
    const meta = { token: next.accessToken };
    const phone = await bench.signIn(email);
    const { items } = await bench.ask("identity.sessions", {}, meta);
    expect(items.filter(({ current }) => current)).toHaveLength(1);
    expect(items).toHaveLength(2);

    await bench.ask(
      "identity.changePassword",
      { currentPassword: PASSWORD, newPassword: NEW_PASSWORD },
      meta,
    );
    await expect(refresh(phone.refreshToken)).rejects.toEqual(ended);
    await expect(profileWith(next.accessToken)).resolves.toBeDefined();
    await expect(bench.signIn(email)).rejects.toEqual(wrong);

    const moved = `moved-${newId()}@example.org`;
    const { code: proof = "" } = await bench.mailed(moved, "change-email", () =>
      bench.ask("identity.updateProfile", { email: moved, currentPassword: NEW_PASSWORD }, meta),
    );
    await bench.ask("identity.confirmEmail", { code: proof }, meta);
    await expect(bench.signIn(email, NEW_PASSWORD)).rejects.toEqual(wrong);
    await expect(bench.signIn(moved, NEW_PASSWORD)).resolves.toBeDefined();

    const { code: reset = "" } = await bench.mailed(moved, "reset-password", () =>
      bench.ask("identity.forgotPassword", { email: moved }),
    );
    await bench.ask("identity.resetPassword", { email: moved, code: reset, password: PASSWORD });
    await expect(refresh(next.refreshToken)).rejects.toEqual(ended);

    const last = await bench.signIn(moved);
    await bench.ask("identity.signOut", {}, { token: last.accessToken });
    await eventually(() => expect(profileWith(last.accessToken)).rejects.toEqual(ended));
    await expect(refresh(last.refreshToken)).rejects.toEqual(ended);

    const final = await bench.signIn(moved);
    await bench.ask("identity.deleteAccount", { password: PASSWORD }, { token: final.accessToken });
    await expect(bench.signIn(moved)).rejects.toEqual(wrong);
    expect((await console.send("GET", `/users?email=${encodeURIComponent(moved)}&exact=true`)).body).toEqual(
      [],
    );
    await expect(
      bench.sql("SELECT id FROM keycloak_sessions WHERE account_id = $1", [userId]),
    ).resolves.toEqual([]);
  });

  it("ends a session everywhere, also at Keycloak, after the reuse of a refresh token", async () => {
    const { userId, tokens } = await bench.customer();
    const next = await refresh(tokens.refreshToken);
    const newest = await refresh(next.refreshToken);
    await expect(refresh(tokens.refreshToken)).rejects.toEqual(ended);
    await expect(refresh(newest.refreshToken)).rejects.toEqual(ended);
    await eventually(() => expect(profileWith(newest.accessToken)).rejects.toEqual(ended));
    expect((await console.send("GET", `/users/${userId}/sessions`)).body).toEqual([]);
    const audit = await bench.sql(
      "SELECT action FROM audit_entries WHERE subject = $1 ORDER BY id DESC LIMIT 1",
      [userId],
    );
    expect(audit).toEqual([{ action: "session.reuse-detected" }]);
  });

  it("returns no refresh token of Keycloak and stores none in plain text", async () => {
    const { tokens } = await bench.customer();
    expect(tokens.refreshToken).toMatch(/^[0-9a-f-]{36}\.0\./);
    const dump = JSON.stringify(await bench.sql("SELECT * FROM keycloak_sessions"));
    expect(dump).not.toContain("eyJ");
  });

  it.each(["deliverer", "admin"] as const)("makes a %s by an invitation", async (role) => {
    const { meta, userId } = await bench.staff(role);
    await expect(bench.ask("identity.profile", {}, meta)).resolves.toMatchObject({ id: userId, role });
  });

  it("binds invited staff to their partner, whose admin invites more", async () => {
    const partnerId = newId();
    const boss = await bench.staff("partner", { partnerId, partnerAdmin: true });
    const profile = await bench.ask("identity.profile", {}, boss.meta);
    expect(profile).toMatchObject({ role: "partner", partnerId, partnerAdmin: true });
    const email = `staff-${newId()}@example.org`;
    await expect(bench.ask("identity.invite", { email, role: "partner" }, boss.meta)).resolves.toBeDefined();
    await expect(
      bench.ask("identity.invite", { email, role: "partner", partnerId: newId() }, boss.meta),
    ).rejects.toMatchObject({ type: "FORBIDDEN" });
  });

  it("creates the first admin once, by any number of starts", async () => {
    const email = `admin-${newId()}@example.org`;
    const account = { email, password: PASSWORD };
    // As a start does, each repeats its call as long as another is at work on the address.
    const make = () =>
      eventually(() => bench.inside.call<{ created: boolean }, object>("identity.createAdmin", account));
    const outcomes = await Promise.all([make(), make(), make()]);
    expect(outcomes.filter(({ created }) => created)).toHaveLength(1);
    const { accessToken } = await bench.signIn(email);
    await expect(profileWith(accessToken)).resolves.toMatchObject({ role: "admin" });
  });
});

describe("accounts that only Keycloak has", () => {
  const address = () => `console-${newId()}@example.org`;

  it("get a profile at the first sign-in, which is announced once", async () => {
    const email = address();
    const userId = await console.addUser({
      email,
      password: PASSWORD,
      firstName: "Ada",
      groups: ["/deliverers"],
    });
    const tokens = await Promise.all([bench.signIn(email), bench.signIn(email)]);
    for (const { accessToken } of tokens) {
      await expect(profileWith(accessToken)).resolves.toMatchObject({
        id: userId,
        email,
        role: "deliverer",
        firstName: "Ada",
        lastName: "",
        emailConfirmed: true,
      });
    }
    await bench.said("user.registered", (user) => user.userId === userId);
    expect(
      bench.seen.filter(({ type, subject }) => type === "user.registered" && subject === userId),
    ).toHaveLength(1);
  });

  it("with the first admin's address, get the configured password and role in a new database", async () => {
    const email = address();
    const userId = await console.addUser({ email, password: NEW_PASSWORD });
    const admin = { email, password: PASSWORD };
    await expect(bench.inside.call("identity.createAdmin", admin)).resolves.toEqual({
      userId,
      created: true,
    });
    await expect(bench.signIn(email, NEW_PASSWORD)).rejects.toEqual(wrong);
    const { accessToken } = await bench.signIn(email);
    await expect(profileWith(accessToken)).resolves.toMatchObject({ id: userId, role: "admin" });
  });

  it("are not replaced by a registration of their address, which mails their owner", async () => {
    const email = address();
    await console.addUser({ email, password: PASSWORD });
    await bench.mailed(email, "account-exists", () =>
      bench.ask("identity.register", {
        email,
        password: NEW_PASSWORD,
        firstName: "Eve",
        lastName: "Mallory",
      }),
    );
    await expect(bench.signIn(email, NEW_PASSWORD)).rejects.toEqual(wrong);
    await expect(bench.signIn(email)).resolves.toBeDefined();
  });

  it("without a group are customers; a group counts from the next sign-in", async () => {
    const email = address();
    const userId = await console.addUser({ email, password: PASSWORD });
    const first = await bench.signIn(email);
    await expect(profileWith(first.accessToken)).resolves.toMatchObject({ role: "customer" });
    const { body: groups } = await console.send("GET", "/groups?search=admins&exact=true");
    await console.send("PUT", `/users/${userId}/groups/${groups[0].id}`);
    const second = await bench.signIn(email);
    await expect(profileWith(second.accessToken)).resolves.toMatchObject({ role: "admin" });
    await bench.said("user.updated", (user) => user.userId === userId && user.role === "admin");
  });

  it("of staff without a partner act as customers", async () => {
    const email = address();
    await console.addUser({ email, password: PASSWORD, groups: ["/partners"] });
    const { accessToken } = await bench.signIn(email);
    await expect(profileWith(accessToken)).resolves.toMatchObject({ role: "customer" });
  });

  it("with the address of another profile are refused", async () => {
    const { email, userId } = await bench.customer();
    await console.send("DELETE", `/users/${userId}`);
    await console.addUser({ email, password: PASSWORD });
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "EMAIL_TAKEN" });
  });

  it("disabled or signed out at Keycloak are refused here too", async () => {
    const { email, userId, tokens } = await bench.customer();
    await console.send("POST", `/users/${userId}/logout`);
    await expect(refresh(tokens.refreshToken)).rejects.toEqual(ended);
    const again = await bench.signIn(email);
    await console.change(userId, { enabled: false });
    await expect(refresh(again.refreshToken)).rejects.toEqual(ended);
    await expect(bench.signIn(email)).rejects.toEqual(wrong);
  });
});

describe("identity, while Keycloak is unavailable,", () => {
  it("refuses sign-ins with the reason, still verifies tokens, and loses nothing", async () => {
    const { email, tokens, meta } = await bench.customer();
    await bench.ask("identity.jwks", {});
    relay.cut();
    try {
      const down = expect.objectContaining({ type: "SERVICE_UNAVAILABLE", code: 503 });
      await expect(bench.signIn(email)).rejects.toEqual(down);
      await expect(refresh(tokens.refreshToken)).rejects.toEqual(down);
      await expect(profileWith(tokens.accessToken)).resolves.toMatchObject({ email });
      expect((await bench.ask("identity.jwks", {})).keys.length).toBeGreaterThan(0);
    } finally {
      relay.open();
    }
    await expect(refresh(tokens.refreshToken)).resolves.toBeDefined();
    await expect(bench.ask("identity.sessions", {}, meta)).resolves.toMatchObject({
      items: [{ current: true }],
    });
  });

  it("signs out at once, and informs Keycloak later", async () => {
    const { userId, tokens, meta } = await bench.customer();
    relay.cut();
    try {
      await bench.ask("identity.signOut", {}, meta);
      await eventually(() => expect(profileWith(tokens.accessToken)).rejects.toEqual(ended));
    } finally {
      relay.open();
    }
    await expect(refresh(tokens.refreshToken)).rejects.toEqual(ended);
    await bench.sweep(async () =>
      expect((await console.send("GET", `/users/${userId}/sessions`)).body).toEqual([]),
    );
  });

  it("deletes an account here at once, and at Keycloak later", async () => {
    const { email, userId, meta } = await bench.customer();
    const deleted = bench.ask("identity.deleteAccount", { password: "wrong-Passw-0rt" }, meta);
    await expect(deleted).rejects.toEqual(wrong);
    await bench.ask("identity.deleteAccount", { password: PASSWORD }, meta);
    await bench.sweep(async () =>
      expect(await bench.sql("SELECT user_id FROM erasures WHERE user_id = $1", [userId])).toEqual([]),
    );
    await expect(bench.signIn(email)).rejects.toEqual(wrong);
  });
});
