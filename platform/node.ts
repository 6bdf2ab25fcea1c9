import type { BrokerOptions, Middleware } from "moleculer";
import type { SharedServer } from "moleculer-grpc";
import type { ServiceName } from "../lib/settings/catalogue.ts";
import { tokenIssuer } from "../lib/settings/issuer.ts";
import type { Settings } from "../lib/settings/settings.ts";
import { cacherOf } from "../mixins/caching/shared-cacher.ts";
import { callerMiddleware } from "../mixins/caller/caller.middleware.ts";
import { grpcClients } from "../mixins/grpc-clients/grpc-clients.middleware.ts";
import { tracing } from "../mixins/tracing/tracing.middleware.ts";
import { brokerOptions } from "./broker-options.ts";
import type { ClusterTransport } from "./cluster-transport.ts";
import { nodeBridge } from "./grpc.ts";
import { nodeNameOf } from "./services.ts";

/** The services that use the cacher. The others save its connection and its 16 MB. */
const cacheUsers: readonly ServiceName[] = ["api", "partners"];

export interface Node {
  settings: Settings;
  services: readonly [ServiceName, ...ServiceName[]];
  transport: ClusterTransport;
  /** The gRPC server of the process, however many nodes it has: GRPC_PORT is one port. */
  listener: SharedServer;
  /** Middlewares around those of every node. */
  outer: readonly Middleware[];
}

/** The options of the node of these services, for the launcher and for Moleculer's runner. */
export function nodeOptions({ settings, services, transport, listener, outer }: Node): BrokerOptions {
  const clients = grpcClients({ requestTimeoutMs: settings.REQUEST_TIMEOUT_MS });
  const production = settings.NODE_ENV === "production";
  return brokerOptions({
    ...transport.transport(),
    nodeID: transport.nodeIdOf(nodeNameOf(services)),
    namespace: transport.namespace,
    cacher: services.some((name) => cacheUsers.includes(name)) ? cacherOf(settings) : undefined,
    requestTimeoutMs: settings.REQUEST_TIMEOUT_MS,
    logLevel: settings.LOG_LEVEL ?? (production ? "info" : "warn"),
    json: production,
    middlewares: [
      ...outer,
      tracing(),
      callerMiddleware({ issuer: tokenIssuer(settings) }),
      clients.middleware,
      nodeBridge(settings, listener, clients.gate),
    ],
  });
}
