import type { Context, Service, ServiceBroker } from "moleculer";
import { MAX_MESSAGE_BYTES } from "./channel-options.ts";
import { asValidationError } from "./errors.ts";
import type { ContextParts } from "./metadata.ts";
import { createContext } from "./moleculer-internals.ts";
import type { BridgeSettings } from "./options.ts";
import type { Method } from "./proto-catalogue.ts";
import { isBrokerError, type RpcStatus, toRpcStatus } from "./rpc-status.ts";

/** The fields of `ctx.locals` that the bridge sets. */
export interface GrpcLocals {
  /** The node or plain client that called, as its credential proves. */
  peer?: string;
  /** Set on both sides of a call that goes by gRPC. */
  wire?: "grpc";
  /** Aborted when the caller no longer waits for the response. */
  signal?: AbortSignal;
  /** Receives the promise of the handler, which may run on after a timeout. */
  working?: (work: Promise<unknown>) => void;
}

/** A call as it was received, over a peer stream or from a plain client. */
export interface IncomingCall {
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
export const CANCELLED = "The caller no longer waits for the response.";

/** @returns the bytes of the response, or the status of a failed call; never rejects */
export type CallHandler = (call: IncomingCall) => Promise<Buffer | RpcStatus>;

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
