import { createHash, randomBytes } from "node:crypto";
import type { ServiceBroker } from "moleculer";
import type { ServiceName } from "../lib/settings/catalogue.ts";
import type { ParsedSettings } from "../lib/settings/settings.ts";
import { natsClientOf } from "../mixins/transporter/moleculer-internals.ts";
import type { NodeOptions } from "../moleculer.config.ts";
import { inProcessMessageBus } from "../providers/message-bus/in-process.ts";
import type { MessageBus } from "../providers/message-bus/port.ts";

/** A killed node leaves the registry after SILENCE_SECONDS. Earlier calls to it fail by gRPC at once. */
const HEARTBEAT_SECONDS = 3;
const SILENCE_SECONDS = 10;

/** How the nodes of a platform communicate, and the message bus. */
export interface ClusterTransport {
  /** Nodes of other namespaces are invisible. */
  readonly namespace: string;
  /** @param node name of the node, such as `orders` */
  nodeIdOf(node: string): string;
  /** A new object for each broker, which may change it. */
  transport(): Pick<NodeOptions, "transporter" | "heartbeatInterval" | "heartbeatTimeout">;
  /** Whether this broker can reach the others now. */
  answers(broker: ServiceBroker): Promise<boolean>;
  readonly messageBus: MessageBus;
}

/** All nodes are in this process. Needs no server, and calls take the same path as in a cluster. */
export function inMemoryTransport(
  settings: Pick<ParsedSettings, "NAMESPACE" | "DATA_DIR">,
  groups: readonly ServiceName[],
): ClusterTransport {
  return {
    // Separates two platforms in one process, as in tests.
    namespace: `${settings.NAMESPACE}-${shortHash(settings.DATA_DIR)}`,
    nodeIdOf: (node) => node,
    transport: () => ({ transporter: { type: "Fake" } }),
    answers: async () => true,
    messageBus: inProcessMessageBus({ groups }),
  };
}

/**
 * Nodes in any number of processes. Loads the NATS client only here, because it takes memory.
 * @param report receives lines for the operator
 */
export async function natsClusterTransport(
  settings: ParsedSettings & { NATS_URL: string },
  report: (line: string) => void,
): Promise<ClusterTransport> {
  const { jetStreamMessageBus, streamLimitsOf } = await import("../providers/message-bus/jetstream.ts");
  const { natsOptions } = await import("../providers/message-bus/nats-options.ts");
  const nats = natsOptions(settings);
  return {
    ...(await natsTransport(settings)),
    messageBus: jetStreamMessageBus({
      nats,
      namespace: settings.NAMESPACE,
      limits: streamLimitsOf(settings),
      report,
    }),
  };
}

/** The same without the message bus, for a node that only makes calls. */
export async function natsTransport(
  settings: ParsedSettings & { NATS_URL: string },
): Promise<Omit<ClusterTransport, "messageBus">> {
  const { natsOptions } = await import("../providers/message-bus/nats-options.ts");
  const { natsTransporter } = await import("../mixins/transporter/nats.ts");
  // A restarted node gets another id, so that nobody waits for answers of the former one.
  const suffix = randomBytes(4).toString("hex");
  return {
    namespace: settings.NAMESPACE,
    // NATS allows the user of a service only node ids with this prefix: deploy/nats.
    nodeIdOf: (node) => `${node}.${suffix}`,
    transport: () => ({
      transporter: natsTransporter(natsOptions(settings)),
      heartbeatInterval: HEARTBEAT_SECONDS,
      heartbeatTimeout: SILENCE_SECONDS,
    }),
    async answers(broker) {
      // Moleculer reports "connected" even while the client reconnects.
      const client = natsClientOf(broker);
      if (!client || client.isClosed()) return false;
      await client.flush();
      return true;
    },
  };
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}
