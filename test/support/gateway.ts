import { type BrokerOptions, ServiceBroker, type ServiceSchema } from "moleculer";
import { type ActionName, actions, implement } from "../../contracts/actions.ts";
import { exampleOf } from "../../contracts/documentation.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { cacherOf } from "../../mixins/caching/shared-cacher.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import { apiService } from "../../services/api/api.service.ts";
import { admission } from "../../services/api/limits/admission.ts";
import { REQUEST_TIMEOUT_MS } from "./postgres.ts";
import { testIdentity } from "./tokens.ts";

/** The implementation of an action behind the gateway in a test. */
type Behaviour = (ctx: Ctx<unknown>) => unknown;

/**
 * The gateway with a real broker and, for each service that it calls, a small one whose actions stand under their
 * real contracts: they answer an example of their result unless a test says otherwise.
 * @param options.alone no service but the one that has the keys
 * @param options.callsAtOnce how many calls it admits at once at first
 * @param options.redisTimeoutMs how long an answer of Redis is waited for
 */
export async function startGateway(
  overrides: Partial<Settings> = {},
  options: { alone?: boolean; callsAtOnce?: number; redisTimeoutMs?: number } = {},
) {
  const identity = testIdentity();
  const behaviours = new Map<ActionName, Behaviour>();
  const calls: { action: ActionName; params: unknown; meta: Record<string, unknown> }[] = [];
  const settings = brokerOptions({
    nodeID: "gateway",
    requestTimeoutMs: overrides.REQUEST_TIMEOUT_MS ?? REQUEST_TIMEOUT_MS,
    namespace: "test",
    transporter: null as never,
    cacher: cacherOf(overrides, options.redisTimeoutMs),
    logLevel: "fatal",
    json: false,
    middlewares: [identity.middleware()],
  });
  // No retries: a failure in a test is reported at once.
  const retryPolicy = { ...settings.retryPolicy, retries: 0 } as BrokerOptions["retryPolicy"];
  const broker = new ServiceBroker({ ...settings, retryPolicy, logger: false });
  const { jwks } = identity.service.actions;
  const keysOnly = { ...identity.service, actions: { jwks } };
  const services = options.alone ? [keysOnly] : standIns(behaviours, calls, identity.keys);
  for (const schema of services) broker.createService(schema);
  let port = 0;
  const config: Settings = {
    ...(readSettings({}) as Settings),
    PORT: 0,
    PUBLIC_URL: identity.issuer,
    ...overrides,
  };
  broker.createService(
    apiService({
      config,
      ...(options.callsAtOnce && { admission: admission({ firstLimit: options.callsAtOnce }) }),
      onListening: (chosen) => {
        port = chosen;
      },
    }),
  );
  await broker.start();
  const url = `http://127.0.0.1:${port}`;
  return {
    broker,
    identity,
    url,
    port,
    calls,
    /** From now on the action does this. */
    on(action: ActionName, behaviour: Behaviour) {
      behaviours.set(action, behaviour);
    },
    /** Back to the examples, also where an answer would be kept. */
    async reset() {
      behaviours.clear();
      await broker.broadcast("cache.outdated", { patterns: ["partners.frontPage:**"] });
      calls.length = 0;
    },
    stop: () => broker.stop(),
  };
}

export type TestGateway = Awaited<ReturnType<typeof startGateway>>;

function standIns(
  behaviours: Map<ActionName, Behaviour>,
  calls: { action: ActionName; params: unknown; meta: Record<string, unknown> }[],
  keys: unknown,
): ServiceSchema[] {
  const byService = Map.groupBy(Object.keys(actions) as ActionName[], (name) => name.split(".")[0] as string);
  return [...byService].map(([service, names]) => ({
    name: service,
    actions: Object.fromEntries(
      names.map((name) => [
        name.slice(service.length + 1),
        implement(name, async (ctx) => {
          if (name === "identity.jwks") return { keys } as never;
          calls.push({ action: name, params: ctx.params, meta: { ...ctx.meta } });
          const behaviour = behaviours.get(name);
          return (behaviour ? await behaviour(ctx) : exampleOf(actions[name].result)) as never;
        }),
      ]),
    ),
  }));
}
