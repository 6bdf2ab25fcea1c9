import { status as Status } from "@grpc/grpc-js";
import type { Context, ServiceBroker } from "moleculer";
import { announcedAddress } from "./address.ts";
import type { GrpcLocals } from "./call-handler.ts";
import { MAX_MESSAGE_BYTES } from "./channel-options.ts";
import { asValidationError } from "./errors.ts";
import { toMetadata } from "./metadata.ts";
import type { BridgeSettings } from "./options.ts";
import { peerStreams } from "./peer-stream-client.ts";
import type { Method } from "./proto-catalogue.ts";
import { type RpcStatus, toError } from "./rpc-status.ts";

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

export function bridgeClient(broker: ServiceBroker, settings: BridgeSettings): BridgeClient {
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
      const response = await streams.call(nodeID, address, call).catch((status: RpcStatus) => {
        throw errorOf(method, nodeID, status);
      });
      return decode(method, response);
    },
    reconnect: streams.reconnect,
    close: streams.close,
  };
}

/** The other node's broker noticed a moment earlier that its handler takes too long. */
function isRemoteTimeout(thrown: unknown, nodeID: string): boolean {
  const { type, data } = (thrown ?? {}) as { type?: string; data?: { nodeID?: string } };
  return type === "REQUEST_TIMEOUT" && data?.nodeID === nodeID;
}
