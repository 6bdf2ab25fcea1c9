import type { Service, ServiceSchema, ServiceSettingSchema } from "moleculer";
import ApiGateway, { type ApiSettingsSchema } from "moleculer-web";
import { type Clock, systemClock } from "../../lib/clock.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { health } from "../../mixins/health/health.mixin.ts";
import { nodeDependencies } from "../../mixins/node-dependencies/node-dependencies.mixin.ts";
import { gateway } from "./gateway.ts";
import type { Admission } from "./limits/admission.ts";

export interface ApiDeps {
  config: Settings;
  clock?: Clock;
  /** Limits the calls that run at once. Default: one of its own. */
  admission?: Admission;
  /** Called with the port once the server listens. Needed with port 0, where the system chooses it. */
  onListening?: (port: number) => void;
}

/** The API gateway: moleculer-web routes by the tables of `routes/`, behind our own HTTP server in `edge/`. */
export function apiService({ config, clock = systemClock, admission, onListening }: ApiDeps): ServiceSchema {
  const api = gateway(config, clock, admission);
  return {
    name: "api",
    mixins: [
      ApiGateway as unknown as ServiceSchema,
      health({ checks: { http: api.listening }, gauges: api.gauges }).mixin,
    ],
    settings: {
      // Not sent to other nodes: these settings hold functions.
      $secureSettings: ["routes", "onError"],
      server: false,
      routes: api.routes,
      logRequest: null,
      logRequestParams: null,
      logResponse: null,
      logRouteRegistration: null,
      onError: api.onError,
      // Stopping must not wait for open streams. The HTTP server itself waits for running requests.
      rootCallOptions: { tracking: false },
    } satisfies ApiSettingsSchema as ServiceSettingSchema,
    actions: {
      // An open event stream is one call of this action for minutes: it must not fill the bulkhead. Errors of an
      // operation say nothing about the router, so they must not open a circuit breaker.
      rest: { bulkhead: { enabled: false }, circuitBreaker: { enabled: false } },
      listAliases: false,
      addRoute: false,
      removeRoute: false,
    },
    events: api.events,
    methods: api.methods,
    async started(this: Service) {
      const port = await api.start(this);
      onListening?.(port);
      this.logger.info(`Listening on ${config.HOST}:${port}`);
    },
    async stopped() {
      await api.stop();
    },
  };
}

/** For Moleculer's runner and REPL, and for our launcher. */
export default { name: "api", mixins: [nodeDependencies("api", apiService)] } satisfies ServiceSchema;
