import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { decodeProtectedHeader, type JWK } from "jose";
import { newId } from "../../lib/ids.ts";
import type { Database } from "../../lib/sql/database.ts";
import { tokenVerifier } from "../../mixins/caller/token-verifier.ts";
import { builtInProvider } from "../../providers/identity/index.ts";
import { providerSql } from "../../services/identity/dependencies.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

const PASSWORD = "Blaubeere-Teppich-91";
const names = { issuer: "http://waybill.test", audience: "waybill" };
const passwordCost = { memoryKiB: 64, passes: 1 };
const STEP_SECONDS = 60;
const TOKEN_SECONDS = 600;

let database: TestDatabase;
let pool: Database;
beforeAll(async () => {
  database = await createDatabase("identity");
  pool = openPool(database, 10);
});
afterAll(async () => {
  await pool?.close();
  await database?.drop();
});

/**
 * Time for two replicas of identity and two nodes that verify: their clocks go on, and what the database has written
 * grows older by as much.
 */
function timeline(clocks: { offsetMs: number }[]) {
  return async (seconds: number) => {
    for (const clock of clocks) clock.offsetMs += seconds * 1_000;
    await pool.query("UPDATE signing_keys SET created_at = created_at - ? * interval '1 second'", [seconds]);
  };
}

describe("keys that change while two replicas sign and two nodes verify", () => {
  it("end no session: each token is valid at both nodes from its issue to its end", async () => {
    const time = { offsetMs: 0 };
    const clock = { now: () => Date.now() + time.offsetMs };
    const pass = timeline([time]);
    const replica = (secret = "seal-secret-of-the-tests-0123456789ab", previousSecret?: string) =>
      builtInProvider({
        sql: providerSql(() => pool),
        encryptionKeys: { secret, ...(previousSecret && { previousSecret }) },
        ...names,
        passwordCost,
        clock,
      });
    const replicas = [replica(), replica()];
    const email = `user-${newId()}@example.org`;
    await replicas[0]?.register({ email, password: PASSWORD, confirmed: true, grant: { role: "customer" } });
    // Each node asks another replica, as it comes.
    const nodes = [0, 1].map((index) =>
      tokenVerifier({
        ...names,
        clock,
        maxVerified: 1, // so that nearly every look is a real verification
        jwks: async () => ((await replicas[index]?.keys()) ?? []) as unknown as JWK[],
      }),
    );
    const live: { token: string; untilMs: number }[] = [];
    const signers = new Set<string>();
    const sizes = new Set<number>();

    const minute = async () => {
      for (const one of replicas) {
        const { accessToken: token } = await one.signIn(email, PASSWORD, {});
        live.push({ token, untilMs: clock.now() + TOKEN_SECONDS * 1_000 - 2_000 });
        signers.add(decodeProtectedHeader(token).kid as string);
        sizes.add((await one.keys()).length);
      }
      while (live[0] && live[0].untilMs <= clock.now()) live.shift();
      for (const { token } of live) {
        for (const node of nodes)
          await expect(node.verify(token)).resolves.toMatchObject({ role: "customer" });
      }
      await pass(STEP_SECONDS);
    };
    for (let count = 0; count < 3; count++) await minute();
    await replicas[0]?.rotateKeys();
    for (let count = 0; count < 30; count++) await minute();

    expect(signers.size).toBe(2);
    expect(sizes).toEqual(new Set([1, 2]));
    const last = decodeProtectedHeader(live.at(-1)?.token as string).kid;
    expect(live.every(({ token }) => decodeProtectedHeader(token).kid === last)).toBe(true);

    // A day later the former key is gone from the set; the tokens that it signed ended long before.
    await pass(25 * 3_600);
    await Promise.all(replicas.map((one) => one.maintain()));
    await pass(STEP_SECONDS + 1);
    for (const one of replicas) expect((await one.keys()).map(({ kid }) => kid)).toEqual([last]);

    // A key that leaked is taken out of the table: within minutes nothing that it signs is believed.
    const stolen = live.at(-1)?.token as string;
    await pool.query("DELETE FROM signing_keys");
    await pass(STEP_SECONDS + 1);
    const fresh = (await replicas[0]?.signIn(email, PASSWORD, {}))?.accessToken as string;
    for (const node of nodes) {
      await expect(node.verify(fresh)).resolves.toMatchObject({ role: "customer" });
      await expect(node.verify(stolen)).rejects.toMatchObject({ type: "UNAUTHENTICATED" });
    }
  });
});
