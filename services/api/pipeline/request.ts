import type { IncomingMessage } from "node:http";
import { type FieldError, fail } from "../../../contracts/errors.ts";
import { HEIF_REFUSED, IMAGE_TYPES } from "../../../contracts/media.ts";
import { shortenLine } from "../../../lib/text.ts";
import { expectedVersion, refuseCondition } from "../answers/conditional.ts";
import { parseJson, readBody, requireMediaType, textOf } from "../edge/body.ts";
import { exchangeOf } from "../edge/request-context.ts";
import type { Endpoint, Part } from "./endpoint.ts";

const HEIF_TYPE = /^\s*image\/(?:heic|heif|avif)\b/i;
const MAX_USER_AGENT_LENGTH = 300;
/** Headers that a signature may need; the bank's and the partner's adapters know which. */
const SIGNED_HEADERS = /^(?:webhook-|stripe-)|^content-type$/;

export interface Read {
  /** The parameters of the action. */
  params: Record<string, unknown>;
  /** The body as it came. */
  raw?: Buffer;
}

/**
 * Reads the request into the parameters of its action, every value checked by the schema that the client sees:
 * bad input never costs a call, and errors name fields as they were sent.
 * @param inPath the values of the path's placeholders, decoded
 * @throws NOT_FOUND for a path that can name nothing, VALIDATION_ERROR, BAD_JSON, BAD_REQUEST,
 * UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, PRECONDITION_FAILED
 */
export async function readRequest(
  endpoint: Endpoint,
  req: IncomingMessage,
  inPath: Record<string, string>,
): Promise<Read> {
  const path = { ...inPath };
  // Whoever cannot sign does not learn which senders there are.
  if (endpoint.path.check(path).length > 0) {
    throw fail(endpoint.route.access === "signed" ? "BAD_SIGNATURE" : "NOT_FOUND");
  }
  const { values: query, wrong } = queryValues(endpoint.query, exchangeOf(req).query);
  const body = await readFields(endpoint, req);
  const errors = [...wrong, ...body.errors];
  if (errors.length > 0 && endpoint.route.access === "signed") throw fail("BAD_SIGNATURE");
  if (errors.length > 0) throw fail("VALIDATION_ERROR", undefined, { errors, asSent: true });
  const params = {
    ...endpoint.query.decode(query),
    ...body.fields,
    ...endpoint.path.decode(path),
    ...fromHeaders(endpoint, req),
  };
  return { params, ...(body.raw && { raw: body.raw }) };
}

/** As JSON spells numbers; JavaScript would also read " 1", "0x1" and "". */
const JSON_NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?$/;

/** Everything in a query is text: what the schema calls a number is read as one. */
function queryValues(part: Part, query: Record<string, string>) {
  const values: Record<string, unknown> = { ...query };
  for (const [name, rule] of Object.entries(part.rule.props)) {
    const text = query[name];
    if (text !== undefined && rule.type === "number")
      values[name] = JSON_NUMBER.test(text) ? Number(text) : Number.NaN;
  }
  return { values, wrong: part.check(values) };
}

interface Fields {
  fields: Record<string, unknown>;
  errors: FieldError[];
  raw?: Buffer;
}

async function readFields({ body }: Endpoint, req: IncomingMessage): Promise<Fields> {
  if (!body) return { fields: {}, errors: [] };
  const { kind, field = "" } = body;
  if (kind === "image") {
    if (HEIF_TYPE.test(req.headers["content-type"] ?? "")) throw fail("UNSUPPORTED_MEDIA_TYPE", HEIF_REFUSED);
    requireMediaType(req, IMAGE_TYPES);
    const raw = await readBody(req, body.maxBytes);
    if (raw.length === 0) throw fail("IMAGE_INVALID", "The body is empty.");
    return { fields: { [field]: raw.toString("base64") }, errors: [], raw };
  }
  const raw = await readBody(req, body.maxBytes);
  if (kind === "signed") {
    const text = textOf(raw);
    // A decoder that mends would make one text of many bodies, and one signature would be genuine for them all.
    if (text === undefined) throw fail("BAD_SIGNATURE");
    return { fields: { [field]: text }, errors: [], raw };
  }
  const part = body.part as Part;
  const value = raw.length === 0 && body.mayBeAbsent ? {} : parsed(req, raw);
  const errors = part.check(value);
  if (errors.length > 0) return { fields: {}, errors };
  const decoded = part.decode(value);
  return { fields: field ? under(field, decoded, body.beside) : decoded, errors: [], raw };
}

/** The fields of the body below the one field of the contract that they are, but for those that stand beside it. */
function under(field: string, decoded: Record<string, unknown>, beside: readonly string[] = []) {
  const isBeside = ([name]: [string, unknown]) => beside.includes(name);
  const entries = Object.entries(decoded);
  return {
    [field]: Object.fromEntries(entries.filter((entry) => !isBeside(entry))),
    ...Object.fromEntries(entries.filter(isBeside)),
  };
}

function parsed(req: IncomingMessage, raw: Buffer): unknown {
  requireMediaType(req, ["application/json"]);
  return parseJson(raw);
}

function fromHeaders({ versioned, route }: Endpoint, req: IncomingMessage): Record<string, unknown> {
  const ifMatch = req.headers["if-match"];
  // Nothing but the signature is said to a sender that cannot sign, and no sender of ours conditions a callback.
  if (!versioned && route.access !== "signed") refuseCondition(ifMatch);
  const version = versioned ? expectedVersion(ifMatch) : undefined;
  const userAgent = route.action === "identity.signIn" ? userAgentOf(req) : undefined;
  return {
    ...(version !== undefined && { expectedVersion: version }),
    ...(userAgent && { userAgent }),
    ...(route.access === "signed" && { headers: signedHeaders(req) }),
  };
}

function userAgentOf(req: IncomingMessage): string {
  const text = req.headers["user-agent"] ?? "";
  return shortenLine(text, MAX_USER_AGENT_LENGTH);
}

function signedHeaders(req: IncomingMessage): Record<string, string> {
  const pairs = Object.entries(req.headers).filter(([name]) => SIGNED_HEADERS.test(name));
  return Object.fromEntries(pairs.map(([name, value]) => [name, String(value)]));
}
