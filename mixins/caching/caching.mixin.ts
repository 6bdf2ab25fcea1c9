import type { Context, Service, ServiceSchema } from "moleculer";
import { sharedStoreOf } from "./shared-cacher.ts";

const EVENT = "cache.outdated";
const patternsOf = (action: string) => `${action}:**`;

/** For a service that keeps what it made of other services' cached answers: what is told when one is outdated. */
export function outdatedEvent(
  actions: ReadonlySet<string>,
  forget: (action: string) => void,
): NonNullable<ServiceSchema["events"]> {
  return {
    [EVENT](ctx: Context<{ patterns?: unknown }>) {
      const { patterns } = ctx.params;
      for (const action of actions) {
        if (Array.isArray(patterns) && patterns.includes(patternsOf(action))) forget(action);
      }
    },
  };
}

export interface Caching {
  /** Goes into the service's `mixins`. */
  readonly mixin: Partial<ServiceSchema>;
  /** Has every node forget the cached answers of this service; for after the commit of a change. */
  outdated(): Promise<void>;
}

/**
 * Clears cached answers wherever they are. Moleculer's cacher in memory knows only its own node, so a change on
 * one replica has to be told to the others; what all share (Redis) the one that speaks clears for all.
 * The event is a hint that may be lost, as may Redis be: a cached action has a time to live besides.
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
          // What others cache is theirs to clear, so a stranger's patterns are no business of ours.
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
