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
/** Services of other processes that are not there by then are taken for down: this one begins without them. */
const OTHERS_TIMEOUT_MS = 5_000;

/** The nodes of one process with all services: four as in a cluster, so that calls take the cluster's paths. */
const nodes: Record<string, readonly ServiceName[]> = {
  gateway: ["api", "identity", "media"],
  orders: ["orders"],
  partners: ["partners"],
  notifications: ["notifications"],
};

/** The services that keep something in the cacher; the others are spared its connection and its 16 MB. */
const remembering: readonly ServiceName[] = ["api", "partners"];

/** Whom each service calls to answer a request. */
const needs: Partial<Record<ServiceName, readonly ServiceName[]>> = {
  api: ["identity", "media", "orders", "partners", "notifications"],
  orders: ["partners", "identity"],
};

export interface Topology {
  readonly namespace: string;
  readonly brokers: readonly ServiceBroker[];
  /** The node that runs a service here. @throws Error when SERVICES leaves it out */
  brokerOf(service: ServiceName): ServiceBroker;
  /** What the process needs besides what its services do: that calls and messages get through now. */
  readonly checks: Record<"message_bus" | "transporter", () => Promise<boolean>>;
  /** Why it needs somebody, though it works. */
  readonly degradations: Record<"certificate", () => string | undefined>;
  start(): Promise<void>;
  /** The gateway first, so that no request meets a service that has gone; running calls are finished. */
  stop(): Promise<void>;
}

/**
 * Builds the brokers of this process with the services that SERVICES names, joined by NATS where NATS_URL is set
 * and else in memory.
 * @param metrics counts the calls of all of them
 * @param report takes a line that operators should read
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
    // Identity and media are guests of the gateway's node; where they run alone, the node is called after them.
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
      // A node tells what it offers a moment after its start, and each waits for the others to have heard it.
      const own = [...hosts.keys()];
      await Promise.all(brokers.map((broker) => broker.waitForServices(own, JOIN_TIMEOUT_MS, JOIN_POLL_MS)));
      const elsewhere = [...new Set(own.flatMap((name) => needs[name] ?? []))].filter(
        (name) => !hosts.has(name),
      );
      if (elsewhere.length === 0) return;
      await gateway?.waitForServices(elsewhere, OTHERS_TIMEOUT_MS, JOIN_POLL_MS).catch(() => {
        report(
          `Not all of ${elsewhere.join(", ")} are there: what needs them is answered 503 until they are`,
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
  const remembers = nodes[node]?.some(
    (name) => remembering.includes(name) && settings.SERVICES.includes(name),
  );
  return new ServiceBroker(
    brokerOptions({
      ...clusterTransport.transport(),
      nodeID: clusterTransport.nodeIdOf(node),
      namespace: clusterTransport.namespace,
      cacher: remembers ? cacherOf(settings) : undefined,
      logLevel: settings.LOG_LEVEL ?? (production ? "info" : "warn"),
      json: production,
      middlewares: [metrics.middleware, ...nodeMiddlewares(settings, listener)],
    }),
  );
}
