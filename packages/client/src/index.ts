import createClient, { type Client, type Middleware } from "openapi-fetch";
import { binary, type components, keyed, type paths } from "./api.ts";
import { ApiError, apiErrorOf } from "./error.ts";
import {
  type CourierEvent,
  type FollowOptions,
  followed,
  followedStream,
  type OpenStream,
  type OperatorEvent,
  type OrderEvent,
  type PartnerEvent,
} from "./follow.ts";

import { retryingFetch } from "./retry.ts";
import { type SessionTokens, sessionIn, sessionOf } from "./session.ts";

export { ApiError } from "./error.ts";
export type { CourierEvent, FollowOptions, OperatorEvent, OrderEvent, PartnerEvent } from "./follow.ts";
export { type SessionTokens, sessionOf } from "./session.ts";
/** The named schemas of the API: `Schemas["Order"]`. */
export type Schemas = components["schemas"];

const BASE_PATH = "/api/v1";
const TIMEOUT_MS = 10_000;
const TRIES = 3;

type StreamPath = keyof paths & `${string}/events`;

export interface WaybillOptions {
  /** The platform's address: `https://delivery.example.org`. */
  url: string;
  /** Time limit of one request, of a stream that of its head. Default: 10,000. */
  timeoutMs?: number;
  /** How often at most a request that may be repeated is sent while the platform is busy. Default: 3. */
  tries?: number;
  fetch?: (request: Request) => Promise<Response>;
  /**
   * Reads the tokens that the listener of `onTokens` saved. Called before tokens are exchanged: another tab or process
   * that shares them may have exchanged them already.
   */
  kept?: () => SessionTokens | undefined | Promise<SessionTokens | undefined>;
}

/**
 * `api.GET("/products", { params: { query: { q: "soup" } } })` and so on, for every operation. A signed-in client sends
 * a valid access token. A POST that may be repeated carries its Idempotency-Key. Every refusal is thrown as ApiError. An
 * image is sent and answered as Blob, a stream of events is answered as ReadableStream.
 */
export interface Waybill extends Client<paths> {
  /** @throws ApiError with code `invalid_credentials` and others */
  signIn(credentials: { email: string; password: string }): Promise<SessionTokens>;
  /** Continues a session by its tokens. Without tokens the client is signed out. */
  signedInWith(tokens: SessionTokens | undefined): void;
  /** Calls the listener with the new tokens after each exchange, by this client or another tab, to save them. */
  onTokens(listener: (tokens: SessionTokens) => void): void;
  /**
   * Follows an order: past and new events and the deliverer's position, until it is delivered, cancelled or
   * expired. A stream that ends early is opened again after the last event.
   * @throws ApiError for an order that the caller may not see; the signal's reason when it is aborted
   */
  follow(orderId: string, options?: FollowOptions): AsyncGenerator<OrderEvent, void>;
  /** Follows the orders of a partner, for its staff and admins. The loop ends by the signal, or when the access ends. */
  followPartner(partnerId: string, options?: FollowOptions): AsyncGenerator<PartnerEvent, void>;
  /** Follows the pool, the offers and the orders of the signed-in courier. */
  followDeliveries(options?: FollowOptions): AsyncGenerator<CourierEvent, void>;
  /** Follows all orders, alerts and couriers, for operators. */
  followAll(options?: FollowOptions): AsyncGenerator<OperatorEvent, void>;
}

