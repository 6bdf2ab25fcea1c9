import type { Service, ServiceSchema, ServiceSettingSchema } from "moleculer";
import ApiGateway, { type ApiSettingsSchema } from "moleculer-web";
import { type Clock, systemClock } from "../../lib/clock.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { health } from "../../mixins/health/health.mixin.ts";
import { gateway } from "./gateway.ts";

export interface ApiDeps {
  config: Settings;
  clock?: Clock;
  /** Told where it listens, which with port 0 is known only then. */
  onListening?: (port: number) => void;
}

/** The API gateway: moleculer-web routes by the tables of `routes/`, behind an edge of our own. */
export function apiService({ config, clock = systemClock, onListening }: ApiDeps): ServiceSchema {
  const api = gateway(config, clock);
  return {
    name: "api",
    mixins: [
      ApiGateway as unknown as ServiceSchema,
      health({ checks: { http: api.listening }, gauges: api.gauges }).mixin,
    ],
    settings: {
      // Not broadcast: they are nobody's business, and hold functions.
      $secureSettings: ["routes", "onError"],
      server: false,
      routes: api.routes,
      logRequest: null,
      logRequestParams: null,
      logResponse: null,
      logRouteRegistration: null,
      onError: api.onError,
      // The server itself waits for running requests; an open stream must not be waited for.
      rootCallOptions: { tracking: false },
    } satisfies ApiSettingsSchema as ServiceSettingSchema,
    actions: {
      ...api.actions,
      // A stream that stays open for minutes is one call of this action: it must neither fill the bulkhead nor
      // hold up the stop, and what an operation answers says nothing about the router.
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
