import type { IncomingMessage, ServerResponse } from "node:http";
import type { Context, Service, ServiceSchema } from "moleculer";
import type { ApiRouteSchema, IncomingRequest } from "moleculer-web";
import { call } from "../../contracts/actions.ts";
import { fail } from "../../contracts/errors.ts";
import type { LiveData } from "../../contracts/live.ts";
import type { Ctx } from "../../contracts/meta.ts";
import type { Clock } from "../../lib/clock.ts";
import type { SharedStore } from "../../lib/redis/shared-store.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { outdatedEvent } from "../../mixins/caching/caching.mixin.ts";
import { sharedStoreOf } from "../../mixins/caching/shared-cacher.ts";
import { verifierOf } from "../../mixins/caller/caller.middleware.ts";
import type { Gauges } from "../../mixins/health/health.mixin.ts";
import {
  type Alias,
  type AliasHandler,
  aliasesOf,
  httpHandlerOf,
} from "../../mixins/transporter/moleculer-internals.ts";
import { check, confirm, type QuoteStore, quoteStore } from "./actions/checkout.ts";
import type { OwnActions } from "./actions/contract.ts";
import {
  deadLetters,
  dropDeadLetter,
  dropDeadLetters,
  replayDeadLetter,
  replayDeadLetters,
} from "./actions/dead-letters.ts";
import { user } from "./actions/user.ts";
import { exportFiles } from "./answers/export-file.ts";
import { exportGate } from "./answers/export-gate.ts";
import { orderExports } from "./answers/orders-csv.ts";
import { type Problem, problemOf } from "./answers/problem.ts";
import { responseCache } from "./answers/response-cache.ts";
import { accountPageRoutes } from "./docs/account-pages.ts";
import { documentation } from "./docs/documentation.ts";
import { trackingPageRoute } from "./docs/tracking-page.ts";
import { baseHeaders, clientIpOf, cors, requestContextOf } from "./edge/request-head.ts";
import { type EdgeServer, edgeServer, type Refuse, requestListener } from "./edge/server.ts";
import { logStreams } from "./events/log-streams.ts";
import { orderStreams } from "./events/order-events.ts";
import { streamPlaces } from "./events/stream-places.ts";
import { admission } from "./limits/admission.ts";
import { type Counters, type Limiter, limiter, memoryCounters } from "./limits/limits.ts";
import { sharedCounters } from "./limits/shared-counters.ts";
import { type Endpoint, endpointOf } from "./pipeline/endpoint.ts";
import { type ServeDeps, sendError, serve } from "./pipeline/serve.ts";
import { BASE_PATH, type Match, type Router, routerOf, routes } from "./routes/index.ts";

/** How long the start waits for Redis. Without an answer the gateway starts, and counts nothing until Redis is back. */
const REDIS_WAIT_MS = 2_000;

/** The parts of the service schema, and the start and stop of the HTTP server. */
export interface Gateway {
  routes: ApiRouteSchema[];
  events: ServiceSchema["events"];
  methods: NonNullable<ServiceSchema["methods"]>;
  /** Answers errors of moleculer-web that occur outside of our operations. */
  onError: (req: IncomingRequest, res: ServerResponse, error: Error) => void;
  /** Whether the server accepts requests. */
  listening(): boolean;
  gauges: Gauges;
  /** @returns the port it listens on */
  start(service: Service): Promise<number>;
  stop(): Promise<void>;
}

/** The parts that need the broker. They exist from the start of the service. */
interface Running {
  service: Service;
  server: EdgeServer;
  router: Router<Alias>;
  serveDeps: ServeDeps;
  limiter: Limiter;
  counters: Counters;
  /** Undefined without Redis. */
  store: SharedStore | undefined;
}

/**
 * @param admitting limits the calls that run at once
 * @throws Error for a route that contradicts the contract of its action
 */
