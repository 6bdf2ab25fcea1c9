import type { Context, Service, ServiceSchema } from "moleculer";
import { sharedStoreOf } from "./shared-cacher.ts";

const EVENT = "cache.outdated";
const patternsOf = (action: string) => `${action}:**`;

/** Event handlers for a service that caches results made from cached actions of other services. */
export function outdatedEvent(
  actions: ReadonlySet<string>,
  invalidate: (action: string) => void,
): NonNullable<ServiceSchema["events"]> {
  return {
    [EVENT](ctx: Context<{ patterns?: unknown }>) {
      const { patterns } = ctx.params;
      for (const action of actions) {
        if (Array.isArray(patterns) && patterns.includes(patternsOf(action))) invalidate(action);
      }
    },
  };
}

export interface Caching {
  /** Goes into the service's `mixins`. */
  readonly mixin: Partial<ServiceSchema>;
  /** Removes the cached results of this service on every node. Call it after the commit of a change. */
  outdated(): Promise<void>;
}

/**
 * Invalidates cached results on all nodes. Moleculer's in-memory cacher belongs to one node, so a change on one replica is
 * broadcast to the others. A shared cache (Redis) is cleared by the sender only. The event may be lost, and Redis may be
 * unavailable, so each cached action also has a time to live.
 * @param actions full names of the cached actions
 */
export function caching(actions: readonly string[]): Caching {
  let service: Service | undefined;
  const patterns = actions.map(patternsOf);
  return {
    async outdated() {
      await service?.broker.broadcast(EVENT, { patterns });
    },
    mixin: {
      events: {
        async [EVENT](ctx: Context<{ patterns?: unknown }>) {
          // Each service clears its own results only.
          if (JSON.stringify(ctx.params.patterns) !== JSON.stringify(patterns)) return;
          if (sharedStoreOf(ctx.broker) && ctx.nodeID !== ctx.broker.nodeID) return;
          await ctx.broker.cacher?.clean([...actions, ...patterns]);
        },
      },
      async started(this: Service) {
        service = this;
      },
      async stopped() {
        service = undefined;
      },
    },
  };
}
