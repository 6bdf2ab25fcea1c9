import { Metadata, status as Status } from "@grpc/grpc-js";
import type { ServiceBroker } from "moleculer";
import { entryOf, fail } from "../../contracts/errors.ts";
import { MessageError } from "./message-codec.ts";

/** The trailer that carries a broker's error as JSON. Node's HTTP/2 has room for 16 KB of all headers. */
export const ERROR_KEY = "waybill-error-bin";

const MAX_ERROR_BYTES = 6 * 1024;
const MAX_MESSAGE_LENGTH = 1_000;

export interface PlainError {
  name: string;
  message: string;
  code: number;
  type?: string;
  data?: unknown;
  retryable: boolean;
  nodeID?: string;
}

/** How a call ended that was not answered. */
export interface Refusal {
  code: Status;
  details: string;
  /** The error for brokers, in JSON; absent where the bridge itself refused. */
  error?: Buffer;
  /** Said on this side of a node that gave other signs of life; never sent. */
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

/** The gRPC status that stands for a broker's error, for clients that read nothing else. */
export function statusOf({ code, type, retryable }: PlainError): Status {
  const byType = type === undefined ? undefined : BY_TYPE[type];
  if (byType !== undefined) return byType;
  if (code === 409 && retryable) return Status.ABORTED;
  const fallback = code >= 400 && code < 500 ? Status.FAILED_PRECONDITION : Status.INTERNAL;
  return BY_HTTP_STATUS[code] ?? fallback;
}

/**
 * Whether the error was made for a caller: with a code, and with a word on whether to repeat. All the broker's
 * own errors have both, in whatever class they arrive; what a driver or a slip in the code throws has not.
 */
export function isForCallers(error: unknown): error is PlainError {
  const { code, retryable, name } = (error ?? {}) as Partial<PlainError>;
  return Number.isInteger(code) && typeof retryable === "boolean" && typeof name === "string";
}

/** What was thrown: the whole error for brokers, and a status with a sentence for everybody else. */
export function toRefusal(broker: ServiceBroker, thrown: unknown): Refusal {
  const error = isForCallers(thrown) ? thrown : (fail("INTERNAL") as unknown as PlainError);
  const code = statusOf(error);
  return { code, details: details(error, code), error: jsonError(broker, error) };
}

/** As grpc-js sends it at the end of a unary call: the error for brokers is a trailer. */
export function toStatus({ code, details, error }: Refusal): {
  code: Status;
  details: string;
  metadata: Metadata;
} {
  const metadata = new Metadata();
  if (error) metadata.set(ERROR_KEY, error);
  return { code, details, metadata };
}

/** VALIDATION_ERROR with the fields that a codec found wrong; whatever else was thrown as it is. */
export function invalidParams(thrown: unknown): unknown {
  if (!(thrown instanceof MessageError)) return thrown;
  const [first] = thrown.problems;
  return fail("VALIDATION_ERROR", `${first?.field}: ${first?.message}`, { errors: thrown.problems });
}

/** The error as it was thrown on the other node; undefined where none came along. */
export function fromRefusal(broker: ServiceBroker, { error: bytes }: Refusal): Error | undefined {
  if (!bytes?.length) return undefined;
  try {
    const plain = JSON.parse(bytes.toString()) as PlainError;
    if (!isForCallers(plain)) return undefined;
    const error = broker.errorRegenerator?.restore(plain as never, {}) as (Error & PlainError) | undefined;
    // Some of the framework's classes make up their own text from the data; here it is as it was.
    if (error) error.message = plain.message;
    return error;
  } catch {
    return undefined;
  }
}

function jsonError(broker: ServiceBroker, error: PlainError): Buffer {
  const { name, type, code, retryable, data, nodeID = broker.nodeID } = error;
  const message = error.message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed();
  const plain = { name, message, code, type, retryable, nodeID };
  const whole = jsonOf({ ...plain, data });
  return whole && whole.length <= MAX_ERROR_BYTES ? whole : Buffer.from(JSON.stringify(plain));
}

function jsonOf(value: unknown): Buffer | undefined {
  try {
    return Buffer.from(JSON.stringify(value));
  } catch {
    return undefined; // a cycle or a BigInt in the data
  }
}

/** Texts of the catalogue's client errors were written for callers; of the others only the title is. */
function details({ type, code, message }: PlainError, status: Status): string {
  const entry = type === undefined ? undefined : entryOf(type);
  if (entry && code < 500) return message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed();
  return entry?.title ?? Status[status];
}
