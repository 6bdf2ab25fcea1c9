import { type handleUnaryCall, type MethodDefinition, Server, ServerCredentials } from "@grpc/grpc-js";
import { loadSync, type PackageDefinition } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation, protoPath as healthProto } from "grpc-health-check";
import type { Service } from "moleculer";
import { hostAndPort, reachableHost } from "./address.ts";
import { type Answer, type AnswerOptions, answerer } from "./answer.ts";
import { LINK_PATH, SERVER_OPTIONS } from "./channel-options.ts";
import { filesOf, serializeFile } from "./descriptors.ts";
import { type LinkServer, linkServer, STOPPING } from "./link-server.ts";
import type { Method, ProtoCatalogue } from "./proto-catalogue.ts";
import { unaryHandler } from "./unary.ts";

const HEALTH_SERVICE = "grpc.health.v1.Health";

/**
 * The half of the bridge that answers. Actions of this node are unary gRPC methods for plain clients; nodes of the
 * platform call the same methods over a link.
 */
export interface BridgeServer {
  /**
   * @param port 0 takes any free one
   * @param announce the host part of the answer, where it is not to be found out
   * @returns the address that other nodes reach this one by
   * @throws Error when the port cannot be had
   */
  bind(host: string, port: number, announce?: string): Promise<string>;
  /** Offers the actions of a service as these methods. */
  expose(methods: readonly Method[], service: Service): void;
  /** Health checks answer SERVING or NOT_SERVING from now on. */
  serving(yes: boolean): void;
  /** Answers what is under way and closes; what is not done after `graceMs` is cut off. */
  close(graceMs: number): Promise<void>;
}

/** The one gRPC server of a process, which all nodes of the process listen with: they have one port together. */
export interface SharedServer {
  /** Before the start of any node: reflection tells of this gRPC service. */
  announce(service: string): void;
  /**
   * The part of one node, which offers these gRPC services. The server closes with the last node that leaves.
   */
  join(options: AnswerOptions & { catalogue: ProtoCatalogue }, services: string[]): BridgeServer;
}

export function sharedServer(): SharedServer {
  const announced = new Set<string>();
  const answers = new Map<string, Answer>();
  const health = new HealthImplementation({ "": "NOT_SERVING" });
  const serving = new Map<BridgeServer, boolean>();
  let opened: { server: Server; links: LinkServer } | undefined;
  let bound: Promise<number> | undefined;

  function open(options: AnswerOptions & { catalogue: ProtoCatalogue }) {
    const server = new Server(SERVER_OPTIONS);
    health.addToServer(server);
    reflection(options.catalogue, [...announced, HEALTH_SERVICE]).addToServer(server);
    const links = linkServer(options, (path) => answers.get(path));
    server.addService(
      { Link: { ...rawMethod(LINK_PATH), requestStream: true, responseStream: true } },
      { Link: links.handle },
    );
    return { server, links };
  }

  function tellHealth(): void {
    const all = serving.size > 0 && [...serving.values()].every(Boolean);
    health.setStatus("", all ? "SERVING" : "NOT_SERVING");
  }

  return {
    announce: (service) => announced.add(service),
    join(options, services) {
      opened ??= open(options);
      const { server, links } = opened;
      const paths: string[] = [];
      const part: BridgeServer = {
        async bind(host, port, announce) {
          bound ??= new Promise<number>((resolve, reject) => {
            const done = (error: Error | null, actual: number) => (error ? reject(error) : resolve(actual));
            server.bindAsync(hostAndPort(host, port), ServerCredentials.createInsecure(), done);
          });
          return hostAndPort(announce ?? reachableHost(host), await bound);
        },
        expose(methods, service) {
          const definition: Record<string, MethodDefinition<Buffer, Buffer>> = {};
          const handlers: Record<string, handleUnaryCall<Buffer, Buffer>> = {};
          for (const method of methods) {
            const { path } = method;
            paths.push(path);
            answers.set(path, answerer(options.broker, method, service));
            definition[method.name] = rawMethod(path);
            handlers[method.name] = unaryHandler(
              options,
              path,
              async (asked) => (await answers.get(path)?.(asked)) ?? STOPPING,
            );
          }
          server.addService(definition, handlers);
        },
        serving(yes) {
          for (const name of services) health.setStatus(name, yes ? "SERVING" : "NOT_SERVING");
          serving.set(part, yes);
          tellHealth();
        },
        async close(graceMs) {
          serving.delete(part);
          tellHealth();
          if (serving.size > 0) {
            // The others go on; what this one has begun is answered through the server that stays.
            for (const path of paths) answers.set(path, async () => STOPPING);
            return;
          }
          // A node that starts again gets a new one.
          opened = undefined;
          bound = undefined;
          answers.clear();
          links.drain();
          await new Promise<void>((resolve) => {
            const timer = setTimeout(() => server.forceShutdown(), graceMs);
            server.tryShutdown(() => {
              clearTimeout(timer);
              resolve();
            });
          });
        },
      };
      serving.set(part, false);
      return part;
    },
  };
}

/** Tells clients such as grpcurl what can be called here, and in which words. */
function reflection(catalogue: ProtoCatalogue, services: string[]): ReflectionService {
  const health = filesOf(loadSync(healthProto, { keepCase: true })).map(serializeFile);
  const all = { files: { fileDescriptorProtos: [...catalogue.reflected(), ...health] } };
  return new ReflectionService(all as unknown as PackageDefinition, { services });
}

/** Bytes in and out: what is wrong with them is said in our own words, by the codec. */
function rawMethod(path: string): MethodDefinition<Buffer, Buffer> {
  const asIs = (bytes: Buffer) => bytes;
  return {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
}
