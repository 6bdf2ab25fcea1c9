import { describe, expect, it } from "@jest/globals";
import { decodeProtectedHeader } from "jose";
import { newId } from "../../lib/ids.ts";
import { Database } from "../../lib/sql/database.ts";
import { identityConformance } from "../../providers/identity/conformance.ts";
import { type BuiltInProvider, builtInProvider } from "../../providers/identity/index.ts";
import { providerSql } from "../../services/identity/dependencies.ts";
import { ACQUIRE_TIMEOUT_MS, createDatabase } from "../support/postgres.ts";

/** The same algorithm at a cost that tests can bear. */
const passwordCost = { memoryKiB: 64, passes: 1 };
const encryptionKeys = { secret: "seal-secret-of-the-tests-0123456789ab" };
const names = { issuer: "http://waybill.test", audience: "waybill" };
const PASSWORD = "Blaubeere-Teppich-91";

async function start() {
  const database = await createDatabase("identity");
  const pool = new Database({
    url: database.url,
    poolSize: 10,
    acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
    applicationName: "identity contract",
  });
  const open = (more: object = {}) =>
    builtInProvider({ sql: providerSql(() => pool), encryptionKeys, ...names, passwordCost, ...more });
  return {
    ...names,
    pool,
    open,
    provider: open(),
    async outliveGrace(sessionId: string) {
      await pool.query("UPDATE sessions SET rotated_at = rotated_at - interval '11 seconds' WHERE id = ?", [
        sessionId,
      ]);
    },
    async stop() {
      await pool.close();
      await database.drop();
    },
  };
}

describe("the built-in identity provider", () => {
  identityConformance(start);

  describe("on its own database", () => {
    const grant = { role: "customer" } as const;
    async function onFresh<T>(work: (bench: Awaited<ReturnType<typeof start>>) => Promise<T>): Promise<T> {
      const bench = await start();
      try {
        return await work(bench);
      } finally {
        await bench.stop();
      }
    }
    async function signIn(provider: BuiltInProvider) {
      const email = `user-${newId()}@example.org`;
      await provider.register({ email, password: PASSWORD, confirmed: true, grant });
      return {
        email,
        tokens: await provider.signIn(email, PASSWORD, { ip: "192.0.2.1", userAgent: "Phone" }),
      };
    }
    const kidOf = (token: string) => decodeProtectedHeader(token).kid as string;
    const age = (pool: Database, table: string, interval: string) =>
      pool.query(`UPDATE ${table} SET created_at = created_at - interval '${interval}'`);

    it("a new signing key is published at once, and signs after every verifier has it", () =>
      onFresh(async ({ pool, open }) => {
        const first = kidOf((await signIn(open())).tokens.accessToken);
        await age(pool, "signing_keys", "1 hour");
        await open().rotateKeys();
        const kids = (await open().keys()).map(({ kid }) => kid);
        expect(kids).toHaveLength(2);
        expect(kidOf((await signIn(open())).tokens.accessToken)).toBe(first);
        await age(pool, "signing_keys", "20 minutes");
        expect(kidOf((await signIn(open())).tokens.accessToken)).toBe(kids.find((kid) => kid !== first));
      }));

    it("maintain replaces the key after a month and deletes the old one a day later", () =>
      onFresh(async ({ pool, open }) => {
        const [first] = await open().keys();
        await open().maintain();
        expect(await open().keys()).toHaveLength(1);
        await age(pool, "signing_keys", "31 days");
        await Promise.all([open().maintain(), open().maintain()]);
        expect(await open().keys()).toHaveLength(2);
        await age(pool, "signing_keys", "25 hours");
        await open().maintain();
        const left = await open().keys();
        expect(left).toHaveLength(1);
        expect(left[0]?.kid).not.toBe(first?.kid);
      }));

    it("several replicas, at the first start, agree on one key", () =>
      onFresh(async ({ open }) => {
        const sets = await Promise.all(Array.from({ length: 5 }, () => open().keys()));
        expect(new Set(sets.flat().map(({ kid }) => kid)).size).toBe(1);
      }));

    it("with a replaced SEAL_SECRET, keys and refresh tokens stay valid; with a lost one, new keys are created", () =>
      onFresh(async ({ open }) => {
        const { email, tokens } = await signIn(open());
        const replaced = {
          secret: "a-new-seal-secret-0123456789-abcdef",
          previousSecret: encryptionKeys.secret,
        };
        const next = await open({ encryptionKeys: replaced }).refresh(tokens.refreshToken, {});
        expect(kidOf(next.accessToken)).toBe(kidOf(tokens.accessToken));
        const lost = open({ encryptionKeys: { secret: "yet-another-secret-0123456789-abcdef" } });
        await expect(lost.refresh(next.refreshToken, {})).rejects.toMatchObject({ kind: "token_invalid" });
        const again = await lost.signIn(email, PASSWORD, {});
        expect(kidOf(again.accessToken)).not.toBe(kidOf(tokens.accessToken));
      }));

    it("no table contains a password, refresh token or private key in plain text", () =>
      onFresh(async ({ pool, open }) => {
        const { tokens } = await signIn(open());
        const next = await open().refresh(tokens.refreshToken, {});
        const dump = JSON.stringify([
          (await pool.query("SELECT * FROM accounts")).rows,
          (await pool.query("SELECT * FROM sessions")).rows,
          (await pool.query("SELECT * FROM signing_keys")).rows,
        ]);
        for (const secret of [PASSWORD, next.refreshToken.split(".")[2], "PRIVATE KEY", '"d":']) {
          expect(dump).not.toContain(secret);
        }
        expect(dump).toContain("$argon2id$v=19$m=64,t=1,p=1$");
      }));

    it("a password hashed with an outdated cost is hashed again at the next sign-in", () =>
      onFresh(async ({ pool, open }) => {
        const { email } = await signIn(open());
        const dearer = open({ passwordCost: { memoryKiB: 128, passes: 2 } });
        await dearer.signIn(email, PASSWORD, {});
        const [account] = (await pool.query("SELECT password_hash FROM accounts")).rows;
        expect(account.password_hash).toMatch(/^\$argon2id\$v=19\$m=128,t=2,p=1\$/);
        await expect(dearer.signIn(email, PASSWORD, {})).resolves.toBeDefined();
      }));

    it("an account keeps its fifty newest sessions", () =>
      onFresh(async ({ open }) => {
        const provider = open();
        const { email, tokens } = await signIn(provider);
        for (let count = 0; count < 50; count++) await provider.signIn(email, PASSWORD, {});
        expect(await provider.sessions(tokens.userId)).toHaveLength(50);
        await expect(provider.refresh(tokens.refreshToken, {})).rejects.toMatchObject({
          kind: "session_ended",
        });
      }));

    it("a session ends after a month without use, and after half a year at the latest", () =>
      onFresh(async ({ pool, open }) => {
        const provider = open();
        const idle = (await signIn(provider)).tokens;
        await pool.query("UPDATE sessions SET expires_at = expires_at - interval '31 days'");
        await expect(provider.refresh(idle.refreshToken, {})).rejects.toMatchObject({
          kind: "session_ended",
        });
        const busy = (await signIn(provider)).tokens;
        await pool.query("UPDATE sessions SET created_at = created_at - interval '179 days 23 hours'");
        const next = await provider.refresh(busy.refreshToken, {});
        await pool.query("UPDATE sessions SET expires_at = expires_at - interval '2 hours'");
        await expect(provider.refresh(next.refreshToken, {})).rejects.toMatchObject({
          kind: "session_ended",
        });
      }));
  });
});
