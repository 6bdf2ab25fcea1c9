import { setTimeout as delay } from "node:timers/promises";

const TIMEOUT_MS = 10_000;
/** A platform that has just started may be busy: what it could not do is asked for again. */
const BUSY_TRIES = 30;
const BUSY_WAIT_MS = 300;
/** A token is exchanged this long before it ends. */
const RENEW_BEFORE_MS = 60_000;

/** A problem document of the API (RFC 9457), or its lack. */
export class ApiError extends Error {
  /** 0: no answer at all. */
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export interface ApiRequest {
  token?: string;
  body?: unknown;
  /** For mutating POSTs: a repeat with the same key is answered the same. */
  idempotencyKey?: string;
  headers?: Record<string, string>;
}

export interface ApiAnswer<T> {
  status: number;
  body: T;
  headers: Headers;
}

/** One exchange with the public API, for programs outside the platform. @throws ApiError for all but 2xx */
export async function request<T = unknown>(
  apiUrl: string,
  method: string,
  path: string,
  { token, body, idempotencyKey, headers }: ApiRequest = {},
): Promise<ApiAnswer<T>> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${apiUrl}/api/v1${path}`, {
      method,
      headers: {
        accept: "application/json",
        ...(body !== undefined && { "content-type": "application/json" }),
        ...(token && { authorization: `Bearer ${token}` }),
        ...(idempotencyKey && { "idempotency-key": idempotencyKey }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    text = await response.text();
  } catch (error) {
    const { message, cause } = error as Error & { cause?: { code?: string } };
    throw new ApiError(0, "no_answer", `${method} ${path}: no answer (${cause?.code ?? message})`);
  }
  const parsed = parse(text);
  if (!response.ok) throw problemOf(`${method} ${path}`, response.status, parsed);
  return { status: response.status, body: parsed as T, headers: response.headers };
}

function parse(text: string): unknown {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

interface Problem {
  code?: string;
  title?: string;
  detail?: string;
  errors?: { field: string; message: string }[];
}

function problemOf(what: string, status: number, body: unknown): ApiError {
  const { code = "unknown", title = "", detail = "", errors = [] } = (body ?? {}) as Problem;
  const fields = errors.map(({ field, message }) => `${field}: ${message}`).join(" ");
  return new ApiError(
    status,
    code,
    `${what}: ${status} ${[code, detail || title, fields].filter(Boolean).join(", ")}`,
  );
}

interface Tokens {
  access_token: string;
  refresh_token: string;
  expires_in_seconds: number;
}

/** Somebody who is signed in: requests carry a token that is still good. */
export interface Session {
  call<T = unknown>(method: string, path: string, options?: Omit<ApiRequest, "token">): Promise<T>;
}

/** Signs in. @throws ApiError */
export async function signIn(apiUrl: string, email: string, password: string): Promise<Session> {
  let tokens: Tokens;
  let endsAtMs = 0;
  let renewing: Promise<void> | undefined;
  const take = ({ body }: ApiAnswer<Tokens>) => {
    tokens = body;
    endsAtMs = Date.now() + body.expires_in_seconds * 1000;
  };
  const enter = async () => take(await request(apiUrl, "POST", "/sessions", { body: { email, password } }));
  const renew = async () => {
    try {
      take(
        await request(apiUrl, "POST", "/sessions/refresh", { body: { refresh_token: tokens.refresh_token } }),
      );
    } catch (error) {
      if ((error as ApiError).status !== 401) throw error;
      await enter();
    }
  };
  await enter();
  return {
    async call<T>(method: string, path: string, options: Omit<ApiRequest, "token"> = {}) {
      if (Date.now() > endsAtMs - RENEW_BEFORE_MS) {
        renewing ??= renew().finally(() => {
          renewing = undefined;
        });
        await renewing;
      }
      return (await request<T>(apiUrl, method, path, { ...options, token: tokens.access_token })).body;
    },
  };
}

/** Every request of it is repeated while the platform says that it is busy; the keys of POSTs stay the same. */
export function patient(session: Session): Session {
  return { call: (method, path, options) => patiently(() => session.call(method, path, options)) };
}

/** Does it again while the platform says that it is busy. @throws ApiError for every other refusal */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      const { status, code } = error as ApiError;
      const busy = status === 0 || status === 429 || status === 503 || code === "idempotency_in_flight";
      if (tries === BUSY_TRIES || !busy) throw error;
      await delay(BUSY_WAIT_MS);
    }
  }
}
