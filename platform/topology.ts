import { ServiceBroker } from "moleculer";
import { type SharedServer, sharedServer } from "moleculer-grpc";
import type { ServiceName } from "../lib/settings/catalogue.ts";
import type { Settings } from "../lib/settings/settings.ts";
import { cacherOf } from "../mixins/caching/shared-cacher.ts";
import { brokerOptions } from "../moleculer.config.ts";
import { type ClusterTransport, inMemoryTransport, natsClusterTransport } from "./cluster-transport.ts";
import { certificateWarning } from "./grpc.ts";
import type { CallMetrics } from "./operations/call-metrics.ts";
import { operationsService } from "./operations/operations-service.ts";
import { consumers, nodeMiddlewares, serviceFactories } from "./services.ts";

const JOIN_TIMEOUT_MS = 10_000;
const JOIN_POLL_MS = 10;
/** After this, the process starts without the missing services of other processes. */
const OTHERS_TIMEOUT_MS = 5_000;

/** The nodes of one process with all services: four as in a cluster, so that calls take the cluster's paths. */
const nodes: Record<string, readonly ServiceName[]> = {
  gateway: ["api", "identity", "media"],
  orders: ["orders"],
  partners: ["partners"],
  notifications: ["notifications"],
};

/** The services that use the cacher. The others save its connection and its 16 MB. */
const cacheUsers: readonly ServiceName[] = ["api", "partners"];

/** The services that each service calls to answer a request. */
const needs: Partial<Record<ServiceName, readonly ServiceName[]>> = {
  api: ["identity", "media", "orders", "partners", "notifications"],
  orders: ["partners", "identity"],
};

export interface Topology {
  readonly namespace: string;
  readonly brokers: readonly ServiceBroker[];
  /** The node that runs a service here. @throws Error when SERVICES leaves it out */
  brokerOf(service: ServiceName): ServiceBroker;
  /** Readiness checks of the process itself: whether calls and messages can be sent now. */
  readonly checks: Record<"message_bus" | "transporter", () => Promise<boolean>>;
  /** Why it needs somebody, though it works. */
  readonly degradations: Record<"certificate", () => string | undefined>;
  start(): Promise<void>;
  /** Stops the gateway first, so that no request fails at a stopped service. Running calls are finished. */
  stop(): Promise<void>;
}

/**
 * Builds the brokers of this process with the services in SERVICES. NATS connects them where NATS_URL is set, otherwise
 * memory.
 * @param metrics counts the calls of all brokers
 * @param report receives lines for the operator
 */
export async function topology(
  settings: Settings,
  metrics: CallMetrics,
  report: (line: string) => void,
): Promise<Topology> {
  const { NATS_URL, SERVICES } = settings;
  const clusterTransport = NATS_URL
    ? await natsClusterTransport({ ...settings, NATS_URL }, report)
    : inMemoryTransport(
        settings,
        consumers.filter((service) => SERVICES.includes(service)),
      );
  const { messageBus } = clusterTransport;
  // GRPC_PORT is one port, however many nodes of this process offer gRPC.
  const listener = sharedServer();
  const factories = await serviceFactories(SERVICES);
  const hosts = new Map<ServiceName, ServiceBroker>();
  const brokers = Object.entries(nodes).flatMap(([node, names]) => {
    const wanted = names.filter((service) => SERVICES.includes(service));
    const [first] = wanted;
    if (!first) return [];
    // Identity and media run on the gateway's node; without the gateway, the node has the name of the service.
    const broker = brokerOf(clusterTransport, wanted.includes("api") ? node : first, {
      settings,
      metrics,
      listener,
    });
    for (const service of wanted) {
      hosts.set(service, broker);
      const make = factories.get(service);
      if (make) broker.createService(make({ config: settings, messageBus }));
    }
    if (NATS_URL) broker.createService(operationsService(broker));
    return [broker];
  });

  const [gateway, ...others] = brokers;
  return {
    namespace: clusterTransport.namespace,
    brokers,
    brokerOf(service) {
      const broker = hosts.get(service);
      if (!broker) throw new Error(`SERVICES leaves out ${service}`);
      return broker;
    },
    checks: {
      message_bus: () => messageBus.ready(),
      transporter: async () => (await Promise.all(brokers.map(clusterTransport.answers))).every(Boolean),
    },
    degradations: { certificate: () => certificateWarning(settings.GRPC_TLS_CERT) },
    async start() {
      await Promise.all(brokers.map((broker) => broker.start()));
      // A node announces its services a moment after its start; wait until each broker knows all of them.
      const own = [...hosts.keys()];
      await Promise.all(brokers.map((broker) => broker.waitForServices(own, JOIN_TIMEOUT_MS, JOIN_POLL_MS)));
      const elsewhere = [...new Set(own.flatMap((name) => needs[name] ?? []))].filter(
        (name) => !hosts.has(name),
      );
      if (elsewhere.length === 0) return;
      await gateway?.waitForServices(elsewhere, OTHERS_TIMEOUT_MS, JOIN_POLL_MS).catch(() => {
        report(
          `Some of the services ${elsewhere.join(", ")} are missing: requests that need them get 503 until they start`,
        );
      });
    },
    async stop() {
      await gateway?.stop();
      await Promise.all(others.map((broker) => broker.stop()));
      await messageBus.close();
    },
  };
}

function brokerOf(
  clusterTransport: ClusterTransport,
  node: string,
  { settings, metrics, listener }: { settings: Settings; metrics: CallMetrics; listener: SharedServer },
): ServiceBroker {
  const production = settings.NODE_ENV === "production";
  const usesCache = nodes[node]?.some(
    (name) => cacheUsers.includes(name) && settings.SERVICES.includes(name),
  );
  return new ServiceBroker(
    brokerOptions({
      ...clusterTransport.transport(),
      nodeID: clusterTransport.nodeIdOf(node),
      namespace: clusterTransport.namespace,
      cacher: usesCache ? cacherOf(settings) : undefined,
      logLevel: settings.LOG_LEVEL ?? (production ? "info" : "warn"),
      json: production,
      middlewares: [metrics.middleware, ...nodeMiddlewares(settings, listener)],
    }),
  );
}
