import type { Context, Middleware, ServiceBroker } from "moleculer";
import { type BreakerLimits, type CircuitBreaker, circuitBreaker } from "../../lib/circuit-breaker.ts";
import { type Endpoint, endpointOf } from "./moleculer-internals.ts";

/**
 * `failingMs`: one connection that breaks fails all its calls at once, which says nothing about the next connection.
 * `openMs`: a call may pass several nodes, so their pauses add up, and a client waits ten seconds at most.
 */
const LIMITS: BreakerLimits = { failuresToOpen: 5, failingMs: 500, openMs: 2_000 };

/** Errors that mean that the other node is unreachable or blocked. */
const NO_RESPONSE_TYPES = new Set([
  "SERVICE_UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "REQUEST_TIMEOUT",
  "REQUEST_REJECTED",
]);

interface FailingEndpoint {
  breaker: CircuitBreaker;
  /** Admits calls to the endpoint again after the pause. */
  timer?: NodeJS.Timeout;
}

type Handler = (ctx: Context) => Promise<unknown>;

/**
 * Whether an error was created on this node because the other node did not respond. An error that the other node has
 * sent, also a timeout of its handler, has that node's id: it concerns one order, bank or row, not the node.
 */
export function isNoResponse(error: unknown): boolean {
  const { type, nodeID } = (error ?? {}) as { type?: string; nodeID?: string };
  return nodeID === undefined && type !== undefined && NO_RESPONSE_TYPES.has(type);
}

/**
 * A circuit breaker for each action of each remote node. While it is open, the balancer chooses other nodes, until a
 * trial call gets a response. Moleculer's own breaker counts every error by its status, so the errors of one tenant would
 * refuse the calls of all, and any error of the trial call would keep it open.
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
      const endpoint = endpointOf(ctx);
      const known = failing.get(endpoint);
      // During the trial call, other calls go to other nodes.
      if (known?.breaker.isOpen() && known.breaker.admits()) leaveOut(endpoint, known);
      try {
        const result = await next(ctx);
        answered(endpoint);
        return result;
      } catch (error) {
        if (isNoResponse(error)) unanswered(endpoint);
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
