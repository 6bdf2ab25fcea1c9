import type { Context, Middleware, ServiceBroker } from "moleculer";

/** A node is left out once so many calls in a row got no sign of life from it, over at least this time. */
const FAILURES_TO_OPEN = 5;
/** One connection that breaks fails all calls on it at once: that alone says nothing about the next connection. */
const FAILING_MS = 500;
/** Calls pass several breakers, one behind the other: what each waits adds up, and ten seconds are all there is. */
const OPEN_MS = 2_000;

/** Errors that mean: the other node is unreachable or stuck. */
const SILENCE = new Set(["SERVICE_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_TIMEOUT", "REQUEST_REJECTED"]);

/** The part of Moleculer's endpoint that this file uses. An endpoint is one action of one node. */
interface Endpoint {
  name: string;
  /** Whether calls may go there; the balancer looks for another node otherwise. */
  state: boolean;
}

interface Failing {
  count: number;
  sinceMs: number;
  state: "closed" | "open" | "half open";
  timer?: NodeJS.Timeout;
}

type Handler = (ctx: Context) => Promise<unknown>;

/**
 * Whether an error was made on this side for lack of a sign of life. What the other node answered, an error of any
 * status or that its own handler was too slow, carries the node's id: it is about the caller's order, bank or row.
 */
export function isSilence(error: unknown): boolean {
  const { type, nodeID } = (error ?? {}) as { type?: string; nodeID?: string };
  return nodeID === undefined && type !== undefined && SILENCE.has(type);
}

/**
 * Leaves out a node that is unreachable or stuck, action by action, and lets one call find out whether it is back.
 * Moleculer's own breaker counts errors by their status and so lets one tenant's errors refuse the calls of all; and
 * after its pause it takes an error of the one call that it lets through for a sign that the node is away still.
 */
export function nodeBreaker(): Middleware {
  const failing = new WeakMap<Endpoint, Failing>();
  let broker: ServiceBroker;

  function lives(endpoint: Endpoint): void {
    const known = failing.get(endpoint);
    if (!known) return;
    clearTimeout(known.timer);
    failing.delete(endpoint);
    endpoint.state = true;
    if (known.state !== "closed") broker.logger.info(`${endpoint.name} answers again`);
  }

  function isSilent(endpoint: Endpoint): void {
    const nowMs = performance.now();
    const known = failing.get(endpoint) ?? { count: 0, sinceMs: nowMs, state: "closed" };
    failing.set(endpoint, known);
    known.count += 1;
    if (known.state !== "closed") return;
    if (known.count < FAILURES_TO_OPEN || nowMs - known.sinceMs < FAILING_MS) return;
    broker.logger.warn(`${endpoint.name} gives no sign of life: it is left out for ${OPEN_MS} ms at a time`);
    open(endpoint, known);
  }

  function open(endpoint: Endpoint, known: Failing): void {
    endpoint.state = false;
    known.state = "open";
    known.timer = setTimeout(() => {
      endpoint.state = true;
      known.state = "half open";
    }, OPEN_MS);
    known.timer.unref();
  }

  function watch(next: Handler): Handler {
    return async (ctx) => {
      const endpoint = ctx.endpoint as unknown as Endpoint;
      const known = failing.get(endpoint);
      // This call finds out; the others wait for its end, and no longer than for the next one to try.
      if (known?.state === "half open") open(endpoint, known);
      try {
        const result = await next(ctx);
        lives(endpoint);
        return result;
      } catch (error) {
        if (isSilence(error)) isSilent(endpoint);
        else lives(endpoint);
        throw error;
      }
    };
  }

  return {
    name: "NodeBreaker",
    created(created: ServiceBroker) {
      broker = created;
    },
    remoteAction: watch,
  } as Middleware;
}
