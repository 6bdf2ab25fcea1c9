import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  status as Status,
  type StatusObject,
} from "@grpc/grpc-js";
import type { Context, ServiceBroker } from "moleculer";
import { announcedAddress } from "./address.ts";
import {
  CLIENT_OPTIONS,
  MAX_MESSAGE_BYTES,
  MAX_STREAM_CALLS,
  MAX_STREAM_PENDING_BYTES,
  STREAM_AGE_MS,
} from "./channel-options.ts";
import { callCredential } from "./credential.ts";
import { asValidationError } from "./errors.ts";
import { decodeBatch, type Frame, frameWriter } from "./frame-writer.ts";
import { toMetadata } from "./metadata.ts";
import type { BridgeSettings, LocalCall } from "./options.ts";
import type { Method } from "./proto-catalogue.ts";
import { type RpcStatus, toError } from "./rpc-status.ts";
import type { GrpcLocals } from "./schema.ts";
import type { TlsIdentity } from "./tls.ts";
import type { WireNames } from "./wire-names.ts";

/** The deadline is this much earlier than the broker's own timeout, so that the deadline decides. */
const DEADLINE_LEAD_MS = 10;

/** The client half of the bridge: calls actions of other nodes by gRPC, at the address that the node announces. */
export interface BridgeClient {
  /**
   * @returns the result of the action
   * @throws the error of the action, unchanged; VALIDATION_ERROR for parameters that the proto does not know;
   * PAYLOAD_TOO_LARGE, SERVICE_UNAVAILABLE, DEADLINE_EXCEEDED, OVERLOADED or INTERNAL from the bridge itself; such an
   * error has a `nodeID` only when the node is known to be alive
   */
  call(method: Method, ctx: Context): Promise<unknown>;
  /** Connects anew with the latest certificate; running calls are completed. */
  reconnect(): void;
  close(): void;
}

/** @param local calls to the server of this process, which need no connection, by its addresses */
export function bridgeClient(
  broker: ServiceBroker,
  settings: BridgeSettings,
  local: ReadonlyMap<string, LocalCall>,
): BridgeClient {
  const { errors, names, meta, maxCallMs } = settings;
  const streams = peerStreams({
    ...settings,
    node: broker.nodeID,
    report: (line) => broker.logger.warn(line),
  });
  broker.localBus.on("$node.disconnected", ({ node }: { node: { id: string } }) =>
    streams.disconnect(node.id),
  );

  function encode(method: Method, params: unknown): Buffer {
    let bytes: Buffer;
    try {
      bytes = method.request.encode(params);
    } catch (error) {
      throw asValidationError(errors, error);
    }
    if (bytes.length > MAX_MESSAGE_BYTES) {
      throw errors.create("PAYLOAD_TOO_LARGE", "The call has more than 1 MiB.");
    }
    return bytes;
  }

  function decode(method: Method, response: Buffer): unknown {
    try {
      return method.response.decode(response);
    } catch (error) {
      broker.logger.error(`${method.action} returned an invalid response over gRPC`, error);
      throw errors.create("INTERNAL");
    }
  }

  function errorOf(method: Method, nodeID: string, status: RpcStatus): Error {
    const thrown = toError(broker, status);
    if (status.isAlive || isRemoteTimeout(thrown, nodeID)) {
      const error = errors.create("DEADLINE_EXCEEDED", `${method.action} did not answer in time.`);
      return Object.assign(error, { nodeID });
    }
    if (thrown) return thrown;
    switch (status.code) {
      case Status.UNAVAILABLE:
      case Status.CANCELLED: // this side never cancels: the server ended the stream
        return errors.create("SERVICE_UNAVAILABLE", `${method.service} cannot be reached.`);
      case Status.DEADLINE_EXCEEDED:
        return errors.create("DEADLINE_EXCEEDED", `${method.action} did not answer in time.`);
      case Status.RESOURCE_EXHAUSTED:
        return errors.create("OVERLOADED", `${method.service} accepts no more calls now.`);
      default:
        // UNAUTHENTICATED, UNIMPLEMENTED: a wrong configuration of the two nodes, not the caller's fault.
        broker.logger.error(`${method.action} was refused over gRPC: ${status.details}`);
        return errors.create("INTERNAL");
    }
  }

  return {
    async call(method, ctx) {
      (ctx.locals as GrpcLocals).wire = "grpc";
      const request = encode(method, ctx.params);
      const nodeID = ctx.nodeID as string;
      const address = announcedAddress(broker, nodeID);
      if (address === undefined) {
        throw errors.create("SERVICE_UNAVAILABLE", `${nodeID} announces no gRPC address.`);
      }
      const timeoutMs = Math.max(1, (ctx.options.timeout || maxCallMs) - DEADLINE_LEAD_MS);
      const call = { path: method.path, metadata: toMetadata(ctx, names, meta), request, timeoutMs };
      const within = local.get(address);
      const response = await (within
        ? callWithin(within, broker.nodeID, call)
        : streams.call(nodeID, address, call)
      ).catch((status: RpcStatus) => {
        throw errorOf(method, nodeID, status);
      });
      return decode(method, response);
    },
    reconnect: streams.reconnect,
    close: streams.close,
  };
}

