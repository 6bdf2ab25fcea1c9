import type { Metadata } from "@grpc/grpc-js";
import type { Context } from "moleculer";
import type { WireNames } from "./wire-names.ts";

const MAX_LEVEL = 100;
const MAX_VALUE_LENGTH = 16_384;

/** The only headers of a context that travel: W3C trace context. */
const TRACE_HEADERS = ["traceparent", "tracestate"];

/** The metadata of a call: texts that are sent beside its parameters. */
export type CallMetadata = Readonly<Record<string, string>>;

/** The part of a context that is made from metadata. */
export interface ContextParts {
  meta: object;
  headers: Record<string, string>;
  requestID?: string;
  parentID?: string;
  caller?: string;
  level: number;
}

/** Decides which part of `ctx.meta` travels and under which metadata keys. */
export interface MetaCodec {
  /** @returns the text for each metadata key in lower case; undefined and empty texts are left out */
  encode(meta: Record<string, unknown>): Record<string, string | undefined>;
  /**
   * Builds the meta of the called node anew, so that a client cannot set anything else.
   * @param get the value of a metadata key; undefined where it is absent or longer than 16,384 characters
   */
  decode(get: (key: string) => string | undefined): object;
}

/** Carries these keys of `ctx.meta`, each as JSON under a metadata key of its own; text that is no JSON is a string. */
export function metaFields(fields: readonly string[], prefix: string): MetaCodec {
  const keys = new Map(fields.map((field) => [field, `${prefix}-meta-${field.toLowerCase()}`]));
  if (new Set(keys.values()).size < keys.size) throw new Error("two keys of meta differ only in their case");
  return {
    encode: (meta) =>
      Object.fromEntries(
        [...keys].map(([field, key]) => [key, JSON.stringify(meta[field]) as string | undefined]),
      ),
    decode: (get) =>
      omitUndefined(Object.fromEntries([...keys].map(([field, key]) => [field, parsed(get(key))]))),
  };
}

export function toMetadata(ctx: Context, names: WireNames, codec: MetaCodec): Record<string, string> {
  const metadata: Record<string, string> = {};
  const put = (key: string, value: unknown) => {
    if (typeof value === "string" && value !== "") metadata[key] = value.toWellFormed();
  };
  for (const [key, value] of Object.entries(codec.encode(ctx.meta as Record<string, unknown>)))
    put(key, value);
  put(names.requestID, ctx.requestID);
  put(names.parentID, ctx.id);
  put(names.caller, ctx.caller);
  put(names.level, String(ctx.level));
  for (const name of TRACE_HEADERS) put(name, (ctx.headers as Record<string, unknown>)[name]);
  return metadata;
}

/** From the headers of a unary call, in which characters beyond ASCII are escaped as in URLs. */
export function fromGrpcMetadata(metadata: Metadata, names: WireNames, codec: MetaCodec): ContextParts {
  const find = (key: string) => {
    const [value] = metadata.get(key);
    return typeof value === "string" ? percentDecoded(value) : undefined;
  };
  return contextParts(find, names, codec);
}

/** From a call on a peer stream. */
export function fromCallMetadata(metadata: CallMetadata, names: WireNames, codec: MetaCodec): ContextParts {
  return contextParts((key) => (Object.hasOwn(metadata, key) ? metadata[key] : undefined), names, codec);
}

/** Built from the known keys alone, so that a client cannot set anything else in a context. */
function contextParts(
  find: (key: string) => string | undefined,
  names: WireNames,
  codec: MetaCodec,
): ContextParts {
  const get = (key: string): string | undefined => {
    const value = find(key);
    return value !== undefined && value.length <= MAX_VALUE_LENGTH ? value : undefined;
  };
  const level = Number(get(names.level) ?? 1);
  return {
    meta: codec.decode(get),
    headers: omitUndefined(Object.fromEntries(TRACE_HEADERS.map((name) => [name, get(name)]))) as Record<
      string,
      string
    >,
    level: Number.isInteger(level) && level >= 1 && level <= MAX_LEVEL ? level : MAX_LEVEL,
    ...omitUndefined({
      requestID: get(names.requestID),
      parentID: get(names.parentID),
      caller: get(names.caller),
    }),
  };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function omitUndefined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}

function parsed(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function percentDecoded(value: string): string | undefined {
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}
