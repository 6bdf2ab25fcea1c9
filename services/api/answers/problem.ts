import {
  type ErrorType,
  entryOf,
  errorCatalogue,
  type FieldError,
  typeOf,
} from "../../../contracts/errors.ts";
import { fieldErrors } from "../../../contracts/validation.ts";
import { encodeFacts, toSnake } from "../case-mapping.ts";

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
  /** Facts for the caller's program, e.g. which moves would be legal. */
  data?: unknown;
  trace_id?: string;
}

export interface Problem {
  status: number;
  headers: Record<string, string>;
  document: ProblemDocument;
  /** Nothing of the catalogue: a fault of ours, to be logged whole. */
  unexpected: boolean;
}

export interface ProblemContext {
  /** Where docs of the codes are found: `https://…/docs/errors`. */
  docsUrl: string;
  instance: string;
  traceId?: string;
  /** For callbacks: whoever cannot sign learns nothing, so every refusal is the same to the byte. */
  sealed?: boolean;
}

/** What the framework throws by itself, in our words: its own words would name nodes and actions. */
const framework = new Map<string, ErrorType>(
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

/** The answer for whatever was thrown. What is not of the catalogue is INTERNAL, and nothing of it is told. */
export function problemOf(error: unknown, context: ProblemContext): Problem {
  const thrown = (error ?? {}) as Thrown;
  const own = typeOf(error) ?? "";
  const ours = entryOf(own) !== undefined;
  const type = (ours ? own : (framework.get(own) ?? "INTERNAL")) as ErrorType;
  const { status, title } = errorCatalogue[type];
  const detail =
    ours && type !== "INTERNAL" && typeof thrown.message === "string" ? thrown.message : undefined;
  const about = { type: `${context.docsUrl}#${type.toLowerCase()}`, title, status, code: type.toLowerCase() };
  const headers = headersOf(type, status, ours ? thrown.data : undefined);
  const unexpected = type === "INTERNAL";
  if (context.sealed && status === 401) return { status, headers, document: about, unexpected };
  const document: ProblemDocument = {
    ...about,
    ...(detail && detail !== title && { detail }),
    instance: context.instance,
    ...(ours && factsOf(type, thrown.data)),
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

/** RFC 6750: a token that was sent and refused is named as such. */
function challengeOf(type: ErrorType): string {
  if (type === "BAD_SIGNATURE") return "Signature";
  return type === "SESSION_REVOKED"
    ? 'Bearer realm="waybill", error="invalid_token"'
    : 'Bearer realm="waybill"';
}

function factsOf(type: ErrorType, data: unknown): Pick<ProblemDocument, "errors" | "data"> {
  if (type === "VALIDATION_ERROR") return { errors: errorsOf(data) };
  return typeof data === "object" && data !== null ? { data: encodeFacts(data) } : {};
}

/** Those that the gateway found name fields as they were sent; a service knows the contract's names. */
function errorsOf(data: unknown): FieldError[] {
  if (Array.isArray(data)) return fieldErrors(data).map(onTheWire);
  const { errors, asSent } = (data ?? {}) as { errors?: FieldError[]; asSent?: boolean };
  if (!Array.isArray(errors)) return [];
  return asSent ? errors : errors.map(onTheWire);
}

function onTheWire({ field, rule, message }: FieldError): FieldError {
  return { field: toSnake(field), rule, message };
}
