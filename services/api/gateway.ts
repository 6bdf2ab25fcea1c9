import type { IncomingMessage, ServerResponse } from "node:http";
import type { ActionSchema, Service, ServiceSchema } from "moleculer";
import type { ApiRouteSchema, IncomingRequest } from "moleculer-web";
import { fail } from "../../contracts/errors.ts";
import type { LiveData } from "../../contracts/live.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { rootOf } from "../../contracts/schema.ts";
import type { Clock } from "../../lib/clock.ts";
import type { SharedStore } from "../../lib/redis/shared-store.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { outdatedEvent } from "../../mixins/caching/caching.mixin.ts";
import { sharedStoreOf } from "../../mixins/caching/shared-cacher.ts";
import { verifierOf } from "../../mixins/caller/caller.middleware.ts";
import type { Gauges } from "../../mixins/health/health.mixin.ts";
import { type Checks, check, checksIn, confirm } from "./actions/checkout.ts";
import {
  contractOf,
  type GatewayActionName,
  type RoutableParams,
  type RoutableResult,
} from "./actions/contract.ts";
import { deadLetters, dropDeadLetters, onDeadLetter } from "./actions/dead-letters.ts";
import { problemOf } from "./answers/problem.ts";
import { responseCache } from "./answers/response-cache.ts";
import { documentation } from "./docs/documentation.ts";
import { undoPage } from "./docs/undo-page.ts";
import { clientIpOf } from "./edge/client-ip.ts";
import { count } from "./edge/count-request.ts";
import { front, type Refuse } from "./edge/front.ts";
import { baseHeaders, cors } from "./edge/headers.ts";
import { edgeServer } from "./edge/server.ts";
import { orderStreams } from "./events/order-events.ts";
import { type Counters, type Limiter, limiter, memoryCounters } from "./limits/limits.ts";
import { sharedCounters } from "./limits/shared-counters.ts";
import { type Endpoint, endpointOf, placeholders } from "./pipeline/endpoint.ts";
import { type ServeDeps, sendError, serve } from "./pipeline/serve.ts";
import { BASE_PATH, routes } from "./routes/index.ts";

/** Until Redis answers nothing is counted; where it does not, the gateway starts without. */
const REDIS_WAIT_MS = 2_000;

/** What the service file puts together: the parts of the schema, and the server's beginning and end. */
export interface Gateway {
  routes: ApiRouteSchema[];
  actions: Record<string, ActionSchema>;
  events: ServiceSchema["events"];
  methods: NonNullable<ServiceSchema["methods"]>;
  /** The router's own error hook: for what goes wrong outside of our operations. */
  onError: (req: IncomingRequest, res: ServerResponse, error: Error) => void;
  /** Whether requests are taken. */
  listening(): boolean;
  gauges: Gauges;
  /** @returns the port it listens on */
  start(service: Service): Promise<number>;
  stop(): Promise<void>;
}

