import { resolve } from "node:path";
import { Client, credentials, type Deadline, Metadata, type ServiceError } from "@grpc/grpc-js";
import { loadSync, type MethodDefinition } from "@grpc/proto-loader";
import { service as healthService } from "grpc-health-check";
import {
  type BrokerOptions,
  type Context,
  Errors,
  type Middleware,
  ServiceBroker,
  type ServiceSchema,
} from "moleculer";
import { callCredential, grpcBridge } from "moleculer-grpc";
import type { Locals } from "../../contracts/meta.ts";
import { systemClock } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { wireNames } from "../../packages/moleculer-grpc/src/wire-names.ts";
import { grpcBinding } from "../../platform/grpc.ts";
import { eventually } from "./eventually.ts";

export const PROTO_DIR = resolve(import.meta.dirname, "../fixtures/proto");
/** The names on the wire of the platform. */
export const NAMES = wireNames(grpcBinding.prefix);
export const SECRET = "a bridge secret that only tests know";
export const SERVICE = "waybill.test.v1.Probe";

export interface ProbeState {
  started: string[];
  waiting: Map<string, () => void>;
  contexts: Context[];
}

/** The service behind test/fixtures/proto: it echoes, fails, waits until the test continues it, and returns the caller. */
export function probeService(state: ProbeState, more: Partial<ServiceSchema> = {}): ServiceSchema {
  return {
    name: "probe",
    grpc: { proto: "waybill/test/v1/probe.proto", service: SERVICE },
    actions: {
      echo: {
        retryPolicy: { enabled: true },
        params: {
          settings: { type: "record", optional: true },
          words: { type: "array" },
          text: { type: "string", max: 2_000 },
        },
        handler(ctx: Context) {
          state.contexts.push(ctx);
          return ctx.params;
        },
      },
      fail: (ctx: Context<{ name: string; message: string }>) => {
        throw errorNamed(ctx.params.name, ctx.params.message);
      },
      wait: {
        async handler(ctx: Context<{ key: string }>) {
          state.contexts.push(ctx);
          state.started.push(ctx.params.key);
          await new Promise<void>((done) => state.waiting.set(ctx.params.key, done));
          return { node: ctx.broker.nodeID };
        },
      },
      whoCalls: (ctx: Context) => {
        const { signal, ...locals } = ctx.locals as Locals;
        return {
          meta: JSON.stringify(ctx.meta),
          headers: JSON.stringify(ctx.headers),
          locals: JSON.stringify({ ...locals, aborted: signal?.aborted }),
          requestId: ctx.requestID,
          caller: ctx.caller ?? "",
          level: ctx.level,
          timeoutMs: ctx.options.timeout ?? 0,
        };
      },
      async relay(ctx: Context<{ action: string }>) {
        await ctx.call(ctx.params.action, {});
        await ctx.emit("probe.relayed", {});
        return {};
      },
      drift: (ctx: Context<{ kind: string }>) => drifted(ctx.params.kind),
      /** Stands in no proto, so it is called by the transporter. */
      nodeOf: (ctx: Context) => ({ node: ctx.broker.nodeID, peer: (ctx.locals as Locals).peer }),
    },
    ...more,
  };
}

export const EMPTY_ECHO = {
  text: "",
  flag: false,
  big: 0,
  small: 0,
  ratio: 0,
  colour: "red",
  amount: { amountMinor: 0, currency: "EUR" },
  lines: [],
  words: [],
  headers: {},
  version: 0,
};

export function newState(): ProbeState {
  return { started: [], waiting: new Map(), contexts: [] };
}

function drifted(kind: string): unknown {
  switch (kind) {
    case "unknown":
      return { ...EMPTY_ECHO, sequel: "not in the proto" };
    case "missing":
      return { text: "all else is missing" };
    case "date":
      return { ...EMPTY_ECHO, text: new Date(0) };
    case "unsafe":
      return { ...EMPTY_ECHO, big: 2 ** 53 };
    case "large":
      return { ...EMPTY_ECHO, text: "x".repeat(1024 * 1024) };
    default:
      return EMPTY_ECHO;
  }
}

const data = { action: "probe.fail", nodeID: "elsewhere", orderId: "o-1", list: [1, { zwei: "ü" }] };

/** An error of each class of the broker, by its name; anything else is a slip in the code. */
export function errorNamed(name: string, message: string): Error {
  const E = Errors;
  const all: Record<string, () => Error> = {
    MoleculerError: () => new E.MoleculerError(message, 501, "NOT_BUILT", data),
    MoleculerRetryableError: () => new E.MoleculerRetryableError(message, 503, "SERVICE_UNAVAILABLE", data),
    MoleculerServerError: () => new E.MoleculerServerError(message, 500, "SOMETHING", data),
    MoleculerClientError: () => new E.MoleculerClientError(message, 409, "ILLEGAL_TRANSITION", data),
    ValidationError: () =>
      new E.ValidationError(message, "VALIDATION_ERROR", [{ field: "text", type: "string" }]),
    ServiceNotFoundError: () => new E.ServiceNotFoundError(data),
    ServiceNotAvailableError: () => new E.ServiceNotAvailableError(data),
    RequestTimeoutError: () => new E.RequestTimeoutError(data),
    RequestSkippedError: () => new E.RequestSkippedError(data),
    RequestRejectedError: () => new E.RequestRejectedError(data),
    QueueIsFullError: () => new E.QueueIsFullError(data),
    MaxCallLevelError: () => new E.MaxCallLevelError({ ...data, level: 20 }),
    ServiceSchemaError: () => new E.ServiceSchemaError(message, data),
    BrokerOptionsError: () => new E.BrokerOptionsError(message, data),
    ProtocolVersionMismatchError: () =>
      new E.ProtocolVersionMismatchError({ ...data, actual: "1", received: "2" }),
    InvalidPacketDataError: () => new E.InvalidPacketDataError(data),
  };
  return all[name]?.() ?? new TypeError(message);
}

