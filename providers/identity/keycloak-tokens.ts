import { decodeJwt } from "jose";
import { callerFrom } from "../../contracts/claims.ts";
import type { Clock } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { userByEmail } from "./keycloak-accounts.ts";
import type { KeycloakAnswer, KeycloakCalls } from "./keycloak-calls.ts";
import { IdentityError, type IssuedTokens } from "./port.ts";

/** Keycloak's tokens of one session, as stored. */
export interface KeycloakTokens {
  accessToken: string;
  refreshToken: string;
  receivedAtMs: number;
}

const NOT_SET_UP = "Account is not fully set up";

/** @throws wrong_credentials, not_confirmed, unavailable */
export async function passwordGrant(
  calls: KeycloakCalls,
  username: string,
  password: string,
  clock: Clock,
): Promise<KeycloakTokens> {
  const answer = await calls.token({ grant_type: "password", username, password });
  if (answer.status === 200) return tokensFrom(answer, clock);
  if (!isRefused(answer)) throw new IdentityError("unavailable");
  const { error_description: reason } = answer.body as { error_description?: string };
  if (reason !== NOT_SET_UP) throw new IdentityError("wrong_credentials");
  // The password is right; the address is unconfirmed, or Keycloak requires another action.
  const user = await userByEmail(calls, username);
  throw new IdentityError(user?.emailVerified === false ? "not_confirmed" : "wrong_credentials");
}

/** @returns undefined when the session has ended. @throws unavailable */
export async function refreshGrant(
  calls: KeycloakCalls,
  refreshToken: string,
  clock: Clock,
): Promise<KeycloakTokens | undefined> {
  const answer = await calls.token({ grant_type: "refresh_token", refresh_token: refreshToken });
  if (answer.status === 200) return tokensFrom(answer, clock);
  if (isRefused(answer)) return undefined;
  throw new IdentityError("unavailable");
}

/**
 * The tokens for the client: Keycloak's access token and our refresh token.
 * @param nowMs the time of a repeated answer, which shortens the remaining lifetime
 */
export function issued(
  { accessToken, receivedAtMs }: KeycloakTokens,
  refreshToken: string,
  nowMs: number = receivedAtMs,
): IssuedTokens {
  const claims = decodeJwt(accessToken);
  const { id: userId, sessionId, role, partnerId, partnerAdmin } = callerFrom(claims);
  const staff = partnerId && { partnerId, partnerAdmin: partnerAdmin ?? false };
  const lifeSeconds = (claims.exp ?? 0) - (claims.iat ?? 0);
  const expiresInSeconds = Math.max(1, lifeSeconds - Math.floor((nowMs - receivedAtMs) / 1_000));
  return { userId, sessionId, grant: { role, ...staff }, accessToken, refreshToken, expiresInSeconds };
}

/** Keycloak's own id of the session, which its admin API requires. */
export function keycloakSessionId({ accessToken }: KeycloakTokens): string {
  return String(decodeJwt(accessToken).sid);
}

/** An address that cannot exist. Checking a password for it takes as long as for another. */
export function nobody(): string {
  return `${newId()}@waybill.invalid`;
}

function tokensFrom({ body }: KeycloakAnswer, clock: Clock): KeycloakTokens {
  const { access_token, refresh_token } = body as Record<string, unknown>;
  return {
    accessToken: String(access_token),
    refreshToken: String(refresh_token),
    receivedAtMs: clock.now(),
  };
}

/** Whether Keycloak refuses the user, not our client. */
function isRefused({ body }: KeycloakAnswer): boolean {
  return (body as { error?: string } | undefined)?.error === "invalid_grant";
}
