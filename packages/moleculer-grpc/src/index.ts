import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import type { Context, Middleware, Service, ServiceBroker } from "moleculer";
import { announceAddress } from "./address.ts";
import { type BridgeClient, bridgeClient } from "./client.ts";
import { addLastMiddleware } from "./moleculer-internals.ts";
import { type BridgeOptions, type BridgeServer, settingsOf } from "./options.ts";
import { type Method, protoCatalogue } from "./proto-catalogue.ts";
import type { GrpcExposure, GrpcLocals } from "./schema.ts";
import { sharedServer } from "./shared-server.ts";

export type { Admission, AdmittedCall, ClientGate, RefusedCall } from "./client-gate.ts";
export { type CredentialOptions, callCredential } from "./credential.ts";
export type { BridgeErrors, BridgeErrorType, PlainError } from "./errors.ts";
export type { FieldError } from "./message-codec.ts";
export type { MetaCodec } from "./metadata.ts";
export type { BridgeOptions, SharedServer } from "./options.ts";
export type { GrpcExposure, GrpcLocals } from "./schema.ts";
export { sharedServer } from "./shared-server.ts";
export { TlsFileError, type TlsOptions } from "./tls.ts";

/** Time for other nodes to get the information that this one accepts no more calls; the broker itself waits 100 ms more. */
const DRAIN_PROPAGATION_MS = 400;
/** From the start of a stop to the abort of the calls that still run. */
const DRAIN_MS = 8_000;
const MIN_GRACE_MS = 100;

/**
 * The gRPC bridge of one broker. A service whose schema has `grpc: { proto, service }` offers its actions as unary
 * methods. An action of another node that a proto file defines is called by gRPC, all others by the transporter;
 * there is no fallback from one to the other. Discovery, balancing, retries and timeouts stay Moleculer's.
 * @throws Error for a proto or TLS file that cannot be used. The broker refuses to start for a missing proto file or service
 * and for a method without a public action
 */
export function grpcBridge(options: BridgeOptions): Middleware {
  const { host = "127.0.0.1", port = 0, protoDir, listener = sharedServer() } = options;
  const settings = settingsOf(options);
  setLogVerbosity(logVerbosity.NONE); // failures reach the broker's log as errors of the bridge
  const catalogue = protoCatalogue(protoDir);
  const owners = new Set<ServiceBroker>();
  const exposed = new WeakSet<Service>();
  let client: BridgeClient | undefined;
  let server: BridgeServer | undefined;
  let stopStartedMs = 0;
  let closing: Promise<void> | undefined;
  let stopWatching: (() => void) | undefined;

  function methodsOf(service: Service, { proto, service: name }: GrpcExposure): Method[] {
    const methods = catalogue.methodsOf(name);
    if (!existsSync(join(protoDir, proto))) throw exposeError(service, `there is no ${proto}`);
    if (methods.length === 0) throw exposeError(service, `${proto} has no service ${name}`);
    for (const method of methods) {
      if (
        method.action !== `${service.fullName}.${method.rawAction}` ||
        !isPublic(service, method.rawAction)
      ) {
        throw exposeError(
          service,
          `the method ${method.path.slice(1)} has no public action ${method.action}`,
        );
      }
    }
    return methods;
  }

  function expose(service: Service): void {
    const exposure = service.schema.grpc;
    if (!exposure) return;
    const methods = methodsOf(service, exposure);
    if (!server) throw exposeError(service, "its broker had no gRPC service at its start and has no server");
    server.expose(methods, service);
    exposed.add(service);
  }

  return {
    name: "grpcBridge",
    created(broker) {
      owners.add(broker);
      client = bridgeClient(broker, settings, listener.local);
      // Added last, this middleware is the first whose `stopping` runs, before the broker waits for running calls.
      addLastMiddleware(broker, {
        name: "grpcBridgeStop",
        async stopping() {
          stopStartedMs = Date.now();
          server?.setServing(false);
        },
      });
    },
    serviceCreated({ schema }) {
      if (schema.grpc) listener.announce(schema.grpc.service);
    },
    async starting(broker) {
      if (owners.size > 1) throw new Error("a bridge belongs to one broker: make one for each");
      settings.tls?.checkName(broker.nodeID);
      stopWatching = settings.tls?.watch(
        () => {
          server?.renewCertificate();
          client?.reconnect();
          broker.logger.info("gRPC uses a new certificate");
        },
        (reason) => broker.logger.error(`gRPC keeps its former certificate: ${reason}`),
      );
      const services = broker.services.filter(({ schema }) => schema.grpc);
      if (services.length === 0) return;
      const names = services.flatMap(({ schema }) => schema.grpc?.service ?? []);
      server = listener.join(broker, settings, catalogue, names);
      for (const service of services) expose(service);
      // Before the node first announces itself, or it would announce the port 0.
      const address = await server.bind(host, port, options.announce);
      announceAddress(broker, address);
      broker.logger.info(`gRPC on ${address}`);
    },
    async serviceStarting(service) {
      if (!exposed.has(service)) expose(service);
    },
    async started() {
      server?.setServing(true);
    },
    // The broker's promise may settle before the handler's, because its timeout ends the wait and not the work.
    localAction(wrapped) {
      const next = wrapped as (ctx: Context) => Promise<unknown>; // bound to its service already
      return (ctx: Context) => {
        const work = next(ctx);
        (ctx.locals as GrpcLocals).working?.(work);
        return work;
      };
    },
    remoteAction(next, action) {
      const method = catalogue.methodOf(action.name as string);
      return method ? (ctx: Context) => (client as BridgeClient).call(method, ctx) : next;
    },
    async stopping(broker) {
      if (server && hasPeers(broker)) await delay(DRAIN_PROPAGATION_MS);
      closing = server?.close(Math.max(MIN_GRACE_MS, DRAIN_MS - (Date.now() - stopStartedMs)));
      // With tracking on, the broker itself now waits for running actions; waiting here too would take twice as long.
      if (!broker.options.tracking?.enabled) await closing;
    },
    async stopped() {
      await closing;
      stopWatching?.();
      client?.close();
    },
  };
}

function exposeError(service: Service, reason: string): Error {
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
