import { fileURLToPath } from "node:url";
import { newId } from "../../lib/ids.ts";
import { type JetStreamOptions, jetStreamMessageBus } from "../../providers/message-bus/jetstream.ts";
import { natsOptions } from "../../providers/message-bus/nats-options.ts";
import type { MessageBus } from "../../providers/message-bus/port.ts";
import { type NatsServer, startNats } from "../servers/nats.ts";

/** The users of the shipped configuration; `monitor` belongs to the system account. */
export const natsUsers = [
  ...["gateway", "identity", "media", "orders", "partners", "notifications"],
  ...["operator", "deploy", "monitor"],
] as const;

/** A server with the configuration that ships, and a password for each of its users. */
export async function startShippedNats(options: { port?: number } = {}): Promise<NatsServer> {
  const passwords = natsUsers.map((user) => [`NATS_PASSWORD_${user.toUpperCase()}`, passwordOf(user)]);
  return await startNats({
    ...options,
    configFile: fileURLToPath(new URL("../../deploy/nats/nats.conf", import.meta.url)),
    env: Object.fromEntries(passwords),
  });
}

export function natsAs(server: NatsServer, user: string) {
  return natsOptions({ NATS_URL: server.url, NATS_USER: user, NATS_PASSWORD: passwordOf(user) });
}

function passwordOf(user: string): string {
  return `password-of-${user}`;
}

/** Message buses on one namespace of a real server; closed together. */
export function messageBuses(server: NatsServer, options: Partial<JetStreamOptions> = {}) {
  const namespace = options.namespace ?? `t-${newId()}`;
  const open: MessageBus[] = [];
  const reports: string[] = [];
  return {
    namespace,
    stream: namespace.toUpperCase(),
    /** Log lines for an operator. */
    reports,
    connect(more: Partial<JetStreamOptions> = {}): MessageBus {
      const messageBus = jetStreamMessageBus({
        nats: natsOptions({ NATS_URL: server.url }),
        namespace,
        report: (line) => reports.push(line),
        ...options,
        ...more,
      });
      open.push(messageBus);
      return messageBus;
    },
    async close() {
      await Promise.all(open.splice(0).map((messageBus) => messageBus.close()));
    },
  };
}
