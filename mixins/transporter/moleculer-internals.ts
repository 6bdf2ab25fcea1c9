import type { RequestListener, ServerResponse } from "node:http";
import { createRequire } from "node:module";
import type { Cachers, Context, Service, ServiceBroker } from "moleculer";
import type { IncomingRequest } from "moleculer-web";

// Internals of Moleculer that this project uses without a public API. All of them are in this file, and
// test/component/moleculer-internals.spec.ts fails when a new version changes one. The packages moleculer-grpc and
// moleculer-open-api, which import nothing of the platform, are the exception.

/** One action of one node, as the balancer knows it. */
export interface Endpoint {
  name: string;
  /** Whether the balancer may choose it. */
  state: boolean;
}

export function endpointOf(ctx: Context): Endpoint {
  return ctx.endpoint as unknown as Endpoint;
}

/** Whether a node that is known and available offers this action. */
export function hasAction(broker: ServiceBroker, name: string): boolean {
  const { actions } = broker.registry as unknown as { actions: { isAvailable(name: string): boolean } };
  return actions.isAvailable(name);
}

/** Removes a node from the registry. @returns whether it was there */
export function removeNode(broker: ServiceBroker, nodeID: string): boolean {
  const { nodes } = broker.registry as unknown as { nodes: { delete(nodeID: string): boolean } };
  return nodes.delete(nodeID);
}

/** The connection of the NATS transporter. */
export interface NatsClient {
  isClosed(): boolean;
  flush(): Promise<void>;
}

/** The connection that the broker's NATS transporter has opened; null while there is none. */
export function natsClientOf(broker: ServiceBroker): NatsClient | null {
  return (broker.transit as unknown as { tx: { client: NatsClient | null } }).tx.client;
}

/** The request handler of a moleculer-web service. */
export function httpHandlerOf(service: Service): RequestListener {
  return (service as unknown as { httpHandler: RequestListener }).httpHandler;
}

/** @param inPath the values of the path's placeholders, decoded */
export type AliasHandler = (
  req: IncomingRequest,
  res: ServerResponse,
  inPath: Record<string, string>,
) => void;

/** An alias of a moleculer-web service: a handler for a method and a path. */
export interface Alias {
  readonly method: string;
  readonly handler: AliasHandler;
  /** As `/api/v1/orders/:order_id`. */
  readonly fullPath: string;
  readonly route: { readonly opts: { readonly pathToRegexpOptions?: { readonly sensitive?: boolean } } };
}

/** The aliases of a moleculer-web service, in the order in which it tries them. */
export function aliasesOf(service: Service): readonly Alias[] {
  return (service as unknown as { aliases: readonly Alias[] }).aliases;
}

/** The lru-cache of Moleculer's in-memory cacher. */
export interface LruCache {
  readonly calculatedSize: number;
}
type LruCacheClass = new (options: {
  max: number;
  maxSize: number;
  sizeCalculation: (value: unknown, key: string) => number;
}) => LruCache;

export function lruCacheOf(cacher: InstanceType<typeof Cachers.MemoryLRU>): LruCache {
  return (cacher as unknown as { cache: LruCache }).cache;
}

/** Replaces the cache of a cacher by one of the same class with other options. */
export function replaceLruCache(
  cacher: InstanceType<typeof Cachers.MemoryLRU>,
  options: ConstructorParameters<LruCacheClass>[0],
): void {
  const own = cacher as unknown as { cache: LruCache };
  own.cache = new (own.cache.constructor as LruCacheClass)(options);
}

/** A command-line program of commander, as far as it is used here. */
export interface CommandProgram {
  exitOverride(): this;
  allowUnknownOption(allow: boolean): this;
  parseAsync(argv: string[]): Promise<unknown>;
  readonly commands: readonly { name(): string }[];
}

/** The commands of moleculer-repl. Its public entry starts a terminal session and hides which command failed. */
export function replProgram(broker: ServiceBroker): CommandProgram {
  const require = createRequire(import.meta.url);
  const inRepl = createRequire(require.resolve("moleculer-repl"));
  const { Command } = inRepl("commander") as { Command: new () => CommandProgram };
  const register = inRepl("./src/commands/index.js") as (
    program: CommandProgram,
    broker: ServiceBroker,
  ) => void;
  const program = new Command().exitOverride().allowUnknownOption(true);
  register(program, broker);
  return program;
}
