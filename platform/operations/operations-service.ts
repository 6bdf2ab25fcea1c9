import type { Context, ServiceBroker, ServiceSchema } from "moleculer";
import type { Ctx } from "../../contracts/meta.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { type GaugeResult, readGauges } from "../../mixins/health/health.mixin.ts";

/** The state of one node; the answer of `operations.state`. */
export interface NodeState {
  gauges: GaugeResult[];
}

/**
 * Actions of a node itself, called by its node id. In one process, the control socket has the same requests. In a cluster
 * no socket reaches all nodes, so these actions require an admin's token.
 */
export function operationsService(broker: ServiceBroker): ServiceSchema {
  return {
    name: "operations",
    actions: {
      state: {
        visibility: "public",
        params: { $$strict: true },
        async handler(ctx: Context): Promise<NodeState> {
          callerOf(ctx as Ctx<unknown>, "admin");
          return { gauges: await readGauges(broker) };
        },
      },
    },
  };
}
