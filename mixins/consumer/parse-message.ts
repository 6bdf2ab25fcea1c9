import { createHash } from "node:crypto";
import { dataschemaOf, isMessageType, problemOf } from "../../contracts/message-check.ts";
import { isoTime, momentOf } from "../../lib/clock.ts";
import { derivedId, idTimeMs, isId, newId } from "../../lib/ids.ts";
import { INBOX_MARGIN_MS } from "../../lib/messaging/retention.ts";
import { shorten } from "../../lib/text.ts";
import { MESSAGE_MAX_BYTES } from "../outbox/envelope.ts";
import type { InboxRow } from "./inbox.repository.ts";

const EXCERPT_LENGTH = 2_000;
const MAX_DEPTH = 100;
const TOO_DEEP = "nested too deep";
/** The closing quote is optional: without backtracking, matching takes linear time. */
const STRING_OR_BRACKET = /"(?:[^"\\]|\\.)*"?|[[\]{}]/g;
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7/;
// \u0000 and lone surrogates, as JSON.stringify writes them: PostgreSQL refuses both in jsonb.
const UNSTORABLE = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/;

/**
 * Converts an incoming message of any form into a row of the inbox. The state is `waiting` for a message that its
 * contract accepts, else `quarantined` with the reason. Never throws, so that one bad message cannot delay others.
 */
export function parseMessage(incoming: unknown, nowMs: number, retentionMs: number): InboxRow {
  const text = textOf(incoming);
  if (text === undefined) return quarantined(undefined, newId(nowMs), TOO_DEEP, nowMs);
  const problem = problemWith(incoming, text, nowMs, retentionMs);
  if (problem !== undefined) return quarantined(incoming, text, problem, nowMs);
  const message = incoming as Omit<InboxRow, "state">;
  return {
    id: message.id,
    source: message.source,
    type: message.type,
    subject: message.subject,
    time: isoTime(Date.parse(message.time)), // PostgreSQL does not accept every date that Date.parse accepts
    dataschema: message.dataschema,
    ...(message.traceparent && TRACEPARENT.test(message.traceparent) && { traceparent: message.traceparent }),
    data: message.data,
    state: "waiting",
  };
}

function problemWith(
  incoming: unknown,
  text: string,
  nowMs: number,
  retentionMs: number,
): string | undefined {
  if (typeof incoming !== "object" || incoming === null) return "not a JSON object";
  const { id, specversion, type, source, subject, time, dataschema, data } = incoming as Record<
    string,
    unknown
  >;
  const bytes = Buffer.byteLength(text);
  if (bytes > MESSAGE_MAX_BYTES) return `too large: ${bytes} bytes`;
  if (!isId(id) || !UUID_V7.test(id)) return "the id is not a UUIDv7";
  if (specversion !== "1.0") return "not CloudEvents 1.0";
  if (!isMessageType(type)) return "unknown type";
  if (dataschema !== dataschemaOf(type)) return `unknown version: ${shorten(String(dataschema), 200)}`;
  if (!isText(source, 100) || !isText(subject, 200)) return "source or subject is missing or too long";
  if (typeof time !== "string" || !TIME.test(time) || momentOf(time) === undefined) return "bad time";
  if (!isFlat(text)) return TOO_DEEP;
  if (UNSTORABLE.test(text)) return "contains a NUL or a lone surrogate";
  // An older message may have been handled and pruned already, so only an operator may let it in.
  if (idTimeMs(id) < nowMs - retentionMs + INBOX_MARGIN_MS) return "older than the inbox remembers";
  return problemOf(type, data);
}

function quarantined(incoming: unknown, text: string, problem: string, nowMs: number): InboxRow {
  const { id, type, subject, source } = (incoming ?? {}) as Record<string, unknown>;
  const hash = createHash("sha256").update(text).digest("hex");
  // A message that a newer version of the program may understand is stored whole. Of any other, an escaped excerpt is
  // enough for the operator.
  const whole = Buffer.byteLength(text) <= MESSAGE_MAX_BYTES && !UNSTORABLE.test(text) && isFlat(text);
  return {
    id: isId(id) ? id : derivedId("quarantine", hash),
    source: label(source, 100),
    type: label(type, 60),
    subject: label(subject, 200),
    time: isoTime(nowMs),
    dataschema: "urn:waybill:quarantine",
    data: whole ? { incoming } : { excerpt: JSON.stringify(text.slice(0, EXCERPT_LENGTH)), hash },
    state: "quarantined",
    error: shorten(JSON.stringify(problem).slice(1, -1), EXCERPT_LENGTH),
    deadLetterId: newId(nowMs),
  };
}

/** The message as JSON; undefined when it is nested too deep for JSON.stringify. */
function textOf(incoming: unknown): string | undefined {
  try {
    return JSON.stringify(incoming) ?? String(incoming);
  } catch {
    return undefined;
  }
}

/** Whether the nesting is within MAX_DEPTH, which the validator and PostgreSQL can process. Ignores brackets in strings. */
function isFlat(text: string): boolean {
  let depth = 0;
  for (const [part] of text.matchAll(STRING_OR_BRACKET)) {
    if (part === "[" || part === "{") depth += 1;
    else if (part === "]" || part === "}") depth -= 1;
    if (depth > MAX_DEPTH) return false;
  }
  return true;
}

function isText(value: unknown, maxLength: number): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= maxLength;
}

/** A printable text for a column that must not be empty. */
function label(value: unknown, maxLength: number): string {
  const text = typeof value === "string" ? value.replace(/[^\x20-\x7e]/g, "?").slice(0, maxLength) : "";
  return text === "" ? "unknown" : text;
}
