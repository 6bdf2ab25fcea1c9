import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { callerFrom } from "../../contracts/claims.ts";
import { isId, newId } from "../../lib/ids.ts";
import type { Database } from "../../lib/sql/database.ts";
import { type IdentityProvider, keycloakProvider } from "../../providers/identity/index.ts";
import { providerSql } from "../../services/identity/dependencies.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";
import { testIdentity } from "../support/tokens.ts";

const tokens = testIdentity();
const userId = newId();
/** The sessions that the server keeps, by the ids that it gave them. */
const open = new Set<string>();
let nextSession = "";

/** Answers as Keycloak does, which knows its sessions by its own ids only. */
async function answerTo(
  method: string,
  path: string,
  form: URLSearchParams,
): Promise<{ status: number; body?: unknown }> {
  const name = path.split("/").at(-1) ?? "";
  if (name === "openid-configuration") return { status: 200, body: { issuer: tokens.issuer } };
  if (name === "token") {
    if (form.get("grant_type") === "password") open.add(nextSession);
    const access_token = await tokens.token({ id: userId, sessionId: nextSession });
    return { status: 200, body: { access_token, refresh_token: "refresh", expires_in: 600 } };
  }
  if (method === "DELETE") return { status: open.delete(decodeURIComponent(name)) ? 204 : 404 };
  return { status: 200, body: [...open].map((id) => ({ id })) };
}

let database: TestDatabase;
let pool: Database;
let server: Server;
let provider: IdentityProvider;
beforeAll(async () => {
  database = await createDatabase("identity");
  pool = openPool(database, 5);
  server = createServer(async (request, response) => {
    const { method = "", url = "" } = request;
    const { status, body } = await answerTo(method, url, new URLSearchParams(await text(request)));
    response.writeHead(status, { "content-type": "application/json" });
    response.end(body === undefined ? "" : JSON.stringify(body));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  provider = keycloakProvider({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    realm: "waybill",
    clientId: "waybill",
    clientSecret: "secret",
    budgetMs: 20_000,
    issuer: tokens.issuer,
    encryptionKeys: { secret: "seal-secret-of-the-tests-0123456789ab" },
    sql: providerSql(() => pool),
  });
});
afterAll(async () => {
  await pool?.close();
  await database?.drop();
  await new Promise((closed) => server?.close(closed));
});

async function signedIn(sid: string) {
  nextSession = sid;
  return provider.signIn("ana@example.org", "Blaubeere-Teppich-91", {});
}

describe.each([
  ["a UUID, as Keycloak 26.4 sends", newId],
  [
    "24 characters of base64, as Keycloak 26.5 and later send",
    () => newId().slice(-10).concat("_-aB/+9xYz0123"),
  ],
  ["a longer text of other characters", () => `${newId()}:${"ä%2F ?".repeat(20)}`],
])("a session whose sid is %s", (_name, newSid) => {
  it("has one id of ours, in the caller on each node", async () => {
    const { accessToken, sessionId } = await signedIn(newSid());
    expect(isId(sessionId)).toBe(true);
    const claims = JSON.parse(Buffer.from(accessToken.split(".")[1] as string, "base64url").toString());
    expect(callerFrom(claims)).toMatchObject({ id: userId, sessionId });
    expect((await provider.sessions(userId)).map(({ id }) => id)).toContain(sessionId);
  });

  it("after its end, is closed at Keycloak", async () => {
    const sid = newSid();
    const { sessionId } = await signedIn(sid);
    await expect(provider.endSession(userId, sessionId)).resolves.toBe(true);
    expect(open).not.toContain(sid);
  });

  it("stays open when all others end", async () => {
    const [kept, other] = [newSid(), newSid()];
    const { sessionId } = await signedIn(kept);
    const { sessionId: ended } = await signedIn(other);
    expect(await provider.endSessions(userId, sessionId)).toContain(ended);
    expect([...open]).toEqual([kept]);
  });
});

it("a session that the former release stored without Keycloak's id is closed at Keycloak by the sweep", async () => {
  const sid = newId();
  const { sessionId } = await signedIn(sid);
  await pool.query("UPDATE keycloak_sessions SET keycloak_id = NULL, ended_at = now() WHERE id = ?", [
    sessionId,
  ]);
  await provider.maintain();
  expect(open).not.toContain(sid);
});
