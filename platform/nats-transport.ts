import { randomBytes } from "node:crypto";
import type { ParsedSettings } from "../lib/settings/settings.ts";
import { KnownNodesDiscoverer } from "../mixins/transporter/known-nodes.discoverer.ts";
import { natsClientOf } from "../mixins/transporter/moleculer-internals.ts";
import { natsTransporter } from "../mixins/transporter/nats.ts";
import type { MessageBus } from "../providers/message-bus/index.ts";
import { jetStreamMessageBus, streamLimitsOf } from "../providers/message-bus/jetstream.ts";
import { natsOptions } from "../providers/message-bus/nats-options.ts";
import type { ClusterTransport } from "./cluster-transport.ts";

/** A killed node leaves the registry after SILENCE_SECONDS, unless NATS is away. Calls to it fail by gRPC at once. */
const HEARTBEAT_SECONDS = 3;
const SILENCE_SECONDS = 10;

type NatsSettings = ParsedSettings & { NATS_URL: string };

/**
 * The message bus of nodes in any number of processes.
 * @param report receives lines for the operator
 */
export function natsMessageBus(settings: NatsSettings, report: (line: string) => void): MessageBus {
  return jetStreamMessageBus({
    nats: natsOptions(settings),
    namespace: settings.NAMESPACE,
    limits: streamLimitsOf(settings),
    report,
  });
}

/** Nodes in any number of processes. */
export function natsTransport(settings: NatsSettings): ClusterTransport {
  // A restarted node gets another id, so that no caller waits for answers of the former one.
  const suffix = randomBytes(4).toString("hex");
  return {
    namespace: settings.NAMESPACE,
    // NATS allows the user of a service only node ids with this prefix: deploy/nats.
    nodeIdOf: (node) => `${node}.${suffix}`,
    transport: () => ({
      transporter: natsTransporter(natsOptions(settings)),
      heartbeatInterval: HEARTBEAT_SECONDS,
      heartbeatTimeout: SILENCE_SECONDS,
      discoverer: new KnownNodesDiscoverer(2 * HEARTBEAT_SECONDS * 1_000),
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
