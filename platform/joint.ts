import { createHash, randomBytes } from "node:crypto";
import type { ServiceBroker } from "moleculer";
import type { ServiceName } from "../lib/config/catalogue.ts";
import type { Config } from "../lib/config/config.ts";
import type { NodeOptions } from "../moleculer.config.ts";
import { inProcessCarrier } from "../providers/carrier/in-process.ts";
import type { Carrier } from "../providers/carrier/port.ts";

/** A node that was killed is forgotten this long after; a call that meets it before is answered by gRPC at once. */
const HEARTBEAT_SECONDS = 3;
const SILENCE_SECONDS = 10;

/** How the nodes of a platform come together, and who carries the messages that must arrive. */
export interface Joint {
  /** Nodes of another one are not seen. */
  readonly namespace: string;
  /** @param node what it is, as `orders` */
  nodeIdOf(node: string): string;
  /** Of one broker: options may be written into. */
  transport(): Pick<NodeOptions, "transporter" | "heartbeatInterval" | "heartbeatTimeout">;
  /** Whether packets of this broker reach the others now. */
  answers(broker: ServiceBroker): Promise<boolean>;
  readonly carrier: Carrier;
}

/** All nodes are in this process: nothing to install, and the paths of the calls are a cluster's. */
export function inMemory(
  settings: Pick<Config, "NAMESPACE" | "DATA_DIR">,
  groups: readonly ServiceName[],
): Joint {
  return {
    // Two platforms of one process, as tests start them, must not meet.
    namespace: `${settings.NAMESPACE}-${shortHash(settings.DATA_DIR)}`,
    nodeIdOf: (node) => node,
    transport: () => ({ transporter: { type: "Fake" } }),
    answers: async () => true,
    carrier: inProcessCarrier({ groups }),
  };
}

/**
 * Nodes of any number of processes. What needs NATS's client is read here only, since a platform without it is
 * smaller by that.
 * @param report a line that operators should read
 */
export async function overNats(
  settings: Config & { NATS_URL: string },
  report: (line: string) => void,
): Promise<Joint> {
  const { jetStreamCarrier, streamLimitsOf } = await import("../providers/carrier/jetstream.ts");
  const { natsOptions } = await import("../providers/carrier/nats-options.ts");
  const nats = natsOptions(settings);
  return {
    ...(await natsTransport(settings)),
    carrier: jetStreamCarrier({
      nats,
      namespace: settings.NAMESPACE,
      limits: streamLimitsOf(settings),
      report,
    }),
  };
}

/** The same without the carrier, for a node that only calls. */
export async function natsTransport(
  settings: Config & { NATS_URL: string },
): Promise<Omit<Joint, "carrier">> {
  const { natsOptions } = await import("../providers/carrier/nats-options.ts");
  const { natsTransporter } = await import("../mixins/transporter/nats.ts");
  // A node that starts again is another one, so nobody waits for answers to what its forerunner was asked.
  const mark = randomBytes(4).toString("hex");
  return {
    namespace: settings.NAMESPACE,
    // The user of a service may speak and be spoken to as nodes of this name only: config/nats.
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