/** @throws Error for a route that contradicts its action's contract */
export function gateway(config: Settings, clock: Clock): Gateway {
  const endpoints = routes.map(endpointOf);
  const limits = {
    address: config.RATE_LIMIT_ADDRESS,
    user: config.RATE_LIMIT_USER,
    "sign-in": config.RATE_LIMIT_SIGN_IN,
  };
  const streams = orderStreams();
  const kept = responseCache(clock);
  const cached = new Set(routes.flatMap(({ sameFor }) => sameFor?.cachedAs ?? []));
  const https = config.PUBLIC_URL.startsWith("https:");
  const docsUrl = `${config.PUBLIC_URL}/docs/errors`;
  const docs = documentation(endpoints, config.PUBLIC_URL);
  const pages = [...docs.routes, undoPage()];
  const methodsOf = methodIndex([...endpoints.map(({ route }) => route), ...pagesOf(pages)]);
  let deps: ServeDeps | undefined;
  let checks: Checks | undefined;
  let counting: { counters: Counters; limiter: Limiter; store: SharedStore | undefined } | undefined;
  const started = <T>(part: T | undefined): T => {
    if (part === undefined) throw fail("SERVICE_UNAVAILABLE");
    return part;
  };

  const server = edgeServer(
    (req, res) => handle(req, res),
    (error) => {
      const problem = problemOf(error, { docsUrl, instance: "urn:waybill:request:unread" });
      return { ...problem, headers: { ...Object.fromEntries(baseHeaders({ https })), ...problem.headers } };
    },
  );
  let handle: (req: IncomingMessage, res: ServerResponse) => void = (_req, res) => res.destroy();
  const refuse: Refuse = (req, res, error, headers = {}) => {
    // What the router itself refuses never came to where it would have been counted, and the answer says what is left.
    const counted = count(started(deps).limiter, req, []).catch(() => undefined);
    void counted.then(() => sendError(started(deps), req, res, error, false, headers));
  };

  return {
    routes: [
      {
        path: BASE_PATH,
        aliases: aliasesOf(endpoints, methodsOf, () => started(deps), refuse),
        mappingPolicy: "restrict",
        mergeParams: false,
        bodyParsers: false,
        logging: false,
        pathToRegexpOptions: { sensitive: true },
      } as ApiRouteSchema,
      ...pages,
    ],
    onError: (req, res, error) => refuse(req, res, error),
    actions: ownActions(() => started(checks)),
    events: {
      ...outdatedEvent(cached, (action) => kept.outdated(action)),
      "order.moved": (ctx: Ctx<LiveData<"order.moved">>) => streams.moved(ctx.params),
      "order.position": (ctx: Ctx<LiveData<"order.position">>) => streams.position(ctx.params),
    },
    methods: {
      /** The edge has taken the query away already. */
      parseQueryString: (req: IncomingMessage) => ({ url: req.url, query: {} }),
      /** Nothing matched: another method of a path that we know, or no path of ours. */
      send404(req: IncomingRequest, res: ServerResponse) {
        const methods = methodsOf(req.originalUrl);
        if (methods.length === 0) return refuse(req, res, fail("NOT_FOUND", "There is no such path."));
        refuse(req, res, ...wrongMethod(methods));
      },
    },
    listening: () => server.listening,
    gauges: {
      rate_limited_total: {
        about: "Requests that a rate limit refused.",
        label: "limit",
        kind: "counter",
        read: () => counting?.limiter.refused() ?? {},
      },
      kept_answers_total: {
        about: "Answers that are the same for many: sent as they were kept, or made.",
        label: "outcome",
        kind: "counter",
        read: () => kept.uses(),
      },
      rate_limit_leased_hits: {
        about: "Hits of rate limits that this gateway has drawn from Redis for reads and not used.",
        read: () => counting?.counters.leased() ?? 0,
      },
      redis_unanswered_total: {
        about: "Commands for Redis that had no answer: the request went on without.",
        kind: "counter",
        read: () => counting?.store?.unanswered() ?? {},
      },
      redis_up: {
        about: "Whether Redis answers this gateway; nothing is shared while it is 0.",
        read: () => (counting?.store ? Number(counting.store.available()) : {}),
      },
    },
    async start(service) {
      const { broker, logger } = service;
      const store = sharedStoreOf(broker);
      await store?.ready(REDIS_WAIT_MS);
      const counters = store
        ? sharedCounters(store, `${broker.namespace}:limit:`, clock)
        : memoryCounters(clock);
      counting = { counters, limiter: limiter(limits, counters, clock), store };
      deps = { limiter: counting.limiter, verifier: verifierOf(broker), streams, kept, docsUrl, logger };
      checks = checksIn(broker, clock);
      const router = service as unknown as { httpHandler: typeof handle };
      handle = front(
        {
          limiter: counting.limiter,
          cors: cors(listOf(config.CORS_ORIGINS)),
          clientIp: clientIpOf(listOf(config.TRUSTED_PROXIES)),
          https,
          methodsOf,
          refuse,
        },
        (req, res) => router.httpHandler(req, res),
      );
      return await server.listen(config.PORT, config.HOST);
    },
    async stop() {
      streams.close();
      await server.close();
    },
  };
}

