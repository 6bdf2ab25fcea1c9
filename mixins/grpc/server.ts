import { type handleUnaryCall, type MethodDefinition, Server, ServerCredentials } from "@grpc/grpc-js";
import { loadSync, type PackageDefinition } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation, protoPath as healthProto } from "grpc-health-check";
import type { Service } from "moleculer";
import { hostAndPort, reachableHost } from "./address.ts";
import { type Answer, type AnswerOptions, answerer } from "./answer.ts";
import { LINK_PATH, SERVER_OPTIONS } from "./channel-options.ts";
import { filesOf, serializeFile } from "./descriptors.ts";
import { linkServer } from "./link-server.ts";
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

/** @param services the gRPC services that reflection tells of */
export function bridgeServer(
  options: AnswerOptions & { catalogue: ProtoCatalogue },
  services: string[],
): BridgeServer {
  const server = new Server(SERVER_OPTIONS);
  const health = new HealthImplementation({ "": "NOT_SERVING" });
  health.addToServer(server);
  reflection(options.catalogue, [...services, HEALTH_SERVICE]).addToServer(server);
  const answers = new Map<string, Answer>();
  const links = linkServer(options, (path) => answers.get(path));
  server.addService(
    { Link: { ...rawMethod(LINK_PATH), requestStream: true, responseStream: true } },
    { Link: links.handle },
  );

  return {
    async bind(host, port, announce) {
      const bound = await new Promise<number>((resolve, reject) => {
        const done = (error: Error | null, actual: number) => (error ? reject(error) : resolve(actual));
        server.bindAsync(hostAndPort(host, port), ServerCredentials.createInsecure(), done);
      });
      return hostAndPort(announce ?? reachableHost(host), bound);
    },
    expose(methods, service) {
      const definition: Record<string, MethodDefinition<Buffer, Buffer>> = {};
      const handlers: Record<string, handleUnaryCall<Buffer, Buffer>> = {};
      for (const method of methods) {
        const answer = answerer(options.broker, method, service);
        answers.set(method.path, answer);
        definition[method.name] = rawMethod(method.path);
        handlers[method.name] = unaryHandler(options, method.path, answer);
      }
      server.addService(definition, handlers);
    },
    serving(yes) {
      for (const name of ["", ...services]) health.setStatus(name, yes ? "SERVING" : "NOT_SERVING");
    },
    async close(graceMs) {
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
