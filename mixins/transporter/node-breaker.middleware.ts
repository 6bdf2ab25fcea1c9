import type { Context, Middleware, ServiceBroker } from "moleculer";
import { type BreakerLimits, type CircuitBreaker, circuitBreaker } from "../../lib/circuit-breaker.ts";

/**
 * `failingMs`: one connection that breaks fails all its calls at once, which says nothing about the next connection.
 * `openMs`: a call may pass several nodes, so their pauses add up, and a client waits ten seconds at most.
 */
const LIMITS: BreakerLimits = { failuresToOpen: 5, failingMs: 500, openMs: 2_000 };

/** Errors that mean: the other node is unreachable or stuck. */
const SILENCE = new Set(["SERVICE_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_TIMEOUT", "REQUEST_REJECTED"]);

/** The part of Moleculer's endpoint that this file uses. An endpoint is one action of one node. */
interface Endpoint {
  name: string;
  /** Whether calls may go there; the balancer looks for another node otherwise. */
  state: boolean;
}

interface FailingEndpoint {
  breaker: CircuitBreaker;
  /** Admits calls to the endpoint again after the pause. */
  timer?: NodeJS.Timeout;
}

type Handler = (ctx: Context) => Promise<unknown>;

/**
 * Whether the error was made on this side because the other node did not answer. An error that the other node answered
 * carries the node's id, also when its handler was too slow: it is about the caller's order, bank or row.
 */
export function isSilence(error: unknown): boolean {
  const { type, nodeID } = (error ?? {}) as { type?: string; nodeID?: string };
  return nodeID === undefined && type !== undefined && SILENCE.has(type);
}

/**
 * Leaves out a node that is unreachable or stuck, action by action, until a trial call gets an answer.
 * Moleculer's own breaker counts errors by their status and so lets one tenant's errors refuse the calls of all; and
 * it takes an error of its trial call for a sign that the node is still away.
 */
export function nodeBreaker(): Middleware {
  const failing = new WeakMap<Endpoint, FailingEndpoint>();
  const clock = { now: () => performance.now() };
  let broker: ServiceBroker;

  function answered(endpoint: Endpoint): void {
    const known = failing.get(endpoint);
    if (!known) return;
    clearTimeout(known.timer);
    failing.delete(endpoint);
    endpoint.state = true;
    if (known.breaker.isOpen()) broker.logger.info(`${endpoint.name} answers again`);
  }

  function unanswered(endpoint: Endpoint): void {
    const known = failing.get(endpoint) ?? { breaker: circuitBreaker(clock, LIMITS) };
    failing.set(endpoint, known);
    const wasOpen = known.breaker.isOpen();
    known.breaker.failed();
    if (wasOpen || !known.breaker.isOpen()) return;
    broker.logger.warn(`${endpoint.name} does not answer: it is left out for ${LIMITS.openMs} ms at a time`);
    leaveOut(endpoint, known);
  }

  /** The balancer picks another node during the pause. */
  function leaveOut(endpoint: Endpoint, known: FailingEndpoint): void {
    clearTimeout(known.timer);
    endpoint.state = false;
    known.timer = setTimeout(() => {
      endpoint.state = true;
    }, LIMITS.openMs);
    known.timer.unref();
  }

  function watch(next: Handler): Handler {
    return async (ctx) => {
      const endpoint = ctx.endpoint as unknown as Endpoint;
      const known = failing.get(endpoint);
      // During the trial call, other calls go to other nodes.
      if (known?.breaker.isOpen() && known.breaker.admits()) leaveOut(endpoint, known);
      try {
        const result = await next(ctx);
        answered(endpoint);
        return result;
      } catch (error) {
        if (isSilence(error)) unanswered(endpoint);
        else answered(endpoint);
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