function aliasesOf(
  endpoints: readonly Endpoint[],
  methodsOf: (path: string) => readonly string[],
  deps: () => ServeDeps,
  refuse: Refuse,
): ApiRouteSchema["aliases"] {
  return Object.fromEntries(
    endpoints.map((endpoint) => {
      const { method, path } = endpoint.route;
      const pattern = path.replace(/\{(\w+)\}/g, ":$1");
      const handler = (req: IncomingRequest, res: ServerResponse) => {
        // `GET /orders/check` is not the order whose id is "check": that path has methods of its own.
        const methods = methodsOf(req.originalUrl);
        if (!methods.includes(method)) return refuse(req, res, ...wrongMethod(methods));
        void serve(deps(), endpoint, { req, res, ctx: req.$ctx, inPath: req.$params.params });
      };
      return [`${method} ${pattern}`, handler];
    }),
  );
}

function wrongMethod(methods: readonly string[]): [error: Error, headers: Record<string, string>] {
  return [fail("METHOD_NOT_ALLOWED"), { Allow: methods.join(", ") }];
}

/** The actions that are the gateway's own, held to their contracts like everybody's. */
function ownActions(checks: () => Checks): Record<string, ActionSchema> {
  return {
    check: own("api.check", (ctx) => check(checks(), ctx)),
    confirm: own("api.confirm", (ctx) => confirm(checks(), ctx)),
    deadLetters: own("api.deadLetters", deadLetters),
    replayDeadLetter: own("api.replayDeadLetter", (ctx) => onDeadLetter(ctx, "replayDeadLetter")),
    dropDeadLetter: own("api.dropDeadLetter", (ctx) => onDeadLetter(ctx, "dropDeadLetter")),
    dropDeadLetters: own("api.dropDeadLetters", dropDeadLetters),
  };
}

function own<N extends GatewayActionName>(
  name: N,
  handler: (ctx: Ctx<RoutableParams<N>>) => Promise<RoutableResult<N>>,
): ActionSchema {
  return {
    visibility: "protected",
    params: rootOf(contractOf(name).params) as ActionSchema["params"],
    handler: handler as ActionSchema["handler"],
  };
}

/**
 * Which methods the tables know for a path; GET brings HEAD, and every path has OPTIONS. A path that is written
 * out in a table is not also one of a placeholder.
 */
function methodIndex(known: readonly { method: string; path: string; base?: string }[]) {
  const patterns = known.map(({ method, path, base = BASE_PATH }) => ({
    method,
    holes: placeholders(path).length,
    pattern: new RegExp(`^${base}${path.replace(/\{\w+\}/g, "[^/]+")}/?$`),
  }));
  return (path: string): string[] => {
    const matching = patterns.filter(({ pattern }) => pattern.test(path));
    const fewest = Math.min(...matching.map(({ holes }) => holes));
    const methods = matching.filter(({ holes }) => holes === fewest).map(({ method }) => method);
    if (methods.length === 0) return [];
    return [...methods, ...(methods.includes("GET") ? ["HEAD"] : []), "OPTIONS"].sort();
  };
}

/** The pages, as the tables would have them. */
function pagesOf(pages: readonly { path: string; aliases: object }[]) {
  const escaped = (path: string) => path.replace(/\/$/, "").replaceAll(".", "\\.");
  return pages.flatMap(({ path: base, aliases }) =>
    Object.keys(aliases).map((alias) => {
      const [method = "", path = ""] = alias.split(" ");
      return { method, path: escaped(path), base: escaped(base) };
    }),
  );
}

function listOf(text: string): string[] {
  return text.split(",").flatMap((part) => part.trim() || []);
}
