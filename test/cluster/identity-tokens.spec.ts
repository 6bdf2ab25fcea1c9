import { createHmac, generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { decodeJwt, decodeProtectedHeader, type JWK, SignJWT } from "jose";
import { newId } from "../../lib/ids.ts";
import { Database } from "../../lib/sql/database.ts";
import { type TokenVerifier, tokenVerifier } from "../../mixins/caller/token-verifier.ts";
import {
  type IdentityProvider,
  type IssuedTokens,
  keycloakProvider,
} from "../../providers/identity/index.ts";
import { providerSql } from "../../services/identity/dependencies.ts";
import { KEYCLOAK_HOOK_TIMEOUT_MS, type KeycloakServer, sharedKeycloak } from "../servers/keycloak.ts";
import { importRealm, keycloakConsole, keycloakOptions } from "../support/keycloak.ts";
import { ACQUIRE_TIMEOUT_MS, createDatabase, type TestDatabase } from "../support/postgres.ts";
import { type Relay, startRelay } from "../support/relay.ts";
import { testIdentity } from "../support/tokens.ts";

const PASSWORD = "Blaubeere-Teppich-91";
const encryptionKeys = { secret: "seal-secret-of-the-tests-0123456789ab" };
const refusal = expect.objectContaining({ type: "UNAUTHENTICATED", code: 401 });

let server: KeycloakServer;
let database: TestDatabase;
let pool: Database;
let provider: IdentityProvider;
let relay: Relay;
let verifier: TokenVerifier;
let email: string;
let tokens: IssuedTokens;
beforeAll(async () => {
  [server, database] = await Promise.all([sharedKeycloak(), createDatabase("identity")]);
  relay = await startRelay(server.url);
  pool = new Database({
    url: database.url,
    poolSize: 5,
    acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
    applicationName: "identity tokens",
  });
  provider = keycloakOver();
  const { issuer } = keycloakOptions(server);
  verifier = tokenVerifier({ jwks: () => provider.keys(), issuer });
  email = `user-${newId()}@example.org`;
  await provider.register({ email, password: PASSWORD, confirmed: true, grant: { role: "deliverer" } });
  tokens = await provider.signIn(email, PASSWORD, {});
}, KEYCLOAK_HOOK_TIMEOUT_MS);
afterAll(async () => {
  await pool.close();
  await relay.stop();
  await database.drop();
  await server.stop();
});

function keycloakOver(more: Partial<Parameters<typeof keycloakProvider>[0]> = {}) {
  return keycloakProvider({
    ...keycloakOptions(server),
    sql: providerSql(() => pool),
    encryptionKeys,
    ...more,
  });
}

/** Keycloak's own answer to our client. It also contains values that the provider never returns. */
async function granted(form: Record<string, string>): Promise<Record<string, string>> {
  const { url, realm, clientId, clientSecret } = keycloakOptions(server);
  const answer = await fetch(`${url}/realms/${realm}/protocol/openid-connect/token`, {
    method: "POST",
    body: new URLSearchParams({ client_id: clientId, client_secret: clientSecret, ...form }),
  });
  return (await answer.json()) as Record<string, string>;
}

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("Keycloak's tokens", () => {
  it("prove the caller, if they are access tokens of a user", async () => {
    const { accessToken, userId, sessionId } = tokens;
    await expect(verifier.verify(accessToken)).resolves.toEqual({ id: userId, sessionId, role: "deliverer" });
    expect(decodeProtectedHeader(accessToken)).toMatchObject({ alg: "ES256", typ: "at+jwt" });
    expect(decodeJwt(accessToken)).toMatchObject({ aud: "waybill", iss: keycloakOptions(server).issuer });
  });

  it("contain no personal data, and are refused by Keycloak's admin API", async () => {
    const claims = decodeJwt(tokens.accessToken);
    expect(JSON.stringify(claims)).not.toContain(email);
    for (const name of ["email", "preferred_username", "name", "resource_access"]) {
      expect(claims).not.toHaveProperty(name);
    }
    const answer = await fetch(`${server.url}/admin/realms/waybill/users`, {
      headers: { authorization: `Bearer ${tokens.accessToken}` },
    });
    expect(answer.status).toBe(403);
  });

  it("prove nothing, if they are refresh or ID tokens or the service account's", async () => {
    const password = { grant_type: "password", username: email, password: PASSWORD };
    const user = await granted({ ...password, scope: "openid" });
    const { access_token: account } = await granted({ grant_type: "client_credentials", scope: "roles" });
    expect(user).toMatchObject({ id_token: expect.any(String), refresh_token: expect.any(String) });
    for (const token of [user.id_token, user.refresh_token, account]) {
      await expect(verifier.verify(token as string)).rejects.toEqual(refusal);
    }
  });

  it("of another realm or client, prove nothing", async () => {
    const answer = await fetch(`${server.url}/realms/master/protocol/openid-connect/token`, {
      method: "POST",
      body: new URLSearchParams({
        client_id: "admin-cli",
        grant_type: "password",
        username: server.adminUser,
        password: server.adminPassword,
      }),
    });
    const { access_token: master } = (await answer.json()) as { access_token: string };
    await expect(verifier.verify(master)).rejects.toEqual(refusal);

    const console = keycloakConsole(server);
    const clientId = `other-${newId()}`;
    const { location } = await console.send("POST", "/clients", {
      clientId,
      publicClient: true,
      directAccessGrantsEnabled: true,
      attributes: { "access.token.header.type.rfc9068": "true" },
    });
    const other = await fetch(`${server.url}/realms/waybill/protocol/openid-connect/token`, {
      method: "POST",
      body: new URLSearchParams({
        client_id: clientId,
        grant_type: "password",
        username: email,
        password: PASSWORD,
      }),
    });
    const { access_token: foreign } = (await other.json()) as { access_token: string };
    await console.send("DELETE", `/clients/${location?.split("/").at(-1)}`);
    expect(decodeProtectedHeader(foreign)).toMatchObject({ typ: "at+jwt" });
    await expect(verifier.verify(foreign)).rejects.toEqual(refusal);
  });

  it("forged from genuine ones, are refused", async () => {
    const [header = "", payload = "", signature = ""] = tokens.accessToken.split(".");
    const { kid } = decodeProtectedHeader(tokens.accessToken) as { kid: string };
    const claims = decodeJwt(tokens.accessToken);
    const raised = part({ ...claims, realm_access: { roles: ["admin"] } });
    const [publicKey] = (await provider.keys()) as [JWK];
    const hs256 = `${part({ alg: "HS256", typ: "at+jwt", kid })}.${raised}`;
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const signed = (more: object) =>
      new SignJWT(claims).setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid, ...more }).sign(privateKey);
    const forged = [
      `${part({ alg: "none", typ: "at+jwt", kid })}.${raised}.`,
      `${part({ alg: "none", typ: "at+jwt", kid })}.${raised}.${signature}`,
      `${header}.${raised}.${signature}`,
      `${header}.${payload}.`,
      `${hs256}.${createHmac("sha256", JSON.stringify(publicKey)).update(hs256).digest("base64url")}`,
      await signed({}),
      await signed({ kid: "another" }),
      await signed({ jku: `${server.url}/realms/waybill/protocol/openid-connect/certs` }),
      await signed({ jwk: publicKey }),
    ];
    for (const token of forged) await expect(verifier.verify(token)).rejects.toEqual(refusal);
  });

  it("are refused for another issuer or audience, and so are the built-in provider's", async () => {
    const jwks = () => provider.keys();
    const { issuer } = keycloakOptions(server);
    for (const rules of [{ issuer: "http://waybill.test" }, { issuer, audience: "another" }]) {
      const strict = tokenVerifier({ jwks, ...rules });
      await expect(strict.verify(tokens.accessToken)).rejects.toEqual(refusal);
    }
    const builtIn = testIdentity();
    await expect(verifier.verify(await builtIn.token())).rejects.toEqual(refusal);
    await expect(verifier.verify(await builtIn.token({ issuer }))).rejects.toEqual(refusal);
  });
});

