import type { Settings } from "./settings.ts";

/**
 * The issuer (`iss`) of access tokens that every service accepts: the Keycloak realm if KEYCLOAK_URL is set, else Waybill
 * itself. Never both, so users must sign in again after a change from one to the other.
 */
export function tokenIssuer(
  settings: Pick<Settings, "PUBLIC_URL" | "KEYCLOAK_URL" | "KEYCLOAK_REALM" | "KEYCLOAK_ISSUER">,
): string {
  const { PUBLIC_URL, KEYCLOAK_URL: url, KEYCLOAK_REALM: realm, KEYCLOAK_ISSUER: issuer } = settings;
  if (!url) return PUBLIC_URL;
  return issuer || `${url.replace(/(?<!\/)\/+$/, "")}/realms/${encodeURIComponent(realm)}`;
}