/** Calls a broker of this process. @returns the bytes of the response @throws RpcStatus */
function callWithin(
  local: LocalCall,
  node: string,
  { path, metadata, request, timeoutMs }: Call,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let cancel = () => {};
    const timer = setTimeout(() => {
      cancel();
      reject(SLOW_HANDLER);
    }, timeoutMs);
    const serverMs = Math.max(1, timeoutMs - SERVER_LEAD_MS);
    cancel = local(node, { path, timeoutMs: serverMs, metadata, request }, (result) => {
      clearTimeout(timer);
      if (Buffer.isBuffer(result)) resolve(result);
      else reject(result);
    });
  });
}

/** The other node's broker noticed a moment earlier that its handler takes too long. */
function isRemoteTimeout(thrown: unknown, nodeID: string): boolean {
  const { type, data } = (thrown ?? {}) as { type?: string; data?: { nodeID?: string } };
  return type === "REQUEST_TIMEOUT" && data?.nodeID === nodeID;
}

/** A call to another node. */
export interface Call {
  path: string;
  metadata: Record<string, string>;
  request: Buffer;
  /** How long to wait for the response. */
  timeoutMs: number;
}

export interface PeerStreamOptions {
  secret: string;
  names: WireNames;
  now: () => number;
  tls: TlsIdentity | undefined;
  /** The id of this node. */
  node: string;
  /** Receives the reason why a node cannot be called. */
  report: (line: string) => void;
}

/** The peer streams to other nodes: one for each node, to its last announced address, opened by the first call. */
export interface PeerStreams {
  /** @returns the bytes of the response @throws RpcStatus */
  call(nodeID: string, address: string, call: Call): Promise<Buffer>;
  /** Ends the stream to a node that has left; it may come back at another address. */
  disconnect(nodeID: string): void;
  /** Ends all streams after their running calls, so that the next calls connect with the latest certificate. */
  reconnect(): void;
  close(): void;
}

interface Peer {
  address: string;
  client: Client;
  stream: PeerStream;
  openedMs: number;
  onFailure: (reason: string) => void;
}

/** @param ageMs a stream is replaced after this time */
export function peerStreams(options: PeerStreamOptions, ageMs = STREAM_AGE_MS): PeerStreams {
  const { tls, report } = options;
  const peers = new Map<string, Peer>();

  function streamTo(nodeID: string, address: string): PeerStream {
    if (peers.get(nodeID)?.address !== address) disconnect(nodeID);
    const peer = peers.get(nodeID) ?? connect(nodeID, address);
    if (peer.stream.isOpen() && performance.now() - peer.openedMs < ageMs) return peer.stream;
    peer.stream.drain();
    peer.stream = openPeerStream(peer.client, options, peer.onFailure);
    peer.openedMs = performance.now();
    return peer.stream;
  }

  function connect(nodeID: string, address: string): Peer {
    let lastReason = "";
    const onFailure = (reason: string) => {
      if (reason !== lastReason) report(`${nodeID} cannot be called by gRPC: ${reason}`);
      lastReason = reason;
    };
    const client = tls
      ? new Client(address, tls.channelCredentials(), {
          ...CLIENT_OPTIONS,
          "grpc.ssl_target_name_override": tls.nameOf(nodeID),
        })
      : new Client(address, credentials.createInsecure(), CLIENT_OPTIONS);
    const stream = openPeerStream(client, options, onFailure);
    const peer = { address, client, stream, openedMs: performance.now(), onFailure };
    peers.set(nodeID, peer);
    return peer;
  }

  function disconnect(nodeID: string): void {
    const peer = peers.get(nodeID);
    peers.delete(nodeID);
    // Running calls may still be answered: the connection closes when the stream ends.
    peer?.stream.drain();
    peer?.client.close();
  }

  return {
    call: (nodeID, address, call) => streamTo(nodeID, address).call(call),
    disconnect,
    reconnect() {
      for (const nodeID of [...peers.keys()]) disconnect(nodeID);
    },
    close() {
      for (const { stream, client } of peers.values()) {
        stream.close();
        client.close();
      }
      peers.clear();
    },
  };
}

