import { type MessageType, messages } from "./messages.ts";
import { type Validate, validatorOf } from "./validation.ts";

const SCHEMA_VERSION = 1;

const checks = new Map<MessageType, Validate>();

export function isMessageType(type: unknown): type is MessageType {
  return typeof type === "string" && Object.hasOwn(messages, type);
}

/** The `dataschema` of messages of this type. It contains the version, so that a consumer detects an unknown one. */
export function dataschemaOf(type: MessageType): string {
  return `urn:waybill:message:${type}:${SCHEMA_VERSION}`;
}

/** The errors in the data of a message, in one line; undefined for valid data. */
export function problemOf(type: MessageType, data: unknown): string | undefined {
  if (typeof data !== "object" || data === null) return "the data is not an object";
  const check = checks.get(type) ?? validatorOf(messages[type]);
  checks.set(type, check);
  const wrong = check(data);
  if (wrong.length === 0) return undefined;
  return wrong.map(({ field, message }) => `${field}: ${message}`).join(" ");
}