export function gateway(config: Settings, clock: Clock, admitting = admission()): Gateway {
  const endpoints = routes.map(endpointOf);
  const limits = {
    address: config.RATE_LIMIT_ADDRESS,
    user: config.RATE_LIMIT_USER,
    "sign-in": config.RATE_LIMIT_SIGN_IN,
  };
  const places = streamPlaces();
  const streams = orderStreams(places);
  const exportsGate = exportGate();
  const answers = responseCache(clock);
  const cachedActions = new Set(routes.flatMap(({ sameFor }) => sameFor?.cachedAs ?? []));
  const https = config.PUBLIC_URL.startsWith("https:");
  const docsUrl = `${config.PUBLIC_URL}/docs/errors`;
  const pages = [
    ...documentation(endpoints, config.PUBLIC_URL).routes,
    ...accountPageRoutes(),
    trackingPageRoute(),
  ];
  let running: Running | undefined;
  const parts = (): Running => {
    if (!running) throw fail("SERVICE_UNAVAILABLE");
    return running;
  };

  const events = logStreams(
    places,
    (params) => call(parts().service.broker, "orders.events", params),
    () => parts().service.logger,
  );
  const refuse: Refuse = (req, res, error, headers = {}) => {
    const { serveDeps } = parts();
    // A request that the router refuses was not counted yet, and the answer states the remaining limits.
    const counted = requestContextOf(req)
      .limits.count([])
      .catch(() => undefined);
    void counted.then(() => sendError(serveDeps, req, res, error, false, headers));
  };
  const unreadProblem = (error: Error): Problem => {
    const problem = problemOf(error, { docsUrl, instance: "urn:waybill:request:unread" });
    return { ...problem, headers: { ...Object.fromEntries(baseHeaders({ https })), ...problem.headers } };
  };

  return {
    routes: [
      {
        path: BASE_PATH,
        aliases: handlersOf(endpoints, () => parts().serveDeps),
        mappingPolicy: "restrict",
        mergeParams: false,
        bodyParsers: false,
        logging: false,
        pathToRegexpOptions: { sensitive: true },
      } as ApiRouteSchema,
      ...pages,
    ],
    onError: (req, res, error) => refuse(req, res, error),
    events: {
      ...outdatedEvent(cachedActions, (action) => answers.invalidate(action)),
      "order.moved": (ctx: Ctx<LiveData<"order.moved">>) => streams.moved(ctx.params),
      "order.position": (ctx: Ctx<LiveData<"order.position">>) => streams.position(ctx.params),
      "log.appended": (ctx: Ctx<LiveData<"log.appended">>) => events.appended(ctx.params.position),
      "session.revoked": (ctx: Context<{ sessionId?: unknown }>) => {
        const { sessionId } = ctx.params;
        if (typeof sessionId === "string") places.endSession(sessionId);
      },
    },
    methods: {
      /** The edge has already removed the query from the URL. */
      parseQueryString: (req: IncomingMessage) => ({ url: req.url, query: {} }),
      resolveAlias: (path: string, method: string) => parts().router.match(method, path) ?? false,
      /**
       * Runs the handler until the answer has ended. moleculer-web's own method also runs middlewares, body parsers, CORS
       * and access lists of the route, for some 3 us of each request; no route here has any of them.
       */
      routeHandler: (
        _ctx: Context,
        _route: object,
        req: IncomingRequest,
        res: ServerResponse,
        found?: Match<Alias>,
      ) => (found ? run(found, req, res) : null),
      /** No route matched: the path has other methods, or does not exist. */
      send404(req: IncomingRequest, res: ServerResponse) {
        const methods = parts().router.methodsOf(req.originalUrl);
        if (methods.length === 0) return refuse(req, res, fail("NOT_FOUND", "There is no such path."));
        refuse(req, res, fail("METHOD_NOT_ALLOWED"), { Allow: methods.join(", ") });
      },
    },
    listening: () => running?.server.listening ?? false,
    gauges: {
      rate_limited_total: {
        about: "Requests that a rate limit refused.",
        label: "limit",
        read: () => running?.limiter.refused() ?? {},
      },
      calls_refused_total: {
        about: "Calls that the gateway refused under overload, by class: callback, write or read.",
        label: "class",
        read: () => admitting.refused(),
      },
      calls_running: { about: "Calls of this gateway that run now.", read: () => admitting.running() },
      calls_limit: {
        about: "Calls that this gateway runs at most at once. It falls while calls are slow.",
        read: () => admitting.limit(),
      },
      streams_open: {
        about: "Open streams of events, by kind: order, partner, courier or operator.",
        label: "kind",
        read: () => places.counts(),
      },
      streams_cut_total: {
        about: "Streams that were cut because their client did not read, by kind.",
        label: "kind",
        read: () => places.cuts(),
      },
      stream_gaps_total: {
        about:
          "Clients that had to read their list anew, because events after their last one are no longer stored.",
        read: () => events.gaps(),
      },
      response_cache_requests_total: {
        about: "Requests whose response the gateway may cache, by outcome: hit or miss.",
        label: "outcome",
        read: () => answers.counts(),
      },
      rate_limit_leased_hits: {
        about: "Hits of rate limits that this gateway has leased from Redis for reads and not used.",
        read: () => running?.counters.leased() ?? 0,
      },
      redis_unanswered_total: {
        about: "Redis commands without an answer: the request continued without Redis.",
        read: () => running?.store?.unanswered() ?? {},
      },
      redis_up: {
        about: "1 if Redis answers this gateway. At 0 the gateways share nothing.",
        read: () => (running?.store ? Number(running.store.available()) : {}),
      },
    },
    async start(service) {
      const { broker, logger } = service;
      const store = sharedStoreOf(broker);
      await store?.ready(REDIS_WAIT_MS);
      const counters = store
        ? sharedCounters(store, `${broker.namespace}:limit:`, clock)
        : memoryCounters(clock);
      const requestLimiter = limiter(limits, counters, clock);
      const routeRequest = httpHandlerOf(service);
      const router = routerOf(aliasesOf(service));
      const listener = requestListener(
        {
          limiter: requestLimiter,
          cors: cors(listOf(config.CORS_ORIGINS)),
          clientIp: clientIpOf(listOf(config.TRUSTED_PROXIES)),
          https,
          methodsOf: router.methodsOf,
          refuse,
        },
        (req, res) => routeRequest(req, res),
      );
      const server = edgeServer(listener, unreadProblem);
      running = {
        service,
        server,
        router,
        serveDeps: {
          ownActions: ownActions(quoteStore(broker, clock)),
          admission: admitting,
          verifier: verifierOf(broker),
          streams,
          events,
          responseCache: answers,
          exports: orderExports(exportsGate),
          exportFiles: exportFiles(exportsGate),
          docsUrl,
          logger,
        },
        limiter: requestLimiter,
        counters,
        store,
      };
      return await server.listen(config.PORT, config.HOST);
    },
    async stop() {
      places.close();
      await running?.server.close();
      await events.close();
    },
  };
}

