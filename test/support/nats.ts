import { newId } from "../../lib/ids.ts";
import { type JetStreamOptions, jetStreamCarrier } from "../../providers/carrier/jetstream.ts";
import { natsOptions } from "../../providers/carrier/nats-options.ts";
import type { Carrier } from "../../providers/carrier/port.ts";
import type { NatsServer } from "../servers/nats.ts";

/** Carriers on one namespace of a real server; closed together. */
export function carriers(server: NatsServer, options: Partial<JetStreamOptions> = {}) {
  const namespace = options.namespace ?? `t-${newId()}`;
  const open: Carrier[] = [];
  const reports: string[] = [];
  return {
    namespace,
    stream: namespace.toUpperCase(),
    /** What an operator would have read. */
    reports,
    connect(more: Partial<JetStreamOptions> = {}): Carrier {
      const carrier = jetStreamCarrier({
        nats: natsOptions({ NATS_URL: server.url }),
        namespace,
        report: (line) => reports.push(line),
        ...options,
        ...more,
      });
      open.push(carrier);
      return carrier;
    },
    async close() {
      await Promise.all(open.splice(0).map((carrier) => carrier.close()));
    },
  };
}
