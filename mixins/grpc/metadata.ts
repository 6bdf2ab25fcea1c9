import type { Metadata } from "@grpc/grpc-js";
import type { Context } from "moleculer";
import type { Meta } from "../../contracts/meta.ts";

const MAX_LEVEL = 100;
const MAX_VALUE_LENGTH = 16_384;

/** The only headers of a context that cross the bridge: W3C trace context. */
const TRACE_HEADERS = ["traceparent", "tracestate"];

/** What of a call travels beside its parameters. */
export interface CallFacts {
  meta: Meta;
  headers: Record<string, string>;
  requestID?: string;
  parentID?: string;
  caller?: string;
  level: number;
}

/** By name: whatever else somebody put into the meta of a context stays on this side. */
export function factsOf(ctx: Context): Record<string, string> {
  const facts: Record<string, string> = {};
  const put = (key: string, value: unknown) => {
    if (typeof value === "string" && value !== "") facts[key] = value.toWellFormed();
  };
  const { token, requestId, clientIp, idempotency } = ctx.meta as Meta;
  if (token) put("authorization", `Bearer ${token}`);
  put("x-request-id", requestId);
  put("waybill-client-ip", clientIp);
  put("idempotency-key", idempotency?.key);
  put("waybill-body-hash", idempotency?.bodyHash);
  put("waybill-trace", ctx.requestID);
  put("waybill-parent", ctx.id);
  put("waybill-caller", ctx.caller);
  put("waybill-level", String(ctx.level));
  for (const name of TRACE_HEADERS) put(name, (ctx.headers as Record<string, unknown>)[name]);
  return facts;
}

/** What a plain client says in the metadata of a unary call, in which whatever is not ASCII is escaped as in URLs. */
export function fromMetadata(metadata: Metadata): CallFacts {
  return toCallFacts((key) => {
    const [value] = metadata.get(key);
    return typeof value === "string" ? decoded(value) : undefined;
  });
}

/** What a node says over its link. */
export function fromFacts(facts: Readonly<Record<string, string>>): CallFacts {
  return toCallFacts((key) => (Object.hasOwn(facts, key) ? facts[key] : undefined));
}

/** Built anew from the keys above, so that nobody can slip anything else into a context. */
function toCallFacts(find: (key: string) => string | undefined): CallFacts {
  const take = (key: string): string | undefined => {
    const value = find(key);
    return value !== undefined && value.length <= MAX_VALUE_LENGTH ? value : undefined;
  };
  const key = take("idempotency-key");
  const bodyHash = take("waybill-body-hash");
  const level = Number(take("waybill-level") ?? 1);
  return {
    meta: given({
      token: /^Bearer (.+)$/i.exec(take("authorization") ?? "")?.[1],
      requestId: take("x-request-id"),
      clientIp: take("waybill-client-ip"),
      idempotency: key !== undefined && bodyHash !== undefined ? { key, bodyHash } : undefined,
    }),
    headers: given(Object.fromEntries(TRACE_HEADERS.map((name) => [name, take(name)]))) as Record<
      string,
      string
    >,
    level: Number.isInteger(level) && level >= 1 && level <= MAX_LEVEL ? level : MAX_LEVEL,
    ...given({
      requestID: take("waybill-trace"),
      parentID: take("waybill-parent"),
      caller: take("waybill-caller"),
    }),
  };
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function given<T extends object>(values: T): Given<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Given<T>;
}

function decoded(value: string): string | undefined {
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}
