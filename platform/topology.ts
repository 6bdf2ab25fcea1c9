import { createHash } from "node:crypto";
import { ServiceBroker } from "moleculer";
import type { ServiceName } from "../lib/config/catalogue.ts";
import type { Settings } from "../lib/config/config.ts";
import { brokerOptions } from "../moleculer.config.ts";
import { inProcessCarrier } from "../providers/carrier/index.ts";
import type { CallMetrics } from "./operations/call-metrics.ts";
import { consumers, nodeMiddlewares, services } from "./services.ts";

const JOIN_TIMEOUT_MS = 10_000;
const JOIN_POLL_MS = 10;

/** The nodes of the embedded topology: four as in a cluster, so that calls take the cluster's paths. */
const nodes: Record<string, readonly ServiceName[]> = {
  gateway: ["api", "identity", "media"],
  orders: ["orders"],
  partners: ["partners"],
  notifications: ["notifications"],
};

/** The services that offer their actions by gRPC. */
const bridged: readonly ServiceName[] = ["orders", "partners"];

export interface Topology {
  readonly namespace: string;
  readonly brokers: readonly ServiceBroker[];
  /** The node that runs a service here. @throws Error when SERVICES leaves it out */
  brokerOf(service: ServiceName): ServiceBroker;
  /** Whether messages between the services get through now. */
  carries(): Promise<boolean>;
  start(): Promise<void>;
  /** The gateway first, so that no request meets a service that has gone; running calls are finished. */
  stop(): Promise<void>;
}

/**
 * Builds the brokers of this process, with the services that SERVICES names, joined by the in-memory transporter.
 * @param metrics counts the calls of all of them
 */
export function topology(settings: Settings, metrics: CallMetrics): Topology {
  const namespace = `${settings.NAMESPACE}-${shortHash(settings.DATA_DIR)}`;
  const carrier = inProcessCarrier({
    groups: consumers.filter((service) => settings.SERVICES.includes(service)),
  });
  // One port can be given to one node only; where several of them offer gRPC in one process, each takes its own.
  const grpcPort =
    bridged.filter((service) => settings.SERVICES.includes(service)).length > 1 ? 0 : settings.GRPC_PORT;
  const production = settings.NODE_ENV === "production";
  const hosts = new Map<ServiceName, ServiceBroker>();

  const brokers = Object.entries(nodes).flatMap(([nodeID, names]) => {
    const wanted = names.filter((service) => settings.SERVICES.includes(service));
    if (wanted.length === 0) return [];
    const broker = new ServiceBroker(
      brokerOptions({
        nodeID,
        namespace,
        transporter: { type: "Fake" },
        logLevel: settings.LOG_LEVEL ?? (production ? "info" : "warn"),
        json: production,
        middlewares: [metrics.middleware, ...nodeMiddlewares(settings, grpcPort)],
      }),
    );
    for (const service of wanted) {
      hosts.set(service, broker);
      broker.createService(services[service]({ config: settings, carrier }));
    }
    return [broker];
  });
  const [gateway, ...others] = brokers;
  return {
    namespace,
    brokers,
    brokerOf(service) {
      const broker = hosts.get(service);
      if (!broker) throw new Error(`SERVICES leaves out ${service}`);
      return broker;
    },
    carries: () => carrier.ready(),
    async start() {
      await Promise.all(brokers.map((broker) => broker.start()));
      // A node tells what it offers a moment after its start, and each waits for the others to have heard it.
      const names = [...hosts.keys()];
      await Promise.all(
        brokers.map((broker) => broker.waitForServices(names, JOIN_TIMEOUT_MS, JOIN_POLL_MS)),
      );
    },
    async stop() {
      await gateway?.stop();
      await Promise.all(others.map((broker) => broker.stop()));
      await carrier.close();
    },
  };
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}
