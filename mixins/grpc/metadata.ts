import { Metadata } from "@grpc/grpc-js";
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

/** Meta by name: whatever else somebody put into it stays on this side. */
export function toMetadata(ctx: Context): Metadata {
  const metadata = new Metadata();
  const put = (key: string, value: unknown) => {
    if (typeof value === "string" && value !== "")
      metadata.set(key, encodeURIComponent(value.toWellFormed()));
  };
  const { token, requestId, clientIp, idempotency } = ctx.meta as Meta;
  if (token) metadata.set("authorization", `Bearer ${encodeURIComponent(token.toWellFormed())}`);
  put("x-request-id", requestId);
  put("waybill-client-ip", clientIp);
  put("idempotency-key", idempotency?.key);
  put("waybill-body-hash", idempotency?.bodyHash);
  put("waybill-trace", ctx.requestID);
  put("waybill-parent", ctx.id);
  put("waybill-caller", ctx.caller);
  put("waybill-level", String(ctx.level));
  for (const name of TRACE_HEADERS) put(name, (ctx.headers as Record<string, unknown>)[name]);
  return metadata;
}

/** Built anew from the keys above, so that no client can slip anything else into a context. */
export function fromMetadata(metadata: Metadata): CallFacts {
  const take = (key: string): string | undefined => {
    const value = metadata.get(key)[0];
    return typeof value === "string" && value.length <= MAX_VALUE_LENGTH ? decoded(value) : undefined;
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
