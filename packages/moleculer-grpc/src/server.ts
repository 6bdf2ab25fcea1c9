import { AsyncResource } from "node:async_hooks";
import {
  type handleUnaryCall,
  type Metadata,
  type MethodDefinition,
  type ServerDuplexStream,
  type ServerUnaryCall,
  status as Status,
} from "@grpc/grpc-js";
import type { Context, Service, ServiceBroker } from "moleculer";
import { isNodeID } from "./address.ts";
import { MAX_MESSAGE_BYTES, MAX_STREAM_CALLS, MAX_STREAM_PENDING_BYTES } from "./channel-options.ts";
import { type ClientGate, clientKeyOf, REVOKED, refusalStatus } from "./client-gate.ts";
import { verifyCredential } from "./credential.ts";
import { asValidationError } from "./errors.ts";
import { type CallFrame, decodeBatch, type Frame, frameWriter } from "./frame-writer.ts";
import { type ContextParts, fromCallMetadata, fromGrpcMetadata } from "./metadata.ts";
import { createContext } from "./moleculer-internals.ts";
import type { BridgeSettings, LocalCall } from "./options.ts";
import type { Method } from "./proto-catalogue.ts";
import { isBrokerError, type RpcStatus, toRpcStatus, withTrailer } from "./rpc-status.ts";
import type { GrpcLocals } from "./schema.ts";
import { isCertified } from "./tls.ts";

// The server half of the bridge. Other nodes call over peer streams, plain clients by unary methods; both lead to the call
// handler of the method, which runs the action.

/** A call as it was received, over a peer stream or from a plain client. */
interface IncomingCall {
  /** The caller, as its credential proves. */
  peer: string;
  context: ContextParts;
  request: Buffer;
  /** The rest of the caller's time limit, `maxCallMs` at most. */
  timeoutMs: number;
  /** Aborted when the caller no longer waits for the response. */
  signal: AbortSignal;
  /** Receives the promise of the handler, once it has started. */
  working?: (work: Promise<unknown>) => void;
}

/** Text of the error that `signal.throwIfAborted()` throws. */
const CANCELLED = "The caller no longer waits for the response.";

/** @returns the bytes of the response, or the status of a failed call; never rejects */
export type CallHandler = (call: IncomingCall) => Promise<Buffer | RpcStatus>;

export const STOPPING: RpcStatus = { code: Status.UNAVAILABLE, details: "This node is stopping." };

type Stream = ServerDuplexStream<Buffer, Buffer>;

/** The server half of all peer streams to this node. */
export interface PeerStreamServer {
  handle(stream: Stream): void;
  call: LocalCall;
  /** Accepts no more calls; each stream ends after its running calls. */
  drain(): void;
}

