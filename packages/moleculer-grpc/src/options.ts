import type { Service, ServiceBroker } from "moleculer";
import type { ClientGate } from "./client-gate.ts";
import { type BridgeErrors, defaultErrors } from "./errors.ts";
import type { CallFrame } from "./frame-writer.ts";
import { type MetaCodec, metaFields } from "./metadata.ts";
import type { Method, ProtoCatalogue } from "./proto-catalogue.ts";
import type { RpcStatus } from "./rpc-status.ts";
import { type TlsIdentity, type TlsOptions, tlsIdentity } from "./tls.ts";
import { DEFAULT_PREFIX, type WireNames, wireNames } from "./wire-names.ts";

export interface BridgeOptions {
  /** Signs and verifies the credentials of calls; the same on every node. */
  secret: string;
  /** A second secret whose credentials are accepted, for rotation. Calls are always signed by `secret`. */
  previousSecret?: string | undefined;
  /**
   * Admits clients that are no nodes by keys of their own; unary calls are then never accepted by `secret`. Default: such
   * clients sign their calls with `secret`.
   */
  clients?: ClientGate | undefined;
  /** Mutual TLS with the other nodes. Default: connections are not encrypted, for nodes of one machine. */
  tls?: TlsOptions | undefined;
  /** The folder that holds the .proto files of all services of the cluster. */
  protoDir: string;
  /** The address to listen on. Default: 127.0.0.1. */
  host?: string;
  /** The port to listen on. Default: 0, any free port. */
  port?: number;
  /** The host that other nodes connect to. Default: `host`, or an address of this machine where that is any address. */
  announce?: string | undefined;
  /** The keys of `ctx.meta` that travel with a call, or a codec of your own. Default: none. */
  meta?: readonly string[] | MetaCodec;
  /** How the bridge makes its own errors, and what plain clients read of an error. */
  errors?: BridgeErrors;
  /** Upper limit of a call's duration, and the default where a call has no timeout. Default: 5,000. */
  maxCallMs?: number;
  /** Prefix of the metadata keys; the same on every node. Default: "moleculer". */
  prefix?: string;
  /** Brokers of one process that share a server share its port. Default: a server for this broker alone. */
  listener?: SharedServer;
  /** Milliseconds of Unix time, for the credentials. Default: Date.now. */
  now?: () => number;
}

/** The settings that all parts of a bridge share. */
export interface BridgeSettings {
  readonly secret: string;
  readonly previousSecret: string | undefined;
  readonly clients: ClientGate | undefined;
  readonly tls: TlsIdentity | undefined;
  readonly meta: MetaCodec;
  readonly errors: BridgeErrors;
  readonly maxCallMs: number;
  readonly names: WireNames;
  readonly now: () => number;
}

const DEFAULT_MAX_CALL_MS = 5_000;

/** @throws Error when the files of `tls` cannot be used */
export function settingsOf(options: BridgeOptions): BridgeSettings {
  const { meta = [], prefix = DEFAULT_PREFIX } = options;
  return {
    secret: options.secret,
    previousSecret: options.previousSecret,
    clients: options.clients,
    tls: options.tls && tlsIdentity(options.tls),
    meta: isCodec(meta) ? meta : metaFields(meta, prefix),
    errors: options.errors ?? defaultErrors,
    maxCallMs: options.maxCallMs ?? DEFAULT_MAX_CALL_MS,
    names: wireNames(prefix),
    now: options.now ?? Date.now,
  };
}

function isCodec(meta: readonly string[] | MetaCodec): meta is MetaCodec {
  return !Array.isArray(meta);
}

/**
 * The server half of the bridge of one broker. Plain clients call actions as unary gRPC methods; nodes of the cluster
 * call the same methods over a peer stream.
 */
export interface BridgeServer {
  /**
   * @param port 0 takes any free port
   * @param announce the host of the returned address; undefined finds one
   * @returns the address that other nodes connect to
   * @throws Error when the port cannot be bound
   */
  bind(host: string, port: number, announce?: string): Promise<string>;
  /** Offers the actions of a service as these methods. */
  expose(methods: readonly Method[], service: Service): void;
  /** Takes the latest certificate for new connections. */
  renewCertificate(): void;
  /** Sets the answer of health checks: SERVING or NOT_SERVING. */
  setServing(isServing: boolean): void;
  /** Completes running calls and closes; calls that still run after `graceMs` are aborted. */
  close(graceMs: number): Promise<void>;
}

/**
 * A call from a broker of this process, without a connection: with the same limits, codec and context.
 * @param peer the id of the caller's node
 * @param respond receives the bytes of the response or the status of a failed call, once
 * @returns cancels the call, after which `respond` is not called
 */
export type LocalCall = (
  peer: string,
  call: CallFrame,
  respond: (result: Buffer | RpcStatus) => void,
) => () => void;

/** One gRPC server for several brokers of a process, which share its port. */
export interface SharedServer {
  /** Adds a gRPC service to reflection; to be called before the first broker starts. */
  announce(service: string): void;
  /** Calls from brokers of this process, by the addresses of this server. Empty while it is not open. */
  readonly local: ReadonlyMap<string, LocalCall>;
  /** Adds a broker with these gRPC services. The server closes with the last broker. */
  join(
    broker: ServiceBroker,
    settings: BridgeSettings,
    catalogue: ProtoCatalogue,
    services: string[],
  ): BridgeServer;
}
