/**
 * The parts of Moleculer 0.15 that this package uses and that its types or documentation do not promise. A test fails
 * when a new version changes them.
 */
import type { CallingOptions, Context, Middleware, ServiceBroker } from "moleculer";

interface Nodes {
  get(nodeID: string): { metadata?: Record<string, unknown> } | undefined;
}

/** The metadata of a known node, this one included; undefined for a node that is not known. */
export function metadataOf(broker: ServiceBroker, nodeID: string): Record<string, unknown> | undefined {
  const { nodes } = broker.registry as unknown as { nodes: Nodes };
  const node = nodes.get(nodeID);
  return node && (node.metadata ?? {});
}

/** A context without an endpoint, for `broker.call` with the option `ctx`. */
export function createContext(broker: ServiceBroker, params: object, options: CallingOptions): Context {
  return broker.ContextFactory.create(broker, null as never, params, options);
}

/** Adds a middleware behind all of the options: its `stopping` runs before theirs. */
export function addLastMiddleware(broker: ServiceBroker, middleware: Middleware): void {
  broker.middlewares.add(middleware);
}
