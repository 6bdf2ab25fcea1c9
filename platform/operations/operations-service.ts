import type { Context, ServiceBroker, ServiceSchema } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { rebuildsOf } from "../../mixins/documents/documents.mixin.ts";
import { readGauges } from "../../mixins/health/health.mixin.ts";

/** What a node of a cluster answers about itself; see `operationsService`. */
export interface NodeState {
  gauges: Awaited<ReturnType<typeof readGauges>>;
  /** The collections of documents that it can make anew. */
  collections: string[];
}

/**
 * What operators ask a node itself and not one of its services, by its node id. In one process the control socket
 * answers the same; in a cluster there is none that reaches all nodes, and an admin's token takes the place of the
 * right to open it.
 */
export function operationsService(broker: ServiceBroker): ServiceSchema {
  const strict = { $$strict: true } as const;
  return {
    name: "operations",
    actions: {
      state: {
        visibility: "public",
        params: strict,
        async handler(ctx: Context): Promise<NodeState> {
          callerOf(ctx as Ctx<unknown>, "admin");
          return { gauges: await readGauges(broker), collections: [...rebuildsOf(broker).keys()] };
        },
      },
      rebuild: {
        visibility: "public",
        params: { ...strict, collection: { type: "string", max: 64 } },
        async handler(ctx: Context<{ collection: string }>): Promise<{ documents: number }> {
          callerOf(ctx as Ctx<unknown>, "admin");
          const rebuild = rebuildsOf(broker).get(ctx.params.collection);
          if (!rebuild) throw fail("NOT_FOUND", `There is no collection ${ctx.params.collection} here.`);
          return { documents: await rebuild() };
        },
      },
    },
  };
}