describe("a faulty Keycloak", () => {
  const unavailable = expect.objectContaining({ kind: "unavailable" });

  it("without an answer, delays an operation by its time limit at most, all calls together", async () => {
    const impatient = keycloakOver({ url: relay.url, budgetMs: 600 });
    relay.hold();
    const beganMs = performance.now();
    await Promise.all([
      expect(impatient.signIn(email, PASSWORD, {})).rejects.toEqual(unavailable),
      expect(impatient.refresh(tokens.refreshToken, {})).rejects.toEqual(unavailable),
      expect(impatient.checkPassword(newId(), PASSWORD)).rejects.toEqual(unavailable),
      expect(
        impatient.register({ email, password: PASSWORD, confirmed: false, grant: { role: "customer" } }),
      ).rejects.toEqual(unavailable),
      expect(impatient.ping()).resolves.toBe(false),
    ]);
    expect(performance.now() - beganMs).toBeLessThan(2_000);
    relay.open();
    tokens = await keycloakOver({ url: relay.url }).refresh(tokens.refreshToken, {});
  });

  it("with connections that break while idle, is called again where that is safe", async () => {
    const over = keycloakOver({ url: relay.url });
    await over.holder(tokens.userId);
    relay.open(); // every connection of the pool is closed under it
    await expect(over.holder(tokens.userId)).resolves.toEqual({ email });
  });

  it("without its former keys, leaves the former ones in use", async () => {
    const over = keycloakOver({ url: relay.url });
    const had = await over.keys();
    relay.cut();
    await expect(over.keys()).resolves.toEqual(had);
    await expect(keycloakOver({ url: relay.url }).keys()).rejects.toEqual(unavailable);
    relay.open();
  });

  it("that refuses our client, is reported to the operator and not to the customer", async () => {
    const stranger = keycloakOver({ clientSecret: "another-secret-0123456789" });
    await expect(stranger.signIn(email, PASSWORD, {})).rejects.toEqual(unavailable);
    await expect(stranger.maintain()).rejects.toThrow("check KEYCLOAK_CLIENT_SECRET");
  });

  it("with another issuer than expected, is reported at the start", async () => {
    const other = keycloakOver({ issuer: "https://id.example.org/realms/waybill" });
    await expect(other.maintain()).rejects.toThrow("KEYCLOAK_ISSUER");
  });

  it("with a stricter password policy, has it enforced", async () => {
    const console = keycloakConsole(server);
    const asked = { email: `short-${newId()}@example.org`, password: "kurz", confirmed: false };
    await expect(provider.register({ ...asked, grant: { role: "customer" } })).rejects.toMatchObject({
      kind: "password_refused",
    });
    await expect(provider.setPassword(tokens.userId, "kurz")).rejects.toMatchObject({
      kind: "password_refused",
    });
    expect((await console.send("GET", `/users?email=${encodeURIComponent(asked.email)}`)).body).toEqual([]);
  });

  it("with a new signing key, is trusted after the next request for keys", async () => {
    const realm = `waybill-${newId()}`;
    await importRealm(server, realm);
    const console = keycloakConsole(server, realm);
    try {
      const options = keycloakOptions(server, realm);
      const other = keycloakOver(options);
      const account = { email, password: PASSWORD, confirmed: true, grant: { role: "admin" } } as const;
      await other.register(account);
      const first = await other.signIn(email, PASSWORD, {});
      let nowMs = Date.now();
      const later = tokenVerifier({
        jwks: () => other.keys(),
        issuer: options.issuer,
        clock: { now: () => nowMs },
      });
      await expect(later.verify(first.accessToken)).resolves.toMatchObject({ role: "admin" });

      const { body } = await console.send("GET", "");
      await console.send("POST", "/components", {
        name: "another key",
        providerId: "ecdsa-generated",
        providerType: "org.keycloak.keys.KeyProvider",
        parentId: body.id,
        config: { ecdsaEllipticCurveKey: ["P-256"], priority: ["200"] },
      });
      const next = await other.signIn(email, PASSWORD, {});
      const kidOf = (token: string) => decodeProtectedHeader(token).kid;
      expect(kidOf(next.accessToken)).not.toBe(kidOf(first.accessToken));
      nowMs += 4_000;
      await expect(later.verify(next.accessToken)).resolves.toMatchObject({ role: "admin" });
      await expect(later.verify(first.accessToken)).resolves.toMatchObject({ role: "admin" });
      await expect(verifier.verify(next.accessToken)).rejects.toEqual(refusal);
    } finally {
      await console.send("DELETE", "");
    }
  });
});
