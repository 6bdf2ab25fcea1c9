import createClient, { type Client, type Middleware } from "openapi-fetch";
import { type components, keyed, type paths } from "./api.ts";
import { ApiError, apiErrorOf } from "./error.ts";
import { patientFetch } from "./patience.ts";

export { ApiError } from "./error.ts";
/** What the API calls by name: `Schemas["Order"]`. */
export type Schemas = components["schemas"];

const BASE_PATH = "/api/v1";
const TIMEOUT_MS = 10_000;
const TRIES = 3;
/** A token is exchanged this long before it ends. */
const RENEW_BEFORE_MS = 60_000;

export interface WaybillOptions {
  /** Where the platform is: `https://delivery.example.org`. */
  url: string;
  /** How long one request may take; 10 s unless told otherwise. */
  timeoutMs?: number;
  /** How often a request that may be repeated is sent at most, while the platform is busy; 3 unless told otherwise. */
  tries?: number;
  fetch?: (request: Request) => Promise<Response>;
}

/** The two tokens of a session, and when the first of them ends. */
export interface SessionTokens {
  accessToken: string;
  refreshToken: string;
  /** In milliseconds of Unix time. */
  endsAtMs: number;
}

/**
 * `api.GET("/products", { params: { query: { q: "soup" } } })` and so on, for every operation. Whoever is signed
 * in sends a token that is still good; a POST that may be repeated carries its Idempotency-Key. Every refusal is
 * thrown as ApiError.
 */
export interface Waybill extends Client<paths> {
  /** @throws ApiError with code `invalid_credentials` and others */
  signIn(credentials: { email: string; password: string }): Promise<SessionTokens>;
  /** Goes on with the tokens of an earlier session; without any, as nobody. */
  signedInWith(tokens: SessionTokens | undefined): void;
  /** Is told the new tokens whenever they were exchanged, so that they can be kept. */
  onTokens(listener: (tokens: SessionTokens) => void): void;
}

export function waybill(options: WaybillOptions): Waybill {
  const { url, timeoutMs = TIMEOUT_MS, tries = TRIES, fetch = globalThis.fetch } = options;
  const api = createClient<paths>({
    baseUrl: `${url}${BASE_PATH}`,
    fetch: patientFetch(fetch, { timeoutMs, tries }),
  });
  const listeners: ((tokens: SessionTokens) => void)[] = [];
  let tokens: SessionTokens | undefined;
  let renewing: Promise<void> | undefined;

  const take = (answer: Schemas["Tokens"]): SessionTokens => {
    tokens = sessionOf(answer);
    for (const listener of listeners) listener(tokens);
    return tokens;
  };
  const renew = async (refreshToken: string) => {
    take(await answered(api.POST("/sessions/refresh", { body: { refresh_token: refreshToken } })));
  };
  const session: Middleware = {
    async onRequest({ request, schemaPath }) {
      if (schemaPath.startsWith("/sessions") && request.method === "POST") return;
      if (tokens && Date.now() > tokens.endsAtMs - RENEW_BEFORE_MS) {
        // Several requests wait for the one exchange: an old refresh token that comes twice ends the session.
        renewing ??= renew(tokens.refreshToken).finally(() => {
          renewing = undefined;
        });
        await renewing;
      }
      if (tokens) request.headers.set("Authorization", `Bearer ${tokens.accessToken}`);
    },
  };
  const once: Middleware = {
    onRequest({ request, schemaPath }) {
      if (request.method !== "POST" || !keyed.includes(schemaPath)) return;
      if (!request.headers.has("Idempotency-Key"))
        request.headers.set("Idempotency-Key", crypto.randomUUID());
    },
  };
  const refusals: Middleware = {
    async onResponse({ request, response }) {
      if (!response.ok && response.status !== 304) throw await apiErrorOf(request, response);
    },
  };
  api.use(session, once, refusals);

  return Object.assign(api, {
    async signIn({ email, password }: { email: string; password: string }) {
      return take(await answered(api.POST("/sessions", { body: { email, password } })));
    },
    signedInWith(known: SessionTokens | undefined) {
      tokens = known;
    },
    onTokens(listener: (tokens: SessionTokens) => void) {
      listeners.push(listener);
    },
  });
}

/** The tokens of a sign-in that was answered just now. */
export function sessionOf({
  access_token: accessToken,
  refresh_token: refreshToken,
  expires_in_seconds: seconds,
}: Schemas["Tokens"]): SessionTokens {
  return { accessToken, refreshToken, endsAtMs: Date.now() + seconds * 1000 };
}

/** What an operation answered. @throws ApiError */
export async function answered<T>(exchange: Promise<{ data?: T; response: Response }>): Promise<T> {
  const { data, response } = await exchange;
  // Operations that answer 204 have nothing to say, and their type says so too.
  if (data === undefined && response.status !== 204) throw new ApiError(response.status, {});
  return data as T;
}
