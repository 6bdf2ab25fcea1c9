import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { createLocalJWKSet, decodeProtectedHeader, type JWTPayload, jwtVerify } from "jose";
import { callerFrom } from "../../contracts/claims.ts";
import { newId } from "../../lib/ids.ts";
import type { Grant, IdentityProvider } from "./port.ts";
import { PASSWORD, refused, sessionsConformance } from "./sessions-conformance.ts";

export interface IdentityHarness {
  provider: IdentityProvider;
  issuer: string;
  audience: string;
  /** Ends the grace period of ten seconds for a session. */
  outliveGrace(sessionId: string): Promise<void>;
  stop(): Promise<void>;
}

const MAX_TOKEN_SECONDS = 900;
/** Starting a database or a server takes long on a busy machine. */
const START_TIMEOUT_MS = 660_000;

/** The conformance suite of every identity provider. Call it inside a `describe`. */
export function identityConformance(start: () => Promise<IdentityHarness>): void {
  let harness: IdentityHarness;
  let provider: IdentityProvider;
  beforeAll(async () => {
    harness = await start();
    provider = harness.provider;
  }, START_TIMEOUT_MS);
  afterAll(() => harness.stop());

  async function account(more: { confirmed?: boolean; grant?: Grant } = {}) {
    const email = `user-${newId()}@example.org`;
    const grant: Grant = { role: "customer" };
    const made = await provider.register({ email, password: PASSWORD, confirmed: true, grant, ...more });
    return { email, userId: made.userId };
  }
  async function signedIn(more: Parameters<typeof account>[0] = {}) {
    const { email, userId } = await account(more);
    return { email, userId, tokens: await provider.signIn(email, PASSWORD, {}) };
  }
  async function claimsOf(token: string): Promise<JWTPayload> {
    const keys = createLocalJWKSet({ keys: await provider.keys() });
    const { issuer, audience } = harness;
    return (await jwtVerify(token, keys, { issuer, audience, typ: "at+jwt" })).payload;
  }

  describe("accounts", () => {
    it("register, of a confirmed address, leaves the account unchanged and answers taken", async () => {
      const { email, userId } = await account();
      const again = await provider.register({
        email,
        password: "another-Passw-0rt",
        confirmed: false,
        grant: { role: "customer" },
      });
      expect(again).toEqual({ userId, taken: true });
      await expect(provider.signIn(email, PASSWORD, {})).resolves.toMatchObject({ userId });
    });

    it("register, of an unconfirmed address, replaces the account", async () => {
      const { email, userId } = await account({ confirmed: false });
      const again = await provider.register({
        email,
        password: "another-Passw-0rt",
        confirmed: false,
        grant: { role: "customer" },
      });
      expect(again).toEqual({ userId, taken: false });
      await provider.markConfirmed(userId);
      await expect(provider.signIn(email, PASSWORD, {})).rejects.toEqual(refused("wrong_credentials"));
      await expect(provider.signIn(email, "another-Passw-0rt", {})).resolves.toMatchObject({ userId });
    });

    it.each([true, false])(
      "register, five times at once (confirmed: %s), creates one account",
      async (confirmed) => {
        const email = `user-${newId()}@example.org`;
        const grant: Grant = { role: "admin" };
        const made = await Promise.all(
          Array.from({ length: 5 }, () => provider.register({ email, password: PASSWORD, confirmed, grant })),
        );
        expect(new Set(made.map(({ userId }) => userId)).size).toBe(1);
        expect(made.filter(({ taken }) => !taken).length).toBe(confirmed ? 1 : 5);
      },
    );

    it("setGrant and setPassword, three times at once, take effect", async () => {
      const { email, userId } = await account();
      await Promise.all(
        Array.from({ length: 3 }, async () => {
          await provider.setPassword(userId, "Nebelhorn und Käse");
          await provider.setGrant(userId, { role: "deliverer" });
        }),
      );
      const tokens = await provider.signIn(email, "Nebelhorn und Käse", {});
      expect(tokens.grant).toEqual({ role: "deliverer" });
    });

    it("signIn, before the address is confirmed, answers not_confirmed only to the right password", async () => {
      const { email, userId } = await account({ confirmed: false });
      await expect(provider.signIn(email, PASSWORD, {})).rejects.toEqual(refused("not_confirmed"));
      await expect(provider.signIn(email, "wrong-Passw-0rt", {})).rejects.toEqual(
        refused("wrong_credentials"),
      );
      await provider.markConfirmed(userId);
      await expect(provider.signIn(email, PASSWORD, {})).resolves.toMatchObject({ userId });
    });

    it("signIn, for an unknown address, is refused like a wrong password", async () => {
      const nobody = `nobody-${newId()}@example.org`;
      await expect(provider.signIn(nobody, PASSWORD, {})).rejects.toEqual(refused("wrong_credentials"));
    });

    it("setPassword replaces the old password", async () => {
      const { email, userId } = await account();
      await provider.setPassword(userId, "Nebelhorn und Käse");
      await expect(provider.checkPassword(userId, PASSWORD)).resolves.toBe(false);
      await expect(provider.checkPassword(userId, "Nebelhorn und Käse")).resolves.toBe(true);
      await expect(provider.signIn(email, PASSWORD, {})).rejects.toEqual(refused("wrong_credentials"));
    });

    it("changeEmail moves the account to a free address and refuses one that is taken", async () => {
      const [first, second] = [await account(), await account()];
      await expect(provider.changeEmail(first.userId, second.email)).rejects.toEqual(refused("email_taken"));
      const email = `moved-${newId()}@example.org`;
      await provider.changeEmail(first.userId, email);
      await expect(provider.signIn(first.email, PASSWORD, {})).rejects.toEqual(refused("wrong_credentials"));
      await expect(provider.signIn(email, PASSWORD, {})).resolves.toMatchObject({ userId: first.userId });
    });

    it("remove, repeated, succeeds and deletes the account and its sessions", async () => {
      const { email, userId, tokens } = await signedIn();
      await provider.remove(userId);
      await provider.remove(userId);
      await expect(provider.signIn(email, PASSWORD, {})).rejects.toEqual(refused("wrong_credentials"));
      await expect(provider.refresh(tokens.refreshToken, {})).rejects.toMatchObject({
        kind: expect.stringMatching(/^(session_ended|token_invalid)$/),
      });
      await expect(provider.checkPassword(userId, PASSWORD)).resolves.toBe(false);
      await expect(provider.sessions(userId)).resolves.toEqual([]);
    });

    it.each(["setPassword", "markConfirmed", "changeEmail", "setGrant"] as const)(
      "%s, for an unknown user, is refused",
      async (method) => {
        const calls = {
          setPassword: () => provider.setPassword(newId(), PASSWORD),
          markConfirmed: () => provider.markConfirmed(newId()),
          changeEmail: () => provider.changeEmail(newId(), `x-${newId()}@example.org`),
          setGrant: () => provider.setGrant(newId(), { role: "admin" }),
        };
        await expect(calls[method]()).rejects.toEqual(refused("unknown_user"));
      },
    );
  });

  it("holder returns the owner of an account, and undefined for an unknown one", async () => {
    const { email, userId } = await account();
    await expect(provider.holder(userId)).resolves.toEqual({ email });
    await expect(provider.holder(newId())).resolves.toBeUndefined();
  });

  describe("tokens", () => {
    it("an access token is verified by the published keys and has user, session and role", async () => {
      const { userId, tokens } = await signedIn();
      const claims = await claimsOf(tokens.accessToken);
      expect(callerFrom(claims)).toEqual({ id: userId, sessionId: tokens.sessionId, role: "customer" });
      expect(tokens).toMatchObject({ userId, grant: { role: "customer" } });
      expect((claims.exp as number) - (claims.iat as number)).toBe(tokens.expiresInSeconds);
      expect(tokens.expiresInSeconds).toBeLessThanOrEqual(MAX_TOKEN_SECONDS);
      expect(decodeProtectedHeader(tokens.accessToken).alg).toMatch(/^(ES256|EdDSA)$/);
    });

    it("the token of staff has the partner, also when the role is granted later", async () => {
      const partnerId = newId();
      const grant: Grant = { role: "partner", partnerId, partnerAdmin: true };
      const { tokens } = await signedIn({ grant });
      expect(callerFrom(await claimsOf(tokens.accessToken))).toMatchObject(grant);

      const later = await signedIn();
      await provider.setGrant(later.userId, grant);
      const refreshed = await provider.refresh(later.tokens.refreshToken, {});
      expect(callerFrom(await claimsOf(refreshed.accessToken))).toMatchObject(grant);
      expect(refreshed.grant).toEqual(grant);
    });

    it("a revoked role is in no later token", async () => {
      const { userId, tokens } = await signedIn({
        grant: { role: "partner", partnerId: newId(), partnerAdmin: true },
      });
      await provider.setGrant(userId, { role: "customer" });
      const refreshed = await provider.refresh(tokens.refreshToken, {});
      const caller = callerFrom(await claimsOf(refreshed.accessToken));
      expect(caller).toEqual({ id: userId, sessionId: tokens.sessionId, role: "customer" });
    });

    it("the tokens of operators and a deliverer have their roles", async () => {
      for (const role of ["admin", "finance", "support", "deliverer"] as const) {
        const { tokens } = await signedIn({ grant: { role } });
        expect(callerFrom(await claimsOf(tokens.accessToken)).role).toBe(role);
      }
    });

    it("keys returns public keys only", async () => {
      await signedIn();
      for (const key of await provider.keys()) expect(Object.keys(key)).not.toContain("d");
    });
  });

  sessionsConformance({
    account,
    signedIn,
    provider: () => provider,
    outliveGrace: (sessionId) => harness.outliveGrace(sessionId),
  });

  it("ping and maintain work at any time", async () => {
    await expect(provider.ping()).resolves.toBe(true);
    await provider.maintain();
    await provider.maintain();
  });
}
