import { type handleUnaryCall, type MethodDefinition, Server, ServerCredentials } from "@grpc/grpc-js";
import { loadSync, type PackageDefinition } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation, protoPath as healthProto } from "grpc-health-check";
import type { ServiceBroker } from "moleculer";
import { hostAndPort, reachableHost } from "./address.ts";
import { SERVER_OPTIONS } from "./channel-options.ts";
import { openServices } from "./client-gate.ts";
import { filesOf, serializeFile } from "./descriptors.ts";
import type { BridgeServer, BridgeSettings, LocalCall, SharedServer } from "./options.ts";
import type { ProtoCatalogue } from "./proto-catalogue.ts";
import {
  type CallHandler,
  callHandler,
  type PeerStreamServer,
  peerStreamServer,
  rawMethod,
  STOPPING,
  unaryHandler,
} from "./server.ts";
import { RenewableCredentials } from "./tls.ts";

const HEALTH_SERVICE = "grpc.health.v1.Health";

/** The gRPC server of a process: its port, health and reflection. `server.ts` handles the calls. */
export function sharedServer(): SharedServer {
  const announced = new Set<string>();
  const handlers = new Map<string, CallHandler>();
  const health = new HealthImplementation({ "": "NOT_SERVING" });
  const members = new Map<BridgeServer, { isServing: boolean }>();
  let opened:
    | { server: Server; streams: PeerStreamServer; tls: RenewableCredentials | undefined }
    | undefined;
  let bound: Promise<number> | undefined;
  const local = new Map<string, LocalCall>();

  function open(broker: ServiceBroker, settings: BridgeSettings, catalogue: ProtoCatalogue) {
    const server = new Server(SERVER_OPTIONS);
    const open = settings.clients ? openServices(server, settings.clients, settings.names) : server;
    health.addToServer(open);
    reflection(catalogue, [...announced, HEALTH_SERVICE]).addToServer(open);
    const streams = peerStreamServer(broker, settings, handlers);
    const method = rawMethod(settings.names.peerStream);
    server.addService(
      { Connect: { ...method, requestStream: true, responseStream: true } },
      { Connect: streams.handle },
    );
    const tls = settings.tls && new RenewableCredentials(settings.tls.secureContext());
    return { server, streams, tls };
  }

  function updateHealth(): void {
    const isServing = members.size > 0 && [...members.values()].every((member) => member.isServing);
    health.setStatus("", isServing ? "SERVING" : "NOT_SERVING");
  }

  return {
    announce: (service) => announced.add(service),
    local,
    join(broker, settings, catalogue, services) {
      opened ??= open(broker, settings, catalogue);
      const { server, streams, tls } = opened;
      const paths: string[] = [];
      const member: BridgeServer = {
        async bind(host, port, announce) {
          bound ??= new Promise<number>((resolve, reject) => {
            const done = (error: Error | null, actual: number) => (error ? reject(error) : resolve(actual));
            server.bindAsync(hostAndPort(host, port), tls ?? ServerCredentials.createInsecure(), done);
          });
          const address = hostAndPort(announce ?? reachableHost(host), await bound);
          local.set(address, streams.call);
          return address;
        },
        expose(methods, service) {
          const definition: Record<string, MethodDefinition<Buffer, Buffer>> = {};
          const implementation: Record<string, handleUnaryCall<Buffer, Buffer>> = {};
          for (const method of methods) {
            const { path } = method;
            paths.push(path);
            handlers.set(path, callHandler(broker, settings, method, service));
            definition[method.name] = rawMethod(path);
            implementation[method.name] = unaryHandler(
              broker,
              settings,
              path,
              async (call) => (await handlers.get(path)?.(call)) ?? STOPPING,
            );
          }
          server.addService(definition, implementation);
        },
        renewCertificate() {
          if (settings.tls) tls?.renew(settings.tls.secureContext());
        },
        setServing(isServing) {
          for (const name of services) health.setStatus(name, isServing ? "SERVING" : "NOT_SERVING");
          members.set(member, { isServing });
          updateHealth();
        },
        async close(graceMs) {
          members.delete(member);
          updateHealth();
          if (members.size > 0) {
            // The server stays open for the other brokers and completes the running calls of this one.
            for (const path of paths) handlers.set(path, async () => STOPPING);
            return;
          }
          // A broker that starts again opens a new server.
          opened = undefined;
          bound = undefined;
          local.clear();
          handlers.clear();
          streams.drain();
          await new Promise<void>((resolve) => {
            const timer = setTimeout(() => server.forceShutdown(), graceMs);
            server.tryShutdown(() => {
              clearTimeout(timer);
              resolve();
            });
          });
        },
      };
      members.set(member, { isServing: false });
      return member;
    },
  };
}

/** Server reflection: tools such as grpcurl list the methods and their messages. */
function reflection(catalogue: ProtoCatalogue, services: string[]): ReflectionService {
  const health = filesOf(loadSync(healthProto, { keepCase: true })).map(serializeFile);
  const all = { files: { fileDescriptorProtos: [...catalogue.reflected(), ...health] } };
  return new ReflectionService(all as unknown as PackageDefinition, { services });
}
