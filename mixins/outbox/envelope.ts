import { dataschemaOf, isMessageType, problemOf } from "../../contracts/message-check.ts";
import type { Message, NewMessage } from "../../contracts/messages.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { traceparentOfMessage } from "../../lib/tracing/index.ts";

/** The largest message, as JSON; a message bus must take it and a consumer refuses more. */
export const MESSAGE_MAX_BYTES = 256 * 1024;

/**
 * Puts a message into its envelope: id, time, source, the schema of its data and the trace it belongs to.
 * @throws Error when it is not as its contract says, or too large: a fault of the program that sends it
 */
export function envelope(source: string, message: NewMessage, nowMs: number): Message {
  const { type, subject, data } = message;
  const problem = isMessageType(type) ? problemOf(type, data) : "there is no such type";
  if (problem) throw new Error(`the message ${type} cannot be sent: ${problem}`);
  const id = newId(nowMs);
  const traceparent = traceparentOfMessage(type, id);
  const enveloped: Message = {
    specversion: "1.0",
    id,
    source,
    type,
    time: isoTime(nowMs),
    subject,
    dataschema: dataschemaOf(type),
    ...(traceparent && { traceparent }),
    data,
  };
  const bytes = Buffer.byteLength(JSON.stringify(enveloped));
  if (bytes > MESSAGE_MAX_BYTES) throw new Error(`the message ${type} is too large: ${bytes} bytes`);
  return enveloped;
}
