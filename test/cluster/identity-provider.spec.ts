import { describe } from "@jest/globals";
import { Database } from "../../lib/sql/database.ts";
import { identityConformance } from "../../providers/identity/conformance.ts";
import { keycloakProvider } from "../../providers/identity/index.ts";
import { providerSql } from "../../services/identity/dependencies.ts";
import { sharedKeycloak } from "../servers/keycloak.ts";
import { keycloakOptions } from "../support/keycloak.ts";
import { ACQUIRE_TIMEOUT_MS, createDatabase } from "../support/postgres.ts";

const encryptionKeys = { secret: "seal-secret-of-the-tests-0123456789ab" };

async function start() {
  const [server, database] = await Promise.all([sharedKeycloak(), createDatabase("identity")]);
  const pool = new Database({
    url: database.url,
    poolSize: 10,
    acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
    applicationName: "identity contract",
  });
  const options = keycloakOptions(server);
  return {
    issuer: options.issuer,
    audience: "waybill",
    provider: keycloakProvider({ ...options, sql: providerSql(() => pool), encryptionKeys }),
    async outliveGrace(sessionId: string) {
      await pool.query(
        "UPDATE keycloak_sessions SET rotated_at = rotated_at - interval '11 seconds' WHERE id = ?",
        [sessionId],
      );
    },
    async stop() {
      await pool.close();
      await database.drop();
      await server.stop();
    },
  };
}

describe("the Keycloak identity provider", () => {
  identityConformance(start);
});
