import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  type Server,
  type ServiceDefinition,
  status as Status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { RpcStatus } from "./rpc-status.ts";
import type { WireNames } from "./wire-names.ts";

/** Admits the calls of clients that are no nodes, by keys of their own. */
export interface ClientGate {
  /**
   * Decides about one call, and never rejects.
   * @param key the value of the metadata `<prefix>-client-key`; undefined without one
   * @param path the method, `/shop.v1.Greeter/Hello`; undefined for health and reflection, which have no scope
   * @param onRevoked is called when the key is revoked before `end`; the call then ends
   */
  admit(key: string | undefined, path: string | undefined, onRevoked: () => void): Promise<Admission>;
}

export type Admission = AdmittedCall | RefusedCall;

export interface AdmittedCall {
  /** The name of the client, for `ctx.locals.peer`. */
  client: string;
  /** To be called when the call has ended. */
  end(): void;
}

export interface RefusedCall {
  refused: "unauthenticated" | "forbidden" | "exhausted" | "unavailable";
  /** For the client. */
  details: string;
}

const CODES: Readonly<Record<RefusedCall["refused"], Status>> = {
  unauthenticated: Status.UNAUTHENTICATED,
  forbidden: Status.PERMISSION_DENIED,
  exhausted: Status.RESOURCE_EXHAUSTED,
  unavailable: Status.UNAVAILABLE,
};

export const REVOKED: RpcStatus = { code: Status.UNAUTHENTICATED, details: "The client key is revoked." };

export function refusalStatus({ refused, details }: RefusedCall): RpcStatus {
  return { code: CODES[refused], details };
}

export function clientKeyOf(metadata: Metadata, names: WireNames): string | undefined {
  const [key] = metadata.get(names.clientKey);
  return typeof key === "string" ? key : undefined;
}

/** Of a stream to the client, whether or not the client sends a stream too. */
type StreamHandler = handleServerStreamingCall<unknown, unknown>;

/**
 * Health and reflection answer every client. A call of theirs with a client key is held to it: it is refused when the key
 * is not valid, and it ends when the key is revoked.
 * @returns the part of the server that their libraries add themselves to
 */
export function openServices(server: Server, gate: ClientGate, names: WireNames): Server {
  const guarded = Object.create(server) as Server;
  guarded.addService = (definition: ServiceDefinition, implementation: UntypedServiceImplementation) => {
    const handlers = Object.entries(implementation).map(([name, handler]) => {
      const isStream = Object.values(definition).some(
        (method) => method.responseStream && [method.originalName, lastPart(method.path)].includes(name),
      );
      return [
        name,
        isStream
          ? guardStream(handler as StreamHandler, gate, names)
          : guardUnary(handler as handleUnaryCall<unknown, unknown>, gate, names),
      ];
    });
    server.addService(definition, Object.fromEntries(handlers));
  };
  return guarded;
}

function guardUnary(
  handler: handleUnaryCall<unknown, unknown>,
  gate: ClientGate,
  names: WireNames,
): handleUnaryCall<unknown, unknown> {
  return (call, respond) => {
    const key = clientKeyOf(call.metadata, names);
    if (key === undefined) return handler(call, respond);
    void gate
      .admit(key, undefined, () => undefined)
      .then((admission) => {
        if ("refused" in admission) return respond(refusalStatus(admission));
        admission.end();
        handler(call, respond);
      });
  };
}

function guardStream(handler: StreamHandler, gate: ClientGate, names: WireNames): StreamHandler {
  return (call) => {
    const key = clientKeyOf(call.metadata, names);
    if (key === undefined) return handler(call);
    void gate
      .admit(key, undefined, () => call.emit("error", REVOKED))
      .then((admission) => {
        if ("refused" in admission) return call.emit("error", refusalStatus(admission));
        call.on("cancelled", admission.end);
        call.on("close", admission.end);
        if (call.cancelled) admission.end();
        else handler(call);
      });
  };
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