/** @param handlers the handlers of all methods, by path */
export function peerStreamServer(
  broker: ServiceBroker,
  settings: BridgeSettings,
  handlers: ReadonlyMap<string, CallHandler>,
): PeerStreamServer {
  const { names, meta, errors, maxCallMs } = settings;
  /** Created once: it is attached to every call and rarely thrown. */
  const cancelled = errors.create("DEADLINE_EXCEEDED", CANCELLED);
  const drains = new Set<() => void>();
  const ownContext = new AsyncResource("moleculer-grpc");
  /** Running handlers of each peer over all its streams, those of cancelled calls included. */
  const running = new Map<string, number>();
  let isDraining = false;

  function occupy(peer: string): () => void {
    running.set(peer, (running.get(peer) ?? 0) + 1);
    return () => {
      const left = (running.get(peer) ?? 1) - 1;
      if (left > 0) running.set(peer, left);
      else running.delete(peer);
    };
  }

  /** @returns cancels the call, after which `respond` is not called */
  function run(peer: string, call: CallFrame, respond: (result: Buffer | RpcStatus) => void): () => void {
    const handler = handlers.get(call.path);
    const refusal = refusalOf(call, handler !== undefined, running.get(peer) ?? 0, isDraining);
    if (refusal) {
      respond(refusal);
      return () => undefined;
    }
    const cancellation = new AbortController();
    const release = occupy(peer);
    let isCancelled = false;
    let work: Promise<unknown> = Promise.resolve();
    const incoming = {
      ...{ peer, request: call.request, signal: cancellation.signal },
      context: fromCallMetadata(call.metadata, names, meta),
      timeoutMs: Math.min(call.timeoutMs, maxCallMs),
      working: (handler: Promise<unknown>) => {
        work = handler.catch(() => undefined);
      },
    };
    void (handler as CallHandler)(incoming).then((result) => {
      // The place is released when the handler has ended, which may be after a timeout.
      work.then(release, release);
      if (isCancelled) return;
      // After a timeout of the broker the handler still runs.
      if (!Buffer.isBuffer(result)) cancellation.abort(cancelled);
      respond(result);
    });
    return () => {
      isCancelled = true;
      cancellation.abort(cancelled);
    };
  }

  function serve(stream: Stream, peer: string): void {
    /** Cancels the running calls, by id. */
    const calls = new Map<number, () => void>();
    const writer = frameWriter(stream, () => stream.resume());
    let hasEnded = false;

    function respond(id: number, result: Buffer | RpcStatus): void {
      calls.delete(id);
      if (Buffer.isBuffer(result)) {
        writer.write({ id, response: result }, result.length);
      } else {
        const { code, details, error = Buffer.alloc(0) } = result;
        writer.write({ id, status: { code, details, error } }, error.length);
      }
      endWhenIdle();
    }

    function start(id: number, call: CallFrame): void {
      let hasEnded = false;
      const cancel = run(peer, call, (result) => {
        hasEnded = true;
        respond(id, result);
      });
      if (!hasEnded) calls.set(id, cancel);
    }

    function receive({ id, call, cancel }: Frame): void {
      if (call) start(id, call);
      if (!cancel) return;
      calls.get(id)?.();
      calls.delete(id);
      endWhenIdle();
    }

    function endWhenIdle(): void {
      if ((hasEnded || isDraining) && calls.size === 0) writer.end();
    }

    function close(): void {
      drains.delete(endWhenIdle);
      writer.discard();
      for (const cancel of calls.values()) cancel();
      calls.clear();
    }

    stream.on("data", (bytes: Buffer) => {
      const frames = decodeBatch(bytes);
      if (!frames) {
        broker.logger.error(`${peer} sent no valid batch on its peer stream: the stream is closed`);
        close();
        stream.emit("error", { code: Status.INVALID_ARGUMENT, details: "No valid batch." });
        return;
      }
      for (const frame of frames) receive(frame);
      if (writer.pendingBytes() > MAX_STREAM_PENDING_BYTES) stream.pause();
    });
    stream.on("end", () => {
      hasEnded = true;
      endWhenIdle();
    });
    stream.on("cancelled", close);
    stream.on("close", close);
    drains.add(endWhenIdle);
  }

  return {
    handle(stream) {
      const peer = authenticate(stream, names.peerStream, settings, () => true);
      if (peer === undefined) {
        broker.logger.warn(`${stream.getPeer()} is no node of this cluster: its peer stream is refused`);
        stream.emit("error", { code: Status.UNAUTHENTICATED, details: "Not a node of this cluster." });
      } else if (isDraining) stream.emit("error", STOPPING);
      else serve(stream, peer);
    },
    // Runs in the async context of the server, so that the handler gets only what a stream would carry.
    call: (peer, call, respond) => ownContext.runInAsyncScope(run, undefined, peer, call, respond),
    drain() {
      isDraining = true;
      for (const endWhenIdle of drains) endWhenIdle();
    },
  };
}

/** @returns the reason why a call is refused before its handler starts */
function refusalOf(
  { path, timeoutMs }: CallFrame,
  isKnown: boolean,
  running: number,
  isDraining: boolean,
): RpcStatus | undefined {
  if (isDraining) return STOPPING;
  if (!isKnown) return { code: Status.UNIMPLEMENTED, details: `There is no ${path} here.` };
  if (timeoutMs <= 0) return { code: Status.DEADLINE_EXCEEDED, details: "The deadline has passed." };
  if (running >= MAX_STREAM_CALLS) {
    return { code: Status.RESOURCE_EXHAUSTED, details: "Too many calls at once." };
  }
  return undefined;
}

type UnaryCall = ServerUnaryCall<Buffer, Buffer>;

