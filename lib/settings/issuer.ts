import type { Settings } from "./settings.ts";

/**
 * The `iss` of the access tokens that every service accepts: Keycloak's realm where there is a Keycloak, else
 * Waybill itself. Never both: who has changed from one to the other signs in anew.
 */
export function tokenIssuer(
  settings: Pick<Settings, "PUBLIC_URL" | "KEYCLOAK_URL" | "KEYCLOAK_REALM" | "KEYCLOAK_ISSUER">,
): string {
  const { PUBLIC_URL, KEYCLOAK_URL: url, KEYCLOAK_REALM: realm, KEYCLOAK_ISSUER: named } = settings;
  if (!url) return PUBLIC_URL;
  return named || `${url.replace(/(?<!\/)\/+$/, "")}/realms/${encodeURIComponent(realm)}`;
}
