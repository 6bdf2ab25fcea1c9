import { ServiceBroker, type ServiceSchema } from "moleculer";
import { sharedServer } from "moleculer-grpc";
import type { ServiceName } from "../lib/settings/catalogue.ts";
import type { Settings } from "../lib/settings/settings.ts";
import type { Degradation } from "../mixins/health/health.mixin.ts";
import { supplyDependencies } from "../mixins/node-dependencies/node-dependencies.mixin.ts";
import { inProcessMessageBus, type MessageBus } from "../providers/message-bus/index.ts";
import { type ClusterTransport, inMemoryTransport } from "./cluster-transport.ts";
import { certificateWarning } from "./grpc.ts";
import { nodeOptions } from "./node.ts";
import type { CallMetrics } from "./operations/call-metrics.ts";
import { operationsService } from "./operations/operations-service.ts";
import { consumers, serviceSchemas } from "./services.ts";

const JOIN_TIMEOUT_MS = 10_000;
const JOIN_POLL_MS = 10;
/** After this, the process starts without the missing services of other processes. */
const OTHERS_TIMEOUT_MS = 5_000;

/** The nodes of one process with all services: four as in a cluster, so that calls take the cluster's paths. */
const nodes: readonly (readonly ServiceName[])[] = [
  ["api", "identity", "media"],
  ["orders"],
  ["partners"],
  ["notifications"],
];

const NO_MESSAGE_BUS = "NATS takes no messages: they wait in the outboxes";
const NO_TRANSPORTER = "NATS does not answer: only calls over the bridge are possible";

/** The services that a service waits for at its start, because it calls them to answer most requests. */
const needs: Partial<Record<ServiceName, readonly ServiceName[]>> = {
  api: ["identity", "media", "orders", "partners", "notifications"],
  orders: ["partners", "identity"],
};

export interface Topology {
  readonly namespace: string;
  readonly brokers: readonly ServiceBroker[];
  /** The node that runs a service here. @throws Error when SERVICES leaves it out */
  brokerOf(service: ServiceName): ServiceBroker;
  /** Reasons why an operator has to act although the process works. */
  readonly degradations: Record<"message_bus" | "transporter" | "certificate", Degradation>;
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
  const { transport, messageBus } = await connectionsOf(settings, report);
  const listener = sharedServer();
  const schemas = await serviceSchemas(settings.SERVICES);
  const hosts = new Map<ServiceName, ServiceBroker>();
  const brokers = nodes.flatMap((names) => {
    const [first, ...more] = names.filter((service) => schemas.has(service));
    if (!first) return [];
    const services = [first, ...more] as const;
    const broker = new ServiceBroker(
      nodeOptions({ settings, services, transport, listener, outer: [metrics.middleware] }),
    );
    supplyDependencies(broker, () => ({ config: settings, messageBus }));
    for (const service of services) {
      hosts.set(service, broker);
      broker.createService(schemas.get(service) as ServiceSchema);
    }
    if (settings.NATS_URL) broker.createService(operationsService(broker));
    return [broker];
  });

  const [gateway, ...others] = brokers;
  return {
    namespace: transport.namespace,
    brokers,
    brokerOf(service) {
      const broker = hosts.get(service);
      if (!broker) throw new Error(`SERVICES leaves out ${service}`);
      return broker;
    },
    // Without NATS, calls over the bridge go on, and messages wait in the outboxes. A start waits for NATS.
    degradations: {
      message_bus: async () => ((await messageBus.ready()) ? undefined : NO_MESSAGE_BUS),
      transporter: async () =>
        (await Promise.all(brokers.map(transport.answers))).every(Boolean) ? undefined : NO_TRANSPORTER,
      certificate: () => certificateWarning(settings.GRPC_TLS_CERT),
    },
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

async function connectionsOf(
  settings: Settings,
  report: (line: string) => void,
): Promise<{ transport: ClusterTransport; messageBus: MessageBus }> {
  const { NATS_URL, SERVICES } = settings;
  if (NATS_URL === undefined) {
    const groups = consumers.filter((service) => SERVICES.includes(service));
    return { transport: inMemoryTransport(settings), messageBus: inProcessMessageBus({ groups }) };
  }
  // Loads the NATS client only here, because it takes memory.
  const { natsMessageBus, natsTransport } = await import("./nats-transport.ts");
  const nats = { ...settings, NATS_URL };
  return { transport: natsTransport(nats), messageBus: natsMessageBus(nats, report) };
}
