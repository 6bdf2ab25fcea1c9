import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import type { Context, Middleware, Service, ServiceBroker } from "moleculer";
import type { Locals } from "../../contracts/meta.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { announce } from "./address.ts";
import { type BridgeClient, bridgeClient } from "./client.ts";
import { type Method, protoCatalogue } from "./proto-catalogue.ts";
import type { GrpcExposure } from "./schema.ts";
import { type BridgeServer, type SharedServer, sharedServer } from "./server.ts";

export { bridgeCredential, CREDENTIAL_KEY } from "./credential.ts";
export type { GrpcExposure } from "./schema.ts";
export { type SharedServer, sharedServer } from "./server.ts";

/** Until other nodes have heard that this one takes no more calls; the broker itself waits 100 ms more. */
const NEWS_TRAVELS_MS = 400;
/** From the beginning of a stop to the end of whatever is still under way. */
const DRAIN_MS = 8_000;
const LEAST_GRACE_MS = 100;

export interface BridgeOptions {
  /** BRIDGE_SECRET, the same on every node. */
  secret: string;
  /** Another one whose credentials are let in too; calls are always signed by `secret`. */
  previousSecret?: string | undefined;
  /** The address to listen on. */
  host: string;
  /** The host that other nodes reach this one by; absent: `host`, or this machine's where that is any address. */
  announce?: string | undefined;
  /** 0 takes any free port. */
  port: number;
  /** The folder that holds the .proto files of the whole platform. */
  protoDir: string;
  /** Nodes of one process that share it have one port together. Default: a server of this node's own. */
  listener?: SharedServer;
  clock?: Clock;
}

/**
 * The gRPC bridge of one broker. A service whose schema says `grpc: { proto, service }` offers its actions as
 * unary methods; every action of another node that stands in a proto is called by gRPC, all others by the
 * transporter, and nothing goes the other way when one is down. Finding nodes, balancing, retries and timeouts stay
 * the broker's.
 * @throws Error for a proto that cannot be bridged; the start of the broker is refused for a proto file or
 * service that is missing and for a method without a public action
 */
export function grpcBridge(options: BridgeOptions): Middleware {
  const {
    secret,
    previousSecret,
    host,
    port,
    announce: announcedHost,
    protoDir,
    listener = sharedServer(),
    clock = systemClock,
  } = options;
  setLogVerbosity(logVerbosity.NONE); // what fails here reaches the broker's log as an error of ours
  const catalogue = protoCatalogue(protoDir);
  const owners = new Set<ServiceBroker>();
  const offered = new WeakSet<Service>();
  let client: BridgeClient | undefined;
  let server: BridgeServer | undefined;
  let stopBeganMs = 0;
  let closing: Promise<void> | undefined;

  function methodsOf(service: Service, { proto, service: name }: GrpcExposure): Method[] {
    const methods = catalogue.methodsOf(name);
    if (!existsSync(join(protoDir, proto))) throw refusal(service, `there is no ${proto}`);
    if (methods.length === 0) throw refusal(service, `${proto} has no service ${name}`);
    for (const method of methods) {
      if (
        method.action !== `${service.fullName}.${method.rawAction}` ||
        !isPublic(service, method.rawAction)
      ) {
        throw refusal(service, `the method ${method.path.slice(1)} has no public action ${method.action}`);
      }
    }
    return methods;
  }

  function offer(service: Service): void {
    const exposure = service.schema.grpc;
    if (!exposure) return;
    const methods = methodsOf(service, exposure);
    if (!server) throw refusal(service, "it was created after the start of a node that had nothing to offer");
    server.expose(methods, service);
    offered.add(service);
  }

  return {
    name: "grpcBridge",
    created(broker) {
      owners.add(broker);
      client = bridgeClient({ broker, secret, clock });
      // Added last, it hears of the stop first, before the broker waits for the calls that are under way.
      broker.middlewares.add({
        name: "grpcBridgeStop",
        async stopping() {
          stopBeganMs = Date.now();
          server?.serving(false);
        },
      });
    },
    serviceCreated({ schema }) {
      if (schema.grpc) listener.announce(schema.grpc.service);
    },
    async starting(broker) {
      if (owners.size > 1) throw new Error("a bridge belongs to one broker: make one for each");
      const services = broker.services.filter(({ schema }) => schema.grpc);
      if (services.length === 0) return;
      const names = services.flatMap(({ schema }) => schema.grpc?.service ?? []);
      server = listener.join({ broker, catalogue, secret, previousSecret, clock }, names);
      for (const service of services) offer(service);
      // Before the node first tells about itself, or it would announce the port 0.
      const address = await server.bind(host, port, announcedHost);
      announce(broker, address);
      broker.logger.info(`gRPC on ${address}`);
    },
    async serviceStarting(service) {
      if (!offered.has(service)) offer(service);
    },
    async started() {
      server?.serving(true);
    },
    // The broker's own answer comes earlier than the handler's end, when its time-out ends the wait and not the work.
    localAction(wrapped) {
      const next = wrapped as (ctx: Context) => Promise<unknown>; // bound to its service already
      return (ctx: Context) => {
        const work = next(ctx);
        (ctx.locals as Locals).working?.(work);
        return work;
      };
    },
    remoteAction(next, action) {
      const method = catalogue.methodOf(action.name as string);
      return method ? (ctx: Context) => (client as BridgeClient).send(method, ctx) : next;
    },
    async stopping(broker) {
      if (server && hasPeers(broker)) await delay(NEWS_TRAVELS_MS);
      closing = server?.close(Math.max(LEAST_GRACE_MS, DRAIN_MS - (Date.now() - stopBeganMs)));
      // With tracking on, the broker itself now waits for running actions; waiting here too would take twice as long.
      if (!broker.options.tracking?.enabled) await closing;
    },
    async stopped() {
      await closing;
      client?.close();
    },
  };
}

function refusal(service: Service, reason: string): Error {
  return new Error(`${service.fullName} cannot be offered by gRPC: ${reason}`);
}

function isPublic(service: Service, rawAction: string): boolean {
  const action = service.schema.actions?.[rawAction];
  if (!action) return false;
  const visibility = typeof action === "object" ? action.visibility : undefined;
  return visibility === undefined || visibility === "published" || visibility === "public";
}

function hasPeers(broker: ServiceBroker): boolean {
  return broker.registry.getNodeList({ onlyAvailable: true }).some((node) => node.id !== broker.nodeID);
}
