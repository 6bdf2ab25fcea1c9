import { SignJWT } from "jose";
import { CLOCK_TOLERANCE_MS, type Clock } from "../../lib/clock.ts";
import { boundedFetch } from "../../lib/net/bounded-fetch.ts";
import { withTimeout } from "../../lib/timeout.ts";
import type { ServiceAccount } from "./fcm-account.ts";
import { NotSentError, parsedObject, withoutAnswer } from "./http.ts";

const SCOPE = "https://www.googleapis.com/auth/firebase.messaging";
const GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ASSERTION_LIVES_S = 3_600;
/** A token is not used in its last two minutes: clocks may differ, and the push takes time. */
const UNUSED_AT_THE_END_MS = 120_000;
/** Time limit of a token request. All waiting pushes share it, each with its own time limit. */
const TIMEOUT_MS = 5_000;

/**
 * Access tokens of a service account (RFC 7523): requested when needed and reused until shortly before they expire.
 * @param tokenUrl the token endpoint, which is also the assertion's audience
 */
export function accessTokens(account: ServiceAccount, tokenUrl: string, clock: Clock) {
  let current: { token: string; endsAtMs: number } | undefined;
  let asking: Promise<string> | undefined;

  async function ask(): Promise<string> {
    const answer = await requested();
    const { access_token: token, expires_in: livesS, error, error_description: why } = answer.body;
    if (answer.status !== 200 || typeof token !== "string" || typeof livesS !== "number") {
      const said = [error, why].filter((part) => typeof part === "string").join(": ");
      throw new NotSentError(`no access token: status ${answer.status} ${said}`);
    }
    current = { token, endsAtMs: clock.now() + livesS * 1_000 - UNUSED_AT_THE_END_MS };
    return token;
  }

  async function requested() {
    try {
      const assertion = await assertionOf(account, tokenUrl, clock);
      const { status, text } = await boundedFetch(tokenUrl, {
        method: "POST",
        body: new URLSearchParams({ grant_type: GRANT, assertion }),
        timeoutMs: TIMEOUT_MS,
        redirect: "error",
      });
      return { status, body: parsedObject(text) };
    } catch (error) {
      throw new NotSentError(`no access token: ${withoutAnswer(error, TIMEOUT_MS).detail}`);
    }
  }

  return {
    /**
     * @param timeoutMs how long the caller waits; a later token is cached for the next caller
     * @param refused a token that was refused before it expired
     * @throws NotSentError
     */
    async get(timeoutMs: number, refused?: string): Promise<string> {
      if (current && current.token !== refused && clock.now() < current.endsAtMs) return current.token;
      asking ??= ask().finally(() => {
        asking = undefined;
      });
      const answer = asking;
      return await withTimeout(timeoutMs, () => answer).catch((error) => {
        if (error instanceof NotSentError) throw error;
        throw new NotSentError(`no access token within ${Math.round(timeoutMs)} ms`);
      });
    },
  };
}

async function assertionOf(
  { clientEmail, privateKeyId, key }: ServiceAccount,
  audience: string,
  clock: Clock,
) {
  // Google refuses an assertion that is from the future by its own clock.
  const nowS = Math.floor((clock.now() - CLOCK_TOLERANCE_MS) / 1_000);
  return new SignJWT({ scope: SCOPE })
    .setProtectedHeader({ alg: "RS256", typ: "JWT", ...(privateKeyId && { kid: privateKeyId }) })
    .setIssuer(clientEmail)
    .setAudience(audience)
    .setIssuedAt(nowS)
    .setExpirationTime(nowS + ASSERTION_LIVES_S)
    .sign(key);
}