export interface Node {
  broker: ServiceBroker;
  state: ProbeState;
  /** Where its bridge listens. */
  address: string;
}

export interface NodeOptions {
  nodeID: string;
  services?: (state: ProbeState) => ServiceSchema[];
  bridge?: Partial<Parameters<typeof grpcBridge>[0]>;
  middlewares?: Middleware[];
  broker?: BrokerOptions;
}

/** The platform's bridge with the proto folder of the probe, on any free port of the loopback. */
export function probeBridge(changes: NodeOptions["bridge"] = {}): Middleware {
  return grpcBridge({ ...grpcBinding, secret: SECRET, protoDir: PROTO_DIR, ...changes });
}

/** Nodes of one namespace over the in-memory transporter; `stop` stops whatever is still running. */
export function cluster() {
  const namespace = newId();
  const nodes = new Set<ServiceBroker>();

  async function start(options: NodeOptions): Promise<Node> {
    const { nodeID, services = () => [], bridge = {}, middlewares = [] } = options;
    const state = newState();
    const broker = new ServiceBroker({
      namespace,
      nodeID,
      logger: false,
      transporter: { type: "Fake" } as BrokerOptions["transporter"],
      requestTimeout: 30_000,
      tracking: { enabled: true, shutdownTimeout: 5_000 },
      skipProcessEventRegistration: true,
      middlewares: [probeBridge(bridge), ...middlewares],
      ...options.broker,
    });
    for (const schema of services(state)) broker.createService(schema);
    nodes.add(broker);
    await broker.start();
    return { broker, state, address: broker.metadata.grpc as string };
  }

  return {
    namespace,
    start,
    /** A node that offers the probe. */
    server: (options: NodeOptions) => start({ services: (state) => [probeService(state)], ...options }),
    async stop(broker: ServiceBroker) {
      nodes.delete(broker);
      await broker.stop();
    },
    async stopAll() {
      await Promise.all([...nodes].map((broker) => broker.stop()));
      nodes.clear();
    },
  };
}

/** Options of a node that finds others in other processes; `urls` names every node as `tcp://host:port/nodeID`. */
export function tcpNode(nodeID: string, namespace: string, urls: string[]): BrokerOptions {
  const options = { udpDiscovery: false, useHostname: false, gossipPeriod: 1, urls };
  return {
    namespace,
    nodeID,
    logger: false,
    transporter: { type: "TCP", options } as unknown as BrokerOptions["transporter"],
    requestTimeout: 30_000,
    retryPolicy: { enabled: false, retries: 2, delay: 20, maxDelay: 100, factor: 2, check: isRetryable },
    skipProcessEventRegistration: true,
  };
}

export function isRetryable(error: Error): boolean {
  return (error as { retryable?: boolean }).retryable === true;
}

/** Waits until `broker` knows that so many nodes offer an action. */
export async function offeredBy(broker: ServiceBroker, action: string, count: number): Promise<void> {
  const check = () => {
    const endpoints = broker.registry.getActionEndpoints(action)?.count() ?? 0;
    if (endpoints !== count) throw new Error(`${action} is offered by ${endpoints} nodes`);
  };
  await eventually(check, { timeoutMs: 30_000 });
}

/** A client that knows the proto files and the secret, and nothing of the bridge. */
export function plainClient(address: string) {
  const definition = loadSync("waybill/test/v1/probe.proto", { includeDirs: [PROTO_DIR] });
  const service = definition[SERVICE] as Record<string, MethodDefinition<object, object>>;
  const client = new Client(address, credentials.createInsecure(), { "grpc.enable_http_proxy": 0 });

  function call(
    name: string,
    request: object,
    options: { metadata?: Metadata; deadline?: Deadline } = {},
  ): Promise<Record<string, unknown>> & { cancel(): void } {
    const { metadata = credential(`/${SERVICE}/${name}`), ...rest } = options;
    const method = service[name] as MethodDefinition<object, object>;
    let cancel = () => {};
    const answer = new Promise<object>((done, failed) => {
      const { path, requestSerialize, responseDeserialize } = method;
      const answered = (error: ServiceError | null, value?: object) =>
        error ? failed(error) : done(value ?? {});
      const under = client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        rest,
        answered,
      );
      cancel = () => under.cancel();
    });
    return Object.assign(answer as Promise<Record<string, unknown>>, { cancel });
  }
  function health(name: string): Promise<string> {
    const { Check } = healthService as unknown as Record<string, MethodDefinition<object, object>>;
    const { path, requestSerialize, responseDeserialize } = Check as MethodDefinition<object, object>;
    return new Promise((done, failed) => {
      const answered = (error: ServiceError | null, value?: object) =>
        error ? failed(error) : done((value as { status: string }).status);
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { service: name }, answered);
    });
  }

  return { call, health, client, close: () => client.close() };
}

/** Metadata with a credential for a method, by the recipe for plain clients. */
export function credential(path: string, changes: { secret?: string; ageMs?: number } = {}): Metadata {
  const { secret = SECRET, ageMs = 0 } = changes;
  const { prefix } = grpcBinding;
  const now = () => systemClock.now() - ageMs;
  const metadata = new Metadata();
  metadata.set(NAMES.credential, callCredential({ secret, path, node: "plain-client", prefix, now }));
  return metadata;
}
