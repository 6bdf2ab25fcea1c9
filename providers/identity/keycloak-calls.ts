import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { type BoundedAnswer, boundedFetch } from "../../lib/net/bounded-fetch.ts";
import { withTimeout } from "../../lib/timeout.ts";
import { IdentityError } from "./port.ts";

/** The service account's token is renewed so long before it expires. */
const TOKEN_MARGIN_MS = 30_000;
/** Time limit of one request. The limit of the operation is usually shorter. */
const REQUEST_TIMEOUT_MS = 5_000;
const REPEATS = 2;
const REPEAT_AFTER_MS = [20, 120] as const;
/** The scope that Keycloak's admin API requires. Users' tokens never have it. */
const ADMIN_SCOPE = "roles";

export interface KeycloakServer {
  /** The URL of Keycloak for Waybill. */
  url: string;
  realm: string;
  clientId: string;
  clientSecret: string;
}

export interface KeycloakAnswer {
  status: number;
  /** The parsed JSON; undefined when there is none. */
  body: unknown;
  location: string | undefined;
}

/** The calls of one operation, which share one deadline. All throw `unavailable` without an answer. */
export interface KeycloakCalls {
  /** Requests a grant at the token endpoint as Waybill's client. @returns also refusals: 400 and 401 */
  token(form: Record<string, string>): Promise<KeycloakAnswer>;
  /** Ends the session that a refresh token belongs to. */
  logOut(refreshToken: string): Promise<void>;
  /** Calls the realm's admin API. @returns also 400, 404 and 409 */
  admin(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: object): Promise<KeycloakAnswer>;
  /** Reads a public document of the realm. */
  published(path: string): Promise<unknown>;
}

export interface KeycloakOptions extends KeycloakServer {
  clock?: Clock;
  /** Time limit of one operation with all its calls. The gateway waits 1.8 s. */
  budgetMs: number;
}

/** Returns a function that starts an operation. All operations share the service account's token. */
export function keycloakCalls(options: KeycloakOptions): () => KeycloakCalls {
  const { url, realm, clientId, clientSecret, clock = systemClock, budgetMs } = options;
  const root = url.replace(/(?<!\/)\/+$/, "");
  const realmUrl = `${root}/realms/${encodeURIComponent(realm)}`;
  const adminUrl = `${root}/admin/realms/${encodeURIComponent(realm)}`;
  const basic = Buffer.from(`${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`);
  const asClient = { authorization: `Basic ${basic.toString("base64")}` };
  let account: { token: Promise<string>; untilMs: number } | undefined;

  async function fetchToken(calls: KeycloakCalls): Promise<{ token: string; untilMs: number }> {
    const askedMs = clock.now();
    const { status, body } = await calls.token({ grant_type: "client_credentials", scope: ADMIN_SCOPE });
    const { access_token: token, expires_in: seconds = 0 } = (body ?? {}) as {
      access_token?: string;
      expires_in?: number;
    };
    if (status !== 200 || !token) {
      throw unavailable(`Keycloak refuses the client ${clientId}: check KEYCLOAK_CLIENT_SECRET`);
    }
    return { token, untilMs: askedMs + seconds * 1_000 - TOKEN_MARGIN_MS };
  }

  /** Concurrent callers share one token request. */
  function accountToken(calls: KeycloakCalls): Promise<string> {
    if (account && account.untilMs > clock.now()) return account.token;
    const asking = fetchToken(calls);
    const fresh = { token: asking.then(({ token }) => token), untilMs: Number.POSITIVE_INFINITY };
    account = fresh;
    asking.then(
      ({ untilMs }) => {
        fresh.untilMs = untilMs;
      },
      () => {
        if (account === fresh) account = undefined;
      },
    );
    return fresh.token;
  }

  return () => {
    const endsAtMs = performance.now() + budgetMs;
    const send = (target: string, init: RequestInit) =>
      withTimeout(endsAtMs - performance.now(), (signal) => answerOf(target, init, signal)).catch((error) => {
        throw error instanceof IdentityError ? error : unavailable("Keycloak does not answer");
      });
    const post = (path: string, form: Record<string, string>) =>
      send(`${realmUrl}/protocol/openid-connect/${path}`, {
        method: "POST",
        headers: asClient,
        body: new URLSearchParams(form),
      });

    const calls: KeycloakCalls = {
      token: (form) => post("token", form),
      async logOut(refreshToken) {
        await post("logout", { refresh_token: refreshToken });
      },
      async admin(method, path, body) {
        const attempt = async () => {
          const headers = { authorization: `Bearer ${await accountToken(calls)}` };
          const json = body && { body: JSON.stringify(body) };
          const type = body && { "content-type": "application/json" };
          return send(`${adminUrl}${path}`, { method, headers: { ...headers, ...type }, ...json });
        };
        const first = await attempt();
        if (first.status !== 401) return refuseForbidden(first);
        account = undefined; // Keycloak was restarted or its keys changed: the call had no effect
        return refuseForbidden(await attempt());
      },
      async published(path) {
        const { status, body } = await send(`${realmUrl}${path}`, {});
        if (status !== 200) throw new IdentityError("unavailable");
        return body;
      },
    };
    return calls;
  };
}

/** Missing rights are a mistake of the installation, never of the user. */
function refuseForbidden(answer: KeycloakAnswer): KeycloakAnswer {
  if (answer.status === 401 || answer.status === 403) {
    throw unavailable("Keycloak's admin API refuses the service account: see deploy/keycloak/README.md");
  }
  return answer;
}

function unavailable(detail: string): IdentityError {
  return new IdentityError("unavailable", undefined, detail);
}

/**
 * Sends one request and repeats it if it is idempotent: after a broken connection, and after a 500, which Keycloak
 * answers when two requests change an account at the same moment.
 */
async function answerOf(url: string, init: RequestInit, signal: AbortSignal): Promise<KeycloakAnswer> {
  for (let triesLeft = init.method === "POST" ? 0 : REPEATS; ; triesLeft--) {
    try {
      return await request(url, init, signal);
    } catch (error) {
      if (triesLeft === 0 || signal.aborted) throw error;
    }
    await delay(randomInt(...REPEAT_AFTER_MS));
  }
}

async function request(url: string, init: RequestInit, signal: AbortSignal): Promise<KeycloakAnswer> {
  const answer: BoundedAnswer = await boundedFetch(url, { ...init, signal, timeoutMs: REQUEST_TIMEOUT_MS });
  const { status, text } = answer;
  if (status >= 500 || status === 429 || (status >= 300 && status < 400)) {
    throw unavailable(`Keycloak answers ${status}`);
  }
  const isJson = answer.headers.get("content-type")?.includes("json") && text.length > 0;
  const location = answer.headers.get("location") ?? undefined;
  try {
    return { status, body: isJson ? JSON.parse(text) : undefined, location };
  } catch {
    throw new IdentityError("unavailable");
  }
}
