import { readFileSync } from "node:fs";
import { type KeycloakServer, keycloakAdminToken } from "../servers/keycloak.ts";

const REALM = "waybill";
const CLIENT_ID = "waybill";
const REALM_FILE = new URL("../../deploy/keycloak/waybill-realm.json", import.meta.url);

/** A machine that runs many servers at once is slow: most tests are not about how fast they are. */
export const PATIENT_MS = 20_000;

/** How the settings name this server; the secret is the one that the import was given. */
export function keycloakSettings({ url, clientSecret }: Pick<KeycloakServer, "url" | "clientSecret">) {
  return {
    KEYCLOAK_URL: url,
    KEYCLOAK_REALM: REALM,
    KEYCLOAK_CLIENT_ID: CLIENT_ID,
    KEYCLOAK_CLIENT_SECRET: clientSecret,
    KEYCLOAK_TIMEOUT_MS: PATIENT_MS,
  };
}

/** The options of the provider. */
export function keycloakOptions(
  { url, clientSecret }: Pick<KeycloakServer, "url" | "clientSecret">,
  realm: string = REALM,
) {
  const names = { realm, clientId: CLIENT_ID, issuer: `${url}/realms/${realm}` };
  return { url, ...names, clientSecret, budgetMs: PATIENT_MS };
}

/** A realm like Waybill's for one test, which may do to it what the others would suffer from. */
export async function importRealm(server: KeycloakServer, realm: string): Promise<void> {
  const text = readFileSync(REALM_FILE, "utf8")
    .replaceAll(/\$\{KEYCLOAK_CLIENT_ID:[^}]*\}/g, CLIENT_ID)
    .replaceAll(/\$\{KEYCLOAK_CLIENT_SECRET\}/g, server.clientSecret);
  const { url, adminUser, adminPassword } = server;
  const answer = await fetch(`${url}/admin/realms`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${await keycloakAdminToken(url, adminUser, adminPassword)}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({ ...JSON.parse(text), realm }),
  });
  if (!answer.ok) throw new Error(`the realm is not imported: ${answer.status} ${await answer.text()}`);
}

/** An operator's changes in Keycloak's own console. */
export function keycloakConsole({ url, adminUser, adminPassword }: KeycloakServer, realm: string = REALM) {
  async function send(method: string, path: string, body?: object) {
    const token = await keycloakAdminToken(url, adminUser, adminPassword); // it lives for a minute
    const answer = await fetch(`${url}/admin/realms/${realm}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body && { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    const text = await answer.text();
    return { location: answer.headers.get("location"), body: text ? JSON.parse(text) : undefined };
  }
  return {
    send,
    /** @returns the new user's id */
    async addUser(user: { email: string; password: string } & Record<string, unknown>): Promise<string> {
      const { email, password, ...more } = user;
      const { location } = await send("POST", "/users", {
        username: email,
        email,
        enabled: true,
        emailVerified: true,
        credentials: [{ type: "password", value: password, temporary: false }],
        ...more,
      });
      return location?.split("/").at(-1) as string;
    },
    async change(userId: string, changes: object): Promise<void> {
      const { body } = await send("GET", `/users/${userId}`);
      await send("PUT", `/users/${userId}`, { ...body, ...changes });
    },
  };
}
