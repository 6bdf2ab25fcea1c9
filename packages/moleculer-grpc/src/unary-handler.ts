import { type handleUnaryCall, type ServerUnaryCall, status as Status } from "@grpc/grpc-js";
import type { ServiceBroker } from "moleculer";
import { isNodeID } from "./address.ts";
import { authenticate } from "./authentication.ts";
import { CANCELLED, type CallHandler } from "./call-handler.ts";
import { MAX_MESSAGE_BYTES } from "./channel-options.ts";
import { fromGrpcMetadata } from "./metadata.ts";
import type { BridgeSettings } from "./options.ts";
import { type RpcStatus, withTrailer } from "./rpc-status.ts";

type UnaryCall = ServerUnaryCall<Buffer, Buffer>;

/** Handles the calls of plain clients: one method, with a credential for it in the metadata of each call. */
export function unaryHandler(
  broker: ServiceBroker,
  settings: BridgeSettings,
  path: string,
  handle: CallHandler,
): handleUnaryCall<Buffer, Buffer> {
  const { names, meta, errors, maxCallMs } = settings;
  /** A plain client may have any name but that of a node. */
  const isNode = (caller: string) => isNodeID(broker, caller);

  async function outcome(call: UnaryCall): Promise<Buffer | RpcStatus> {
    const peer = authenticate(call, path, settings, isNode);
    if (peer === undefined) return { code: Status.UNAUTHENTICATED, details: "No valid credential." };
    const timeoutMs = Math.min(remainingMs(call), maxCallMs);
    if (timeoutMs <= 0 || call.cancelled) {
      return { code: Status.DEADLINE_EXCEEDED, details: "The deadline has passed." };
    }
    const { request } = call;
    if (request.length > MAX_MESSAGE_BYTES) {
      return { code: Status.RESOURCE_EXHAUSTED, details: "The call has more than 1 MiB." };
    }
    const cancellation = new AbortController();
    call.once("cancelled", () => cancellation.abort(errors.create("DEADLINE_EXCEEDED", CANCELLED)));
    const context = fromGrpcMetadata(call.metadata, names, meta);
    return handle({ peer, context, request, timeoutMs, signal: cancellation.signal });
  }

  return async (call, respond) => {
    const result = await outcome(call);
    if (Buffer.isBuffer(result)) respond(null, result);
    else respond(withTrailer(result, names.error));
  };
}

function remainingMs(call: UnaryCall): number {
  const deadline = call.getDeadline();
  return (typeof deadline === "number" ? deadline : deadline.getTime()) - Date.now();
}
