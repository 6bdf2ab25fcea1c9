import type { Clock } from "../../../lib/clock.ts";
import { tokenIssuer } from "../../../lib/settings/issuer.ts";
import type { Settings } from "../../../lib/settings/settings.ts";
import { AUDIENCE } from "../../../mixins/caller/token-verifier.ts";
import {
  builtInProvider,
  type IdentityProvider,
  keycloakProvider,
  type Sql,
} from "../../../providers/identity/index.ts";

/** The identity provider: Keycloak if the settings name one, otherwise the built-in one in the service's database. */
export function providerOf(config: Settings, clock: Clock): (sql: Sql) => IdentityProvider {
  const encryptionKeys = { secret: config.SEAL_SECRET, previousSecret: config.SEAL_SECRET_PREVIOUS };
  const issuer = tokenIssuer(config);
  if (!config.KEYCLOAK_URL) {
    return (sql) => builtInProvider({ sql, encryptionKeys, issuer, audience: AUDIENCE, clock });
  }
  const server = {
    url: config.KEYCLOAK_URL,
    realm: config.KEYCLOAK_REALM,
    clientId: config.KEYCLOAK_CLIENT_ID,
    budgetMs: config.KEYCLOAK_TIMEOUT_MS,
    clientSecret: config.KEYCLOAK_CLIENT_SECRET ?? "", // lib/settings/required-settings.ts requires it
  };
  return (sql) => keycloakProvider({ ...server, sql, encryptionKeys, issuer, clock });
}
