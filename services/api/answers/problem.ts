import {
  type ErrorType,
  entryOf,
  errorCatalogue,
  type FieldError,
  typeOf,
} from "../../../contracts/errors.ts";
import { fieldErrors } from "../../../contracts/validation.ts";
import { encodeErrorData, toSnake } from "../pipeline/codec.ts";

const RETRY_AFTER_SECONDS = 1;

/** A problem document of RFC 9457 with our members. */
export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail?: string;
  instance?: string;
  code: string;
  errors?: FieldError[];
  /** Details for programs, for example the legal transitions. */
  data?: unknown;
  trace_id?: string;
}

export interface Problem {
  status: number;
  headers: Record<string, string>;
  document: ProblemDocument;
  /** The error is not in the catalogue: a defect, which is logged in full. */
  unexpected: boolean;
}

export interface ProblemContext {
  /** URL of the page that documents the codes: `https://…/docs/errors`. */
  docsUrl: string;
  instance: string;
  traceId?: string;
  /** For callbacks: every 401 is identical, so that it contains no information for a sender without the secret. */
  isUniform?: boolean;
}

/** Errors of Moleculer by their type. Their own messages would reveal nodes and actions. */
const frameworkErrors = new Map<string, ErrorType>(
  Object.entries({
    SERVICE_NOT_FOUND: "SERVICE_UNAVAILABLE",
    SERVICE_NOT_AVAILABLE: "SERVICE_UNAVAILABLE",
    BAD_GATEWAY: "SERVICE_UNAVAILABLE",
    REQUEST_REJECTED: "SERVICE_UNAVAILABLE",
    REQUEST_TIMEOUT: "DEADLINE_EXCEEDED",
    REQUEST_SKIPPED: "DEADLINE_EXCEEDED",
    QUEUE_FULL: "OVERLOADED",
    UNABLE_DECODE_PARAM: "BAD_REQUEST",
  }),
);

interface Thrown {
  message?: unknown;
  data?: unknown;
}

/** Makes the problem document of any error. Unknown errors become INTERNAL without any of their details. */
export function problemOf(error: unknown, context: ProblemContext): Problem {
  const thrown = (error ?? {}) as Thrown;
  const own = typeOf(error) ?? "";
  const ours = entryOf(own) !== undefined;
  const type = (ours ? own : (frameworkErrors.get(own) ?? "INTERNAL")) as ErrorType;
  const { status, title } = errorCatalogue[type];
  const detail =
    ours && type !== "INTERNAL" && typeof thrown.message === "string" ? thrown.message : undefined;
  const about = { type: `${context.docsUrl}#${type.toLowerCase()}`, title, status, code: type.toLowerCase() };
  const headers = headersOf(type, status, ours ? thrown.data : undefined);
  const unexpected = type === "INTERNAL";
  if (context.isUniform && status === 401) return { status, headers, document: about, unexpected };
  const document: ProblemDocument = {
    ...about,
    ...(detail && detail !== title && { detail }),
    instance: context.instance,
    ...(ours && detailsOf(type, thrown.data)),
    ...(context.traceId && { trace_id: context.traceId }),
  };
  return { status, headers, document, unexpected };
}

function headersOf(type: ErrorType, status: number, data: unknown): Record<string, string> {
  if (status === 401) return { "WWW-Authenticate": challengeOf(type) };
  if (status !== 429 && status !== 503) return {};
  const seconds = Number((data as { retryAfterSeconds?: unknown } | undefined)?.retryAfterSeconds);
  return { "Retry-After": String(seconds > 0 ? Math.ceil(seconds) : RETRY_AFTER_SECONDS) };
}

/** RFC 6750: `error="invalid_token"` for a token that was sent and refused. */
function challengeOf(type: ErrorType): string {
  if (type === "BAD_SIGNATURE") return "Signature";
  return type === "SESSION_REVOKED"
    ? 'Bearer realm="waybill", error="invalid_token"'
    : 'Bearer realm="waybill"';
}

function detailsOf(type: ErrorType, data: unknown): Pick<ProblemDocument, "errors" | "data"> {
  if (type === "VALIDATION_ERROR") return { errors: errorsOf(data) };
  return typeof data === "object" && data !== null ? { data: encodeErrorData(data) } : {};
}

/** Errors of services name fields in camelCase. Errors of the gateway itself are in snake_case already. */
function errorsOf(data: unknown): FieldError[] {
  if (Array.isArray(data)) return fieldErrors(data).map(toWireName);
  const { errors, asSent } = (data ?? {}) as { errors?: FieldError[]; asSent?: boolean };
  if (!Array.isArray(errors)) return [];
  return asSent ? errors : errors.map(toWireName);
}

function toWireName({ field, rule, message }: FieldError): FieldError {
  return { field: toSnake(field), rule, message };
}
