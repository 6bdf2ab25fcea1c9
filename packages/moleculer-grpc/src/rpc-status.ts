import { Metadata, status as Status } from "@grpc/grpc-js";
import type { ServiceBroker } from "moleculer";
import type { BridgeErrors, PlainError } from "./errors.ts";

const MAX_ERROR_BYTES = 6 * 1024;
const MAX_MESSAGE_LENGTH = 1_000;

/** The end of a call without a response. */
export interface RpcStatus {
  code: Status;
  details: string;
  /** The broker's error in JSON; absent when the error comes from the gRPC layer itself. */
  error?: Buffer;
  /** Set by the client when the node responded to other calls meanwhile; never sent. */
  isAlive?: true;
}

const BY_HTTP_STATUS: Readonly<Record<number, Status>> = {
  400: Status.INVALID_ARGUMENT,
  401: Status.UNAUTHENTICATED,
  403: Status.PERMISSION_DENIED,
  404: Status.NOT_FOUND,
  405: Status.UNIMPLEMENTED,
  409: Status.FAILED_PRECONDITION,
  412: Status.FAILED_PRECONDITION,
  413: Status.RESOURCE_EXHAUSTED,
  415: Status.INVALID_ARGUMENT,
  422: Status.INVALID_ARGUMENT,
  428: Status.FAILED_PRECONDITION,
  429: Status.RESOURCE_EXHAUSTED,
  501: Status.UNIMPLEMENTED,
  502: Status.UNAVAILABLE,
  503: Status.UNAVAILABLE,
  504: Status.DEADLINE_EXCEEDED,
  514: Status.DEADLINE_EXCEEDED,
};

const BY_TYPE: Readonly<Record<string, Status>> = {
  DEADLINE_EXCEEDED: Status.DEADLINE_EXCEEDED,
  SERVICE_NOT_FOUND: Status.UNAVAILABLE,
  SERVICE_NOT_AVAILABLE: Status.UNAVAILABLE,
};

/** The gRPC status for an error of the broker, for clients that do not read the error itself. */
export function statusOf({ code, type, retryable }: PlainError): Status {
  const byType = type === undefined ? undefined : BY_TYPE[type];
  if (byType !== undefined) return byType;
  if (code === 409 && retryable) return Status.ABORTED;
  const fallback = code >= 400 && code < 500 ? Status.FAILED_PRECONDITION : Status.INTERNAL;
  return BY_HTTP_STATUS[code] ?? fallback;
}

/**
 * Whether an error was thrown on purpose for the caller: it has a code and says whether to retry. All errors of
 * Moleculer have both; errors of drivers and programming errors do not.
 */
export function isBrokerError(error: unknown): error is PlainError {
  const { code, retryable, name } = (error ?? {}) as Partial<PlainError>;
  return Number.isInteger(code) && typeof retryable === "boolean" && typeof name === "string";
}

/** The status of a call that threw: the whole error for brokers, a status with a sentence for other clients. */
export function toRpcStatus(broker: ServiceBroker, errors: BridgeErrors, thrown: unknown): RpcStatus {
  const error = isBrokerError(thrown) ? thrown : (errors.create("INTERNAL") as unknown as PlainError);
  const code = statusOf(error);
  const text = errors.publicText(error)?.slice(0, MAX_MESSAGE_LENGTH).toWellFormed();
  return { code, details: text ?? Status[code], error: toJson(broker, error) };
}

/** The status as grpc-js sends it at the end of a unary call: the broker's error is a trailer. */
export function withTrailer(
  { code, details, error }: RpcStatus,
  errorKey: string,
): { code: Status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  if (error) metadata.set(errorKey, error);
  return { code, details, metadata };
}

/** The error as it was thrown on the other node; undefined when the status carries none. */
export function toError(broker: ServiceBroker, { error: bytes }: RpcStatus): Error | undefined {
  if (!bytes?.length) return undefined;
  try {
    const plain = JSON.parse(bytes.toString()) as PlainError;
    if (!isBrokerError(plain)) return undefined;
    const error = broker.errorRegenerator?.restore(plain as never, {}) as (Error & PlainError) | undefined;
    // Some of Moleculer's classes make their own text from the data; keep the original text.
    if (error) error.message = plain.message;
    return error;
  } catch {
    return undefined;
  }
}

function toJson(broker: ServiceBroker, error: PlainError): Buffer {
  const { name, type, code, retryable, data, nodeID = broker.nodeID } = error;
  const message = error.message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed();
  const plain = { name, message, code, type, retryable, nodeID };
  const whole = tryJson({ ...plain, data });
  return whole && whole.length <= MAX_ERROR_BYTES ? whole : Buffer.from(JSON.stringify(plain));
}

function tryJson(value: unknown): Buffer | undefined {
  try {
    return Buffer.from(JSON.stringify(value));
  } catch {
    return undefined; // a cycle or a BigInt in the data
  }
}