/** The client half of one stream, which carries all calls of this node to another. */
interface PeerStream {
  /** Whether it accepts calls. */
  isOpen(): boolean;
  /** @returns the bytes of the response @throws RpcStatus, DEADLINE_EXCEEDED and UNAVAILABLE among them */
  call(call: Call): Promise<Buffer>;
  /** Accepts no more calls and ends after the running ones. */
  drain(): void;
  /** Ends at once. */
  close(): void;
}

interface PendingCall {
  resolve(response: Buffer): void;
  reject(status: RpcStatus): void;
  timer: NodeJS.Timeout;
  sinceMs: number;
}

/** The server reports a slow handler this much earlier: a missing report means that the node itself is stuck. */
const SERVER_LEAD_MS = 30;
const TIMED_OUT: RpcStatus = { code: Status.DEADLINE_EXCEEDED, details: "No response in time." };
/** Other calls were answered while this one waited: the node is alive, and its handler is slow. */
const SLOW_HANDLER: RpcStatus = { ...TIMED_OUT, isAlive: true };

/** Opens a stream over a channel. @param onFailure receives the reason when it breaks or is refused */
function openPeerStream(
  client: Client,
  { secret, names, node, now }: PeerStreamOptions,
  onFailure: (reason: string) => void,
): PeerStream {
  const { prefix, peerStream: path } = names;
  const metadata = new Metadata();
  metadata.set(names.credential, callCredential({ secret, prefix, path, node, now }));
  const stream: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(path, asIs, asIs, metadata);
  const writer = frameWriter(stream);
  const pending = new Map<number, PendingCall>();
  let isOpen = true;
  let lastId = 0;
  let receivedAtMs = Number.NEGATIVE_INFINITY;

  function take(id: number): PendingCall | undefined {
    const found = pending.get(id);
    if (!found) return undefined;
    pending.delete(id);
    clearTimeout(found.timer);
    return found;
  }

  function onTimeout(id: number): void {
    const found = take(id);
    found?.reject(receivedAtMs > found.sinceMs ? SLOW_HANDLER : TIMED_OUT);
    if (!writer.remove(id)) writer.write({ id, cancel: true }, 0);
    endWhenIdle();
  }

  function endWhenIdle(): void {
    if (!isOpen && pending.size === 0) writer.end();
  }

  function receive({ id, response, status }: Frame): void {
    if (response) take(id)?.resolve(response);
    else if (status) take(id)?.reject(status);
  }

  function failAll(code: Status, details: string): void {
    isOpen = false;
    writer.discard();
    for (const id of [...pending.keys()]) take(id)?.reject({ code, details });
  }

  function close(code: Status, details: string): void {
    failAll(code, details);
    stream.cancel();
  }

  stream.on("data", (bytes: Buffer) => {
    const frames = decodeBatch(bytes);
    if (!frames) return close(Status.INTERNAL, "The server of the peer stream sent no valid batch.");
    receivedAtMs = performance.now();
    for (const frame of frames) receive(frame);
    endWhenIdle();
  });
  stream.on("error", () => {}); // also reported by "status"
  stream.on("status", ({ code, details }: StatusObject) => {
    if (code !== Status.OK && code !== Status.CANCELLED) onFailure(details);
    // A server that ends a stream with OK has answered everything before.
    failAll(code === Status.OK ? Status.UNAVAILABLE : code, details);
  });

  return {
    isOpen: () => isOpen,
    call: ({ path, metadata, request, timeoutMs }) =>
      new Promise((resolve, reject) => {
        if (!isOpen) return reject({ code: Status.UNAVAILABLE, details: "The peer stream is closed." });
        if (pending.size >= MAX_STREAM_CALLS || writer.pendingBytes() > MAX_STREAM_PENDING_BYTES) {
          return reject({ code: Status.RESOURCE_EXHAUSTED, details: "Too many calls at once." });
        }
        const id = ++lastId;
        const timer = setTimeout(onTimeout, timeoutMs, id);
        pending.set(id, { resolve, reject, timer, sinceMs: performance.now() });
        const serverMs = Math.max(1, timeoutMs - SERVER_LEAD_MS);
        writer.write({ id, call: { path, timeoutMs: serverMs, metadata, request } }, request.length);
      }),
    drain() {
      isOpen = false;
      endWhenIdle();
    },
    close: () => close(Status.UNAVAILABLE, "The peer stream was closed."),
  };
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}