export function waybill(options: WaybillOptions): Waybill {
  const { url, timeoutMs = TIMEOUT_MS, tries = TRIES, fetch = globalThis.fetch, kept } = options;
  const api = createClient<paths>({
    baseUrl: `${url}${BASE_PATH}`,
    fetch: retryingFetch((request) => fetch(request), { timeoutMs, tries, basePath: BASE_PATH }),
    bodySerializer: (body: unknown) => (body instanceof Blob ? body : JSON.stringify(body)),
  });
  const exchange = async (refreshToken: string) =>
    sessionOf(await answered(api.POST("/sessions/refresh", { body: { refresh_token: refreshToken } })));
  const session = sessionIn({ url, exchange, ...(kept && { kept }) });

  const authorization: Middleware = {
    async onRequest({ request, schemaPath }) {
      if (schemaPath.startsWith("/sessions") && request.method === "POST") return;
      const token = await session.accessToken(request.signal);
      if (token) request.headers.set("Authorization", `Bearer ${token}`);
    },
  };
  const once: Middleware = {
    onRequest({ request, schemaPath }) {
      if (request.method !== "POST" || !keyed.includes(schemaPath)) return;
      if (!request.headers.has("Idempotency-Key")) request.headers.set("Idempotency-Key", randomKey());
    },
  };
  const refusals: Middleware = {
    async onResponse({ request, response }) {
      if (!response.ok && response.status !== 304) throw await apiErrorOf(request, response);
    },
  };
  api.use(authorization, once, refusals);
  const { GET, PUT } = api;
  /** Opens a stream of events. */
  const opener =
    (operation: StreamPath, path: Record<string, string> = {}): OpenStream =>
    async (lastEventId, signal) => {
      const { data } = await (
        api.GET as (operation: StreamPath, init: object) => Promise<{ data?: unknown }>
      )(operation, {
        params: { path, header: lastEventId === undefined ? {} : { "Last-Event-ID": lastEventId } },
        parseAs: "stream",
        ...(signal && { signal }),
      });
      if (!data) throw new TypeError("this runtime's fetch gives no stream of the body");
      return data as ReadableStream<Uint8Array>;
    };

  return Object.assign(api, {
    GET: ((path: keyof paths, init?: object) =>
      GET(path as never, { ...(binary[path] && { parseAs: binary[path] }), ...init } as never)) as typeof GET,
    PUT: ((path: keyof paths, init?: { body?: unknown; headers?: object }) => {
      const type = init?.body instanceof Blob ? { "Content-Type": init.body.type } : {};
      return PUT(path as never, { ...init, headers: { ...type, ...init?.headers } } as never);
    }) as typeof PUT,
    async signIn({ email, password }: { email: string; password: string }) {
      const tokens = sessionOf(await answered(api.POST("/sessions", { body: { email, password } })));
      session.set(tokens);
      for (const listener of session.listeners) listener(tokens);
      return tokens;
    },
    signedInWith(known: SessionTokens | undefined) {
      session.set(known);
    },
    onTokens(listener: (tokens: SessionTokens) => void) {
      session.listeners.push(listener);
    },
    follow(orderId: string, following: FollowOptions = {}) {
      return followed(opener("/orders/{order_id}/events", { order_id: orderId }), following);
    },
    followPartner(partnerId: string, following: FollowOptions = {}) {
      const open = opener("/partners/{partner_id}/events", { partner_id: partnerId });
      return followedStream<PartnerEvent>(open, ["order", "reload"], following);
    },
    followDeliveries(following: FollowOptions = {}) {
      const types = ["appeared", "offered", "mine", "vanished", "reload"] as const;
      return followedStream<CourierEvent>(opener("/deliveries/events"), types, following);
    },
    followAll(following: FollowOptions = {}) {
      const types = ["order", "alert", "courier", "reload"] as const;
      return followedStream<OperatorEvent>(opener("/events"), types, following);
    },
  });
}

const KEY_BYTES = 16;

/** A unique key. A page that came over plain HTTP has no `crypto.randomUUID`, and a key need not be secret. */
function randomKey(): string {
  const bytes = new Uint8Array(KEY_BYTES);
  const { crypto } = globalThis as { crypto?: { getRandomValues?(bytes: Uint8Array): unknown } };
  if (crypto?.getRandomValues) crypto.getRandomValues(bytes);
  else for (let at = 0; at < KEY_BYTES; at++) bytes[at] = Math.floor(Math.random() * 256);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** The answer of an operation. @throws ApiError */
export async function answered<T>(exchange: Promise<{ data?: T; response: Response }>): Promise<T> {
  const { data, response } = await exchange;
  // An answer 204 has no body, and its type has none either.
  if (data === undefined && response.status !== 204) throw new ApiError(response.status, {});
  return data as T;
}
