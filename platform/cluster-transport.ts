import { createHash, randomBytes } from "node:crypto";
import type { ServiceBroker } from "moleculer";
import type { ServiceName } from "../lib/settings/catalogue.ts";
import type { ParsedSettings } from "../lib/settings/settings.ts";
import type { NodeOptions } from "../moleculer.config.ts";
import { inProcessMessageBus } from "../providers/message-bus/in-process.ts";
import type { MessageBus } from "../providers/message-bus/port.ts";

/** A node that was killed is forgotten this long after; a call that meets it before is answered by gRPC at once. */
const HEARTBEAT_SECONDS = 3;
const SILENCE_SECONDS = 10;

/** How the nodes of a platform come together, and who carries the messages that must arrive. */
export interface ClusterTransport {
  /** Nodes of another one are not seen. */
  readonly namespace: string;
  /** @param node what it is, as `orders` */
  nodeIdOf(node: string): string;
  /** Of one broker: options may be written into. */
  transport(): Pick<NodeOptions, "transporter" | "heartbeatInterval" | "heartbeatTimeout">;
  /** Whether packets of this broker reach the others now. */
  answers(broker: ServiceBroker): Promise<boolean>;
  readonly messageBus: MessageBus;
}

/** All nodes are in this process: nothing to install, and the paths of the calls are a cluster's. */
export function inMemoryTransport(
  settings: Pick<ParsedSettings, "NAMESPACE" | "DATA_DIR">,
  groups: readonly ServiceName[],
): ClusterTransport {
  return {
    // Two platforms of one process, as tests start them, must not meet.
    namespace: `${settings.NAMESPACE}-${shortHash(settings.DATA_DIR)}`,
    nodeIdOf: (node) => node,
    transport: () => ({ transporter: { type: "Fake" } }),
    answers: async () => true,
    messageBus: inProcessMessageBus({ groups }),
  };
}

/**
 * Nodes of any number of processes. What needs NATS's client is read here only, since a platform without it is
 * smaller by that.
 * @param report a line that operators should read
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

/** The same without the message bus, for a node that only calls. */
export async function natsTransport(
  settings: ParsedSettings & { NATS_URL: string },
): Promise<Omit<ClusterTransport, "messageBus">> {
  const { natsOptions } = await import("../providers/message-bus/nats-options.ts");
  const { natsTransporter } = await import("../mixins/transporter/nats.ts");
  // A node that starts again is another one, so nobody waits for answers to what its forerunner was asked.
  const mark = randomBytes(4).toString("hex");
  return {
    namespace: settings.NAMESPACE,
    // The user of a service may speak and be spoken to as nodes of this name only: deploy/nats.
    nodeIdOf: (node) => `${node}.${mark}`,
    transport: () => ({
      transporter: natsTransporter(natsOptions(settings)),
      heartbeatInterval: HEARTBEAT_SECONDS,
      heartbeatTimeout: SILENCE_SECONDS,
    }),
    async answers(broker) {
      // Moleculer goes on believing that it is connected while the client reconnects.
      const { client } = (broker.transit as unknown as { tx: { client: NatsClient | null } }).tx;
      if (!client || client.isClosed()) return false;
      await client.flush();
      return true;
    },
  };
}

/** What is used here of the connection that Moleculer's transporter has opened. */
interface NatsClient {
  isClosed(): boolean;
  flush(): Promise<void>;
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}
