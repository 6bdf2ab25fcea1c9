import type { BrokerOptions, Middleware } from "moleculer";
import { customRules } from "./contracts/validation.ts";
import { BoundedCacher } from "./mixins/caching/bounded-cacher.ts";
import { retryDeadline } from "./mixins/retry-deadline/retry-deadline.middleware.ts";
import { departedNode } from "./mixins/transporter/departed-node.middleware.ts";
import { nodeBreaker } from "./mixins/transporter/node-breaker.middleware.ts";
import { remoteTimeout } from "./mixins/transporter/remote-timeout.middleware.ts";

const REQUEST_TIMEOUT_MS = 1_800;
const RETRIES = 2;
const RETRY_DELAY_MS = 30;
const BULKHEAD_CONCURRENCY = 200;
const BULKHEAD_QUEUE = 400;
/** What a node offers is told this long after it changed; the default makes each start a second longer. */
const NEWS_DEBOUNCE_MS = 20;
const SHUTDOWN_TIMEOUT_MS = 8_000;

export interface NodeOptions {
  nodeID: string;
  namespace: string;
  transporter: BrokerOptions["transporter"];
  /** Seconds; where nodes are processes of their own, which may vanish without a word. */
  heartbeatInterval?: number | undefined;
  heartbeatTimeout?: number | undefined;
  cacher?: BrokerOptions["cacher"];
  logLevel: string;
  json: boolean;
  middlewares: Middleware[];
}

/** A call that took too long is not repeated: each repeat would get the whole time again. */
function mayRepeat(error: unknown): boolean {
  const { retryable, type } = (error ?? {}) as { retryable?: boolean; type?: string };
  return retryable === true && type !== "REQUEST_TIMEOUT";
}

/**
 * The options of one Moleculer node: everything that Moleculer leaves off (timeouts, retries, breaker, bulkhead,
 * tracking of running calls at shutdown) is on. Only actions whose contract says `idempotent` are ever retried.
 */
export function brokerOptions(node: NodeOptions): BrokerOptions {
  return {
    nodeID: node.nodeID,
    namespace: node.namespace,
    transporter: node.transporter,
    ...(node.heartbeatInterval && { heartbeatInterval: node.heartbeatInterval }),
    ...(node.heartbeatTimeout && { heartbeatTimeout: node.heartbeatTimeout }),
    cacher: node.cacher ?? new BoundedCacher(),
    logger: { type: "Console", options: { level: node.logLevel, formatter: node.json ? "json" : "short" } },
    requestTimeout: REQUEST_TIMEOUT_MS,
    retryPolicy: {
      enabled: false,
      retries: RETRIES,
      delay: RETRY_DELAY_MS,
      maxDelay: 500,
      factor: 3,
      check: mayRepeat,
    },
    // Ours counts what says that a node is away, and no error that a node has answered: nodeBreaker.
    circuitBreaker: { enabled: false },
    bulkhead: { enabled: true, concurrency: BULKHEAD_CONCURRENCY, maxQueueSize: BULKHEAD_QUEUE },
    // The types of this version forget the option.
    transit: { serviceChangedDebounceTime: NEWS_DEBOUNCE_MS } as BrokerOptions["transit"],
    tracking: { enabled: true, shutdownTimeout: SHUTDOWN_TIMEOUT_MS },
    validator: {
      type: "Fastest",
      options: { defaults: { object: { strict: true } }, customRules },
    } as BrokerOptions["validator"],
    contextParamsCloning: false,
    maxCallLevel: 20,
    skipProcessEventRegistration: true,
    // Not offered: a broker's options hold the passwords of the transporter and the cacher.
    internalServices: { $node: { actions: { options: false } } },
    // The first one is around the broker's own transport alone, the last one also around ways that others bring.
    middlewares: [remoteTimeout(), departedNode(), ...node.middlewares, nodeBreaker(), retryDeadline()],
  };
}