/** @returns true when the answer has ended or the client has disconnected */
function run({ alias, params }: Match<Alias>, req: IncomingRequest, res: ServerResponse): Promise<true> {
  return new Promise((resolve, reject) => {
    res.once("close", () => resolve(true));
    res.once("error", reject);
    alias.handler(req, res, params);
  });
}

function handlersOf(endpoints: readonly Endpoint[], deps: () => ServeDeps): ApiRouteSchema["aliases"] {
  return Object.fromEntries(
    endpoints.map((endpoint) => {
      const { method, path } = endpoint.route;
      const pattern = path.replace(/\{(\w+)\}/g, ":$1");
      const handler: AliasHandler = (req, res, inPath) => {
        void serve(deps(), endpoint, { req, res, ctx: req.$ctx, inPath });
      };
      return [`${method} ${pattern}`, handler];
    }),
  );
}

export function ownActions(quotes: QuoteStore): OwnActions {
  return {
    "api.check": (ctx) => check(quotes, ctx),
    "api.confirm": (ctx) => confirm(quotes, ctx),
    "api.deadLetters": deadLetters,
    "api.replayDeadLetter": replayDeadLetter,
    "api.dropDeadLetter": dropDeadLetter,
    "api.replayDeadLetters": replayDeadLetters,
    "api.dropDeadLetters": dropDeadLetters,
    "api.user": user,
  };
}

function listOf(text: string): string[] {
  return text.split(",").flatMap((part) => part.trim() || []);
}
