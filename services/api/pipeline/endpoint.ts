import { exampleOf } from "../../../contracts/documentation.ts";
import { type ErrorType, errorCatalogue } from "../../../contracts/errors.ts";
import type { Props, Rule } from "../../../contracts/schema.ts";
import { contractOf } from "../actions/contract.ts";
import type { Method, Route } from "../routes/route.ts";
import {
  type Convert,
  encoder,
  exactPart,
  type RequestPart,
  sentPart,
  snakeName,
  wireRule,
} from "./codec.ts";

export const MAX_JSON_BYTES = 100 * 1024;
export const MAX_WEBHOOK_BYTES = 64 * 1024;
export const MAX_IMAGE_BYTES = 5_000_000;

export interface Body {
  readonly kind: "json" | "image" | "signed";
  readonly maxBytes: number;
  /** Schema of a JSON body. */
  readonly part?: RequestPart;
  /** Example body for the documentation. */
  readonly example?: unknown;
  /** Whether a missing body counts as an empty object. */
  readonly mayBeAbsent: boolean;
  /** The field of the contract that holds the whole body. Default: the fields of the body are those of the contract. */
  readonly field?: string;
  /** Fields of the contract that are in the body together with the fields of `field`. */
  readonly siblings?: readonly string[];
}

/** A route with everything that is derived from it once at start. */
export interface Endpoint {
  readonly route: Route;
  /** Name in logs, spans and tests: `POST /orders/{order_id}/cancel`. */
  readonly operation: string;
  readonly path: RequestPart;
  readonly query: RequestPart;
  readonly body?: Body;
  /** Whether the operation compares a version with If-Match. */
  readonly versioned: boolean;
  readonly idempotencyKey: "required" | "accepted" | "never";
  readonly answer: Rule;
  readonly encode: Convert;
  /** The problems that the operation can answer with, by status. */
  readonly problems: ReadonlyMap<number, readonly ErrorType[]>;
  /** Every status that the operation can answer with. */
  readonly statuses: readonly number[];
}

/** Fields that come from headers, never from path, query or body. */
const FROM_HEADERS = ["expectedVersion", "userAgent", "headers"];
const WITH_BODY: readonly Method[] = ["POST", "PUT", "PATCH"];

/** @throws Error for a route that contradicts the contract of its action */
export function endpointOf(route: Route): Endpoint {
  const { params, result } = contractOf(route.action);
  const without = (route.without ?? []) as readonly string[];
  const inPath = placeholders(route.path);
  const offered = Object.keys(params.props).filter((name) => !without.includes(name));
  const fromPath = inPath.map((wire) => {
    const name = offered.find((field) => snakeName(field) === wire);
    if (!name) throw new Error(`${route.method} ${route.path}: ${route.action} knows no {${wire}}`);
    return name;
  });
  const whole = Object.values(route.body ?? {})[0] as string | undefined;
  const rest = offered.filter((name) => ![...fromPath, ...FROM_HEADERS, whole].includes(name));
  const toBody = (route.fields ?? (WITH_BODY.includes(route.method) ? "body" : "query")) === "body";
  const body = bodyOf(route, pick(params.props, toBody ? rest : []), params.props);
  const versioned = offered.includes("expectedVersion");
  const idempotencyKey = route.idempotencyKey ?? (route.method === "POST" ? "accepted" : "never");
  const query = exactPart(pick(params.props, toBody ? [] : rest));
  const problems = problemsOf(route, { body, versioned, idempotencyKey, inPath });
  const conditional = route.method === "GET" && !["events", "csv", "file"].includes(route.content ?? "");
  return {
    route,
    operation: `${route.method} ${route.path}`,
    path: exactPart(pick(params.props, fromPath)),
    query,
    body,
    versioned,
    idempotencyKey,
    answer: wireRule(result),
    encode: encoder(result),
    problems,
    statuses: [route.success, ...(conditional ? [304] : []), ...problems.keys()].sort((a, b) => a - b),
  };
}

export function placeholders(path: string): string[] {
  return [...path.matchAll(/\{([a-z0-9_]+)\}/g)].map((match) => match[1] as string);
}

function pick(props: Props, names: readonly string[]): Props {
  return Object.fromEntries(names.map((name) => [name, props[name] as Rule]));
}

function bodyOf(route: Route, props: Props, all: Props): Body | undefined {
  const { json, image, signed } = (route.body ?? {}) as Record<string, string | undefined>;
  if (image) return { kind: "image", maxBytes: MAX_IMAGE_BYTES, mayBeAbsent: false, field: image };
  if (signed) return { kind: "signed", maxBytes: MAX_WEBHOOK_BYTES, mayBeAbsent: false, field: signed };
  if (!json && Object.keys(props).length === 0) return undefined;
  const inner = json ? (all[json] as RequestPart["rule"]).props : {};
  const fields = { ...inner, ...props };
  const mayBeAbsent = Object.values(fields).every((rule) => rule.optional);
  const taken = sentPart(fields);
  const example = { ...(exampleOf(taken.rule) as object), ...route.example };
  return {
    kind: "json",
    maxBytes: MAX_JSON_BYTES,
    part: taken,
    example,
    mayBeAbsent,
    field: json,
    siblings: Object.keys(props),
  };
}

type Shape = Pick<Endpoint, "body" | "versioned" | "idempotencyKey"> & { inPath: string[] };

/** The problems that follow from the shape of the operation, and those that its route names. */
function problemsOf(route: Route, shape: Shape): Map<number, ErrorType[]> {
  const { access } = route;
  const json = shape.body?.kind === "json";
  const types = new Set<ErrorType>([
    "BAD_REQUEST",
    ...(json ? (["BAD_JSON"] as const) : []),
    ...(shape.idempotencyKey === "required" ? (["IDEMPOTENCY_KEY_REQUIRED"] as const) : []),
    ...(access === "signed" ? (["BAD_SIGNATURE"] as const) : []),
    ...(access === "any" || Array.isArray(access) ? (["UNAUTHENTICATED", "SESSION_REVOKED"] as const) : []),
    ...(Array.isArray(access) ? (["FORBIDDEN"] as const) : []),
    ...(shape.inPath.length > 0 && access !== "signed" ? (["NOT_FOUND"] as const) : []),
    ...(shape.versioned ? (["PRECONDITION_FAILED"] as const) : []),
    ...(shape.idempotencyKey === "never" ? [] : (["IDEMPOTENCY_IN_FLIGHT", "IDEMPOTENCY_MISMATCH"] as const)),
    ...(shape.body ? (["PAYLOAD_TOO_LARGE"] as const) : []),
    ...(json || shape.body?.kind === "image" ? (["UNSUPPORTED_MEDIA_TYPE"] as const) : []),
    // Every operation can refuse an unknown parameter. Signed operations answer BAD_SIGNATURE instead.
    ...(access === "signed" ? [] : (["VALIDATION_ERROR"] as const)),
    ...(route.problems ?? []),
    "TOO_MANY_REQUESTS",
    "INTERNAL",
    "SERVICE_UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "OVERLOADED",
  ]);
  const byStatus = new Map<number, ErrorType[]>();
  for (const type of types) {
    const { status } = errorCatalogue[type];
    byStatus.set(status, [...(byStatus.get(status) ?? []), type]);
  }
  return byStatus;
}
