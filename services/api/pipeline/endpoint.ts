import { exampleOf } from "../../../contracts/documentation.ts";
import { type ErrorType, errorCatalogue } from "../../../contracts/errors.ts";
import { object, type Props, type Rule } from "../../../contracts/schema.ts";
import { type Check, checkOf } from "../../../contracts/validation.ts";
import { contractOf } from "../actions/contract.ts";
import {
  type Convert,
  decoder,
  encoder,
  sentProps,
  snakeName,
  wireProps,
  wireRule,
} from "../case-mapping.ts";
import type { Method, Route } from "../routes/route.ts";

export const MAX_JSON_BYTES = 100 * 1024;
export const MAX_WEBHOOK_BYTES = 64 * 1024;
export const MAX_IMAGE_BYTES = 5_000_000;

/** Some of the fields that an operation takes, from one place of the request. */
export interface Part {
  /** As the client sends them. */
  readonly rule: Rule & { readonly props: Props };
  readonly check: Check;
  /** To the names of the contract. */
  readonly decode: (value: unknown) => Record<string, unknown>;
}

export interface Body {
  readonly kind: "json" | "image" | "signed";
  readonly maxBytes: number;
  /** What JSON must look like. */
  readonly part?: Part;
  /** JSON that the operation takes, as the documentation shows it. */
  readonly example?: unknown;
  /** Whether a request without a body is one with an empty object. */
  readonly mayBeAbsent: boolean;
  /** The field of the contract that the whole body is; else its fields are the contract's. */
  readonly field?: string;
  /** Fields of the contract that stand in the body beside those of `field`. */
  readonly beside?: readonly string[];
}

/** A route with everything that follows from it, worked out once. */
export interface Endpoint {
  readonly route: Route;
  /** `POST /orders/{order_id}/cancel`: its name in logs, spans and tests. */
  readonly operation: string;
  readonly path: Part;
  readonly query: Part;
  readonly body?: Body;
  /** Whether If-Match says which version is to be changed. */
  readonly versioned: boolean;
  readonly idempotencyKey: "required" | "accepted" | "never";
  readonly answer: Rule;
  readonly encode: Convert;
  /** Which problems the operation may answer with, by status. */
  readonly problems: ReadonlyMap<number, readonly ErrorType[]>;
  /** Every status that it may answer with. */
  readonly statuses: readonly number[];
}

/** Fields that headers carry; the client never sends them as such. */
const FROM_HEADERS = ["expectedVersion", "userAgent", "headers"];
const WITH_BODY: readonly Method[] = ["POST", "PUT", "PATCH"];

/** @throws Error for a route that contradicts its action's contract */
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
  const query = partOf(pick(params.props, toBody ? [] : rest));
  const problems = problemsOf(route, { body, versioned, idempotencyKey, inPath });
  const conditional = route.method === "GET" && route.content !== "events";
  return {
    route,
    operation: `${route.method} ${route.path}`,
    path: partOf(pick(params.props, fromPath)),
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

function partOf(props: Props): Part {
  return part(object(props));
}

function part(rule: Rule & { readonly props: Props }): Part {
  return readAs(rule, wireProps(rule.props));
}

function sentPart(rule: Rule & { readonly props: Props }): Part {
  return readAs(rule, sentProps(wireProps(rule.props)));
}

function readAs(rule: Rule & { readonly props: Props }, props: Props): Part {
  const wire = { ...rule, props };
  return { rule: wire, check: checkOf(wire), decode: decoder(rule) as Part["decode"] };
}

function bodyOf(route: Route, props: Props, all: Props): Body | undefined {
  const { json, image, signed } = (route.body ?? {}) as Record<string, string | undefined>;
  if (image) return { kind: "image", maxBytes: MAX_IMAGE_BYTES, mayBeAbsent: false, field: image };
  if (signed) return { kind: "signed", maxBytes: MAX_WEBHOOK_BYTES, mayBeAbsent: false, field: signed };
  if (!json && Object.keys(props).length === 0) return undefined;
  const inner = json ? (all[json] as Part["rule"]).props : {};
  const fields = object({ ...inner, ...props });
  const mayBeAbsent = Object.values(fields.props).every((rule) => rule.optional);
  const taken = sentPart(fields);
  const example = { ...(exampleOf(taken.rule) as object), ...route.example };
  return {
    kind: "json",
    maxBytes: MAX_JSON_BYTES,
    part: taken,
    example,
    mayBeAbsent,
    field: json,
    beside: Object.keys(props),
  };
}

type Shape = Pick<Endpoint, "body" | "versioned" | "idempotencyKey"> & { inPath: string[] };

/** The problems that follow from an operation's shape, and those that its service has. */
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
    // A parameter that there is not, if nothing else; from whoever cannot sign, it is one more wrong signature.
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
