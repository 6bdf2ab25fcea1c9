import type { Context, ServiceBroker, ServiceSchema } from "moleculer";
import type { Ctx } from "../../contracts/meta.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { type GaugeResult, readGauges } from "../../mixins/health/health.mixin.ts";

/** What a node of a cluster answers about itself; see `operationsService`. */
export interface NodeState {
  gauges: GaugeResult[];
}

/**
 * What operators ask a node itself and not one of its services, by its node id. In one process the control socket
 * answers the same; in a cluster there is none that reaches all nodes, and an admin's token takes the place of the
 * right to open it.
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
