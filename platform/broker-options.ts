import type { BrokerOptions, Discoverers, Middleware } from "moleculer";
import { customRules } from "../contracts/validation.ts";
import { BoundedCacher } from "../mixins/caching/bounded-cacher.ts";
import { retryDeadline } from "../mixins/retry-deadline/retry-deadline.middleware.ts";
import { departedNode } from "../mixins/transporter/departed-node.middleware.ts";
import { nodeBreaker } from "../mixins/transporter/node-breaker.middleware.ts";
import { remoteTimeout } from "../mixins/transporter/remote-timeout.middleware.ts";

const RETRIES = 2;
const RETRY_DELAY_MS = 30;
const BULKHEAD_CONCURRENCY = 200;
const BULKHEAD_QUEUE = 400;
/** The delay before a node announces changed services. The default makes each start a second longer. */
const SERVICE_CHANGED_DEBOUNCE_MS = 20;
const SHUTDOWN_TIMEOUT_MS = 8_000;

export interface NodeOptions {
  nodeID: string;
  namespace: string;
  transporter: BrokerOptions["transporter"];
  /** Seconds. For nodes in separate processes, which may end without a disconnect packet. */
  heartbeatInterval?: number | undefined;
  heartbeatTimeout?: number | undefined;
  discoverer?: Discoverers.Base | undefined;
  requestTimeoutMs: number;
  cacher?: BrokerOptions["cacher"];
  logLevel: string;
  json: boolean;
  middlewares: Middleware[];
}

/** A call that timed out is not retried: the attempts share its timeout. */
function mayRetry(error: unknown): boolean {
  const { retryable, type } = (error ?? {}) as { retryable?: boolean; type?: string };
  return retryable === true && type !== "REQUEST_TIMEOUT";
}

/**
 * The options of one Moleculer node. The features that are off by default (timeouts, retries, breaker, bulkhead, tracking
 * of running calls at shutdown) are on. Only actions whose contract says `idempotent` are ever retried.
 */
export function brokerOptions(node: NodeOptions): BrokerOptions {
  return {
    nodeID: node.nodeID,
    namespace: node.namespace,
    transporter: node.transporter,
    ...(node.heartbeatInterval && { heartbeatInterval: node.heartbeatInterval }),
    ...(node.heartbeatTimeout && { heartbeatTimeout: node.heartbeatTimeout }),
    ...(node.discoverer && { registry: { discoverer: node.discoverer } }),
    cacher: node.cacher ?? new BoundedCacher(),
    logger: { type: "Console", options: { level: node.logLevel, formatter: node.json ? "json" : "short" } },
    requestTimeout: node.requestTimeoutMs,
    retryPolicy: {
      enabled: false,
      retries: RETRIES,
      delay: RETRY_DELAY_MS,
      maxDelay: 500,
      factor: 3,
      check: mayRetry,
    },
    // nodeBreaker replaces it: it counts missing responses and no error that a node has sent.
    circuitBreaker: { enabled: false },
    bulkhead: { enabled: true, concurrency: BULKHEAD_CONCURRENCY, maxQueueSize: BULKHEAD_QUEUE },
    // The types of this version lack the option.
    transit: { serviceChangedDebounceTime: SERVICE_CHANGED_DEBOUNCE_MS } as BrokerOptions["transit"],
    tracking: { enabled: true, shutdownTimeout: SHUTDOWN_TIMEOUT_MS },
    validator: {
      type: "Fastest",
      options: { defaults: { object: { strict: true } }, customRules },
    } as BrokerOptions["validator"],
    contextParamsCloning: false,
    maxCallLevel: 20,
    skipProcessEventRegistration: true,
    // Disabled: the options of a broker contain the passwords of the transporter and the cacher.
    internalServices: { $node: { actions: { options: false } } },
    // The first middleware is the innermost: it wraps only the broker's transport. The last ones also wrap other transports.
    middlewares: [remoteTimeout(), departedNode(), ...node.middlewares, nodeBreaker(), retryDeadline()],
  };
}