/** Handles the calls of plain clients: one method, with a credential for it in the metadata of each call. */
export function unaryHandler(
  broker: ServiceBroker,
  settings: BridgeSettings,
  path: string,
  handle: CallHandler,
): handleUnaryCall<Buffer, Buffer> {
  const { clients, names, meta, errors, maxCallMs } = settings;
  /** A plain client may have any name but that of a node. */
  const isNode = (caller: string) => isNodeID(broker, caller);

  function run(
    call: UnaryCall,
    peer: string,
    cancellation: AbortController,
    working?: IncomingCall["working"],
  ): RpcStatus | Promise<Buffer | RpcStatus> {
    const timeoutMs = Math.min(remainingMs(call), maxCallMs);
    if (timeoutMs <= 0 || call.cancelled) {
      return { code: Status.DEADLINE_EXCEEDED, details: "The deadline has passed." };
    }
    const { request } = call;
    if (request.length > MAX_MESSAGE_BYTES) {
      return { code: Status.RESOURCE_EXHAUSTED, details: "The call has more than 1 MiB." };
    }
    call.once("cancelled", () => cancellation.abort(errors.create("DEADLINE_EXCEEDED", CANCELLED)));
    const context = fromGrpcMetadata(call.metadata, names, meta);
    const { signal } = cancellation;
    return handle({ peer, context, request, timeoutMs, signal, ...(working && { working }) });
  }

  async function runSigned(call: UnaryCall): Promise<Buffer | RpcStatus> {
    const peer = authenticate(call, path, settings, isNode);
    if (peer === undefined) return { code: Status.UNAUTHENTICATED, details: "No valid credential." };
    return run(call, peer, new AbortController());
  }

  async function runAdmitted(call: UnaryCall, gate: ClientGate): Promise<Buffer | RpcStatus> {
    const cancellation = new AbortController();
    const { promise: revoked, resolve } = Promise.withResolvers<RpcStatus>();
    const admission = await gate.admit(clientKeyOf(call.metadata, names), path, () => {
      cancellation.abort(errors.create("DEADLINE_EXCEEDED", CANCELLED));
      resolve(REVOKED);
    });
    if ("refused" in admission) return refusalStatus(admission);
    let work: Promise<unknown> = Promise.resolve();
    const result = run(call, admission.client, cancellation, (handler) => {
      work = handler.catch(() => undefined);
    });
    // The place of the call is released when the handler has ended, which may be after a timeout.
    void Promise.resolve(result).then(() => work.then(admission.end));
    return Promise.race([result, revoked]);
  }

  return async (call, respond) => {
    const result = await (clients ? runAdmitted(call, clients) : runSigned(call));
    if (Buffer.isBuffer(result)) respond(null, result);
    else respond(withTrailer(result, names.error));
  };
}

function remainingMs(call: UnaryCall): number {
  const deadline = call.getDeadline();
  return (typeof deadline === "number" ? deadline : deadline.getTime()) - Date.now();
}

type Plain = Record<string, unknown>;

/** Handles the calls of one method by its action, called through the broker like any other call. */
export function callHandler(
  broker: ServiceBroker,
  { errors }: BridgeSettings,
  method: Method,
  service: Service,
): CallHandler {
  const optionalFields = optionalListsAndMaps(method, service);

  function decode(request: Buffer): Plain {
    try {
      const params = method.request.decode(request);
      for (const name of optionalFields) if (isEmpty(params[name])) delete params[name];
      return params;
    } catch (error) {
      throw asValidationError(errors, error);
    }
  }

  /** As the transporter would make it: the caller's context on this node. The caller retries, not this node. */
  function contextOf({ peer, context, timeoutMs, signal, working }: IncomingCall, params: Plain): Context {
    const { parentID, level, ...rest } = context;
    const options = { ...rest, timeout: timeoutMs, retries: 0 };
    const ctx = createContext(broker, params, options);
    Object.assign(ctx.locals, {
      ...{ peer, wire: "grpc", signal },
      ...(working && { working }),
    } satisfies GrpcLocals);
    return Object.assign(ctx, { level, parentID: parentID ?? null });
  }

  return async (call) => {
    try {
      const params = decode(call.request);
      const ctx = contextOf(call, params);
      // With the own node's id, or the broker could balance the call to another node.
      const result = await broker.call(method.action, params, { ctx, nodeID: broker.nodeID } as object);
      const bytes = method.response.encode(result);
      if (bytes.length > MAX_MESSAGE_BYTES) throw new Error(`the response has ${bytes.length} bytes`);
      return bytes;
    } catch (error) {
      if (!isBrokerError(error)) broker.logger.error(`${method.action} failed over gRPC`, error);
      return toRpcStatus(broker, errors, error);
    }
  };
}

/** On the wire an absent list or map equals an empty one; where the action's params allow it to be absent, it is. */
function optionalListsAndMaps(method: Method, service: Service): string[] {
  const action = service.schema.actions?.[method.rawAction];
  const params = (typeof action === "object" ? action.params : undefined) as
    | Record<string, Plain>
    | undefined;
  const many = [...method.request.shape.fields.values()].filter((field) => field.many !== "one");
  return many.map(({ name }) => name).filter((name) => params?.[name]?.optional === true);
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

interface ReceivedCall {
  metadata: Metadata;
  getAuthContext(): { sslPeerCertificate?: { raw: Buffer } };
}

/**
 * Verifies who calls a method: by the credential and, with TLS, for callers that are nodes by the certificate too.
 * @param isNode whether a caller of this name has to have the certificate of a node
 * @returns the caller; undefined when it has not proved its name
 */
function authenticate(
  call: ReceivedCall,
  path: string,
  settings: BridgeSettings,
  isNode: (caller: string) => boolean,
): string | undefined {
  const { names, tls } = settings;
  const credential = call.metadata.get(names.credential)[0];
  const caller = verifyCredential(credential, { ...settings, prefix: names.prefix, path });
  if (caller === undefined) return undefined;
  return !tls || !isNode(caller) || isCertified(call, tls.nameOf(caller)) ? caller : undefined;
}

/** Bytes in and out: the codec decodes them, so that its own errors name the wrong field. */
export function rawMethod(path: string): MethodDefinition<Buffer, Buffer> {
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
