import type { MessageTypeDefinition, PackageDefinition } from "@grpc/proto-loader";
import { CLEARED_FIELDS, type Field, type MessageShape, type Shapes } from "./message-shape.ts";

/** At most so many wrong fields are reported. */
const MAX_PROBLEMS = 20;
const INT32_MIN = -(2 ** 31);
const INT32_MAX = 2 ** 31 - 1;
const UINT32_MAX = 2 ** 32 - 1;

type Plain = Record<string, unknown>;

/** One wrong field of a message. */
export interface FieldError {
  field: string;
  rule: string;
  message: string;
}

/** A message that does not match its proto, with its wrong fields. */
export class MessageError extends Error {
  readonly problems: readonly FieldError[];

  constructor(message: string, problems: readonly FieldError[]) {
    super(`${message}: ${problems.map((each) => `${each.field} (${each.message})`).join(" ")}`);
    this.problems = problems;
  }
}

export interface MessageCodec {
  readonly shape: MessageShape;
  /** @throws MessageError for a value that does not match: protobuf itself would coerce, wrap or drop it silently */
  encode(value: unknown): Buffer;
  /** @throws MessageError for bytes that are no such message, unknown enum constants and unsafe integers */
  decode(bytes: Uint8Array): Plain;
}

/** Converts between plain values and the bytes of the message `name`. */
export function messageCodec(definition: PackageDefinition, shapes: Shapes, name: string): MessageCodec {
  const shape = shapes(name);
  const { serialize, deserialize } = definition[name] as MessageTypeDefinition<object, object>;
  return {
    shape,
    encode(value) {
      const problems: FieldError[] = [];
      const wire = messageToWire(shape, value ?? {}, "", problems);
      if (problems.length > 0) throw new MessageError(`not a ${name}`, problems.slice(0, MAX_PROBLEMS));
      return serialize(wire as object);
    },
    decode(bytes) {
      const problems: FieldError[] = [];
      const value = messageFromWire(shape, parse(name, deserialize, bytes), "", problems);
      if (problems.length > 0) throw new MessageError(`not a ${name}`, problems.slice(0, MAX_PROBLEMS));
      return value;
    },
  };
}

function parse(name: string, deserialize: (bytes: Buffer) => object, bytes: Uint8Array): Plain {
  try {
    return deserialize(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)) as Plain;
  } catch {
    throw new MessageError(`not a ${name}`, [
      { field: "", rule: "protobuf", message: "The bytes cannot be read." },
    ]);
  }
}

function messageToWire(shape: MessageShape, value: unknown, path: string, problems: FieldError[]): unknown {
  if (!isPlain(value)) return wrong(problems, path, "object", "Must be an object.");
  const wire: Plain = {};
  const cleared: string[] = [];
  for (const name of Object.keys(value)) {
    const field = shape.fields.get(name);
    const given = value[name];
    if (!field) wrong(problems, at(path, name), "unknown", "There is no such field here.");
    else if (given !== undefined && given !== null)
      wire[name] = toWire(field, given, at(path, name), problems);
    else if (given === null && shape.clears && field.optional) cleared.push(protoName(name));
  }
  if (cleared.length > 0) wire[CLEARED_FIELDS] = cleared;
  for (const field of shape.fields.values()) {
    if (!field.optional && field.many === "one" && (value[field.name] ?? undefined) === undefined) {
      wrong(problems, at(path, field.name), "required", "Must be given.");
    }
  }
  return wire;
}

function toWire(field: Field, value: unknown, path: string, problems: FieldError[]): unknown {
  if (field.many === "one") return oneToWire(field, value, path, problems);
  if (field.many === "list") {
    if (!Array.isArray(value)) return wrong(problems, path, "array", "Must be a list.");
    return value.map((item, index) => oneToWire(field, item, `${path}[${index}]`, problems));
  }
  if (!isPlain(value)) return wrong(problems, path, "record", "Must be an object.");
  const entries = Object.entries(value).filter(([, item]) => item !== undefined && item !== null);
  for (const [key, item] of entries) oneToWire(field, item, at(path, key), problems);
  return Object.fromEntries(entries);
}

function oneToWire(field: Field, value: unknown, path: string, problems: FieldError[]): unknown {
  switch (field.kind) {
    case "message":
      return messageToWire(field.message as MessageShape, value, path, problems);
    case "enum":
      return (
        field.values?.get(value as string) ??
        wrong(problems, path, "enumValue", `Must be one of: ${[...(field.values?.keys() ?? [])].join(", ")}.`)
      );
    case "string":
      if (typeof value === "string" && value.isWellFormed()) return value;
      return wrong(problems, path, "string", "Must be a text.");
    case "bool":
      return typeof value === "boolean" ? value : wrong(problems, path, "boolean", "Must be true or false.");
    case "double":
      return decimal(value) ?? wrong(problems, path, "number", "Must be a number.");
    default:
      return whole(field.kind, value) ?? wrong(problems, path, "numberInteger", wholeMessage(field.kind));
  }
}

function messageFromWire(shape: MessageShape, wire: Plain, path: string, problems: FieldError[]): Plain {
  const value: Plain = {};
  for (const field of shape.fields.values()) {
    const found = fromWire(field, wire[field.name], at(path, field.name), problems);
    if (found !== undefined) value[field.name] = found;
  }
  if (shape.clears) clear(shape, value, wire[CLEARED_FIELDS] as string[], path, problems);
  return value;
}

function clear(
  shape: MessageShape,
  value: Plain,
  names: readonly string[],
  path: string,
  problems: FieldError[],
): void {
  for (const name of names) {
    const field = [...shape.fields.values()].find((one) => one.optional && protoName(one.name) === name);
    if (!field || value[field.name] !== undefined)
      wrong(problems, at(path, CLEARED_FIELDS), "enumValue", "Must name optional fields that are not given.");
    else value[field.name] = null;
  }
}

/** `apiUrl` is `api_url` in the proto file, the name that gRPC clients know. */
function protoName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function fromWire(field: Field, wire: unknown, path: string, problems: FieldError[]): unknown {
  if (wire === undefined || wire === null) return undefined;
  if (field.many === "list") {
    return (wire as unknown[]).map(
      (item, index) =>
        oneFromWire(field, item, `${path}[${index}]`, problems) ??
        wrong(problems, `${path}[${index}]`, "required", "Must be given."),
    );
  }
  if (field.many === "map") return wire;
  return oneFromWire(field, wire, path, problems);
}

function oneFromWire(field: Field, wire: unknown, path: string, problems: FieldError[]): unknown {
  switch (field.kind) {
    case "message":
      return messageFromWire(field.message as MessageShape, wire as Plain, path, problems);
    case "enum":
      return constantFromWire(field, wire, path, problems);
    case "int64":
      return whole("int64", wire) ?? wrong(problems, path, "numberInteger", wholeMessage("int64"));
    case "double":
      return decimal(wire) ?? wrong(problems, path, "number", "Must be a number.");
    default:
      return wire;
  }
}

/** UNSPECIFIED is the value of an enum field that was not set. */
function constantFromWire(field: Field, wire: unknown, path: string, problems: FieldError[]): unknown {
  for (const [value, constant] of field.values ?? []) if (constant === wire) return value;
  if (typeof wire === "string" && wire.endsWith("_UNSPECIFIED")) return undefined;
  return wrong(
    problems,
    path,
    "enumValue",
    `Must be one of: ${[...(field.values?.keys() ?? [])].join(", ")}.`,
  );
}

/** Accepts exact decimal text too: query parameters are text, which the called action's validator would convert. */
function whole(kind: "int32" | "uint32" | "int64", value: unknown): number | undefined {
  const number = typeof value === "string" && /^-?\d{1,16}$/.test(value) ? Number(value) : value;
  if (typeof number !== "number" || !Number.isSafeInteger(number)) return undefined;
  if (kind === "int32" && (number < INT32_MIN || number > INT32_MAX)) return undefined;
  if (kind === "uint32" && (number < 0 || number > UINT32_MAX)) return undefined;
  return number === 0 ? 0 : number; // there is no -0 on the wire
}

function wholeMessage(kind: string): string {
  return kind === "int64" ? "Must be a whole number within 2^53 - 1." : `Must be a whole number of ${kind}.`;
}

function decimal(value: unknown): number | undefined {
  const text = typeof value === "string" && /^-?\d{1,20}(\.\d{1,20})?$/.test(value);
  const number = text ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : undefined;
}

function isPlain(value: unknown): value is Plain {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  // A plain object of another realm (jest, vm) has another Object.prototype, whose prototype is null again.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function at(path: string, name: string): string {
  return path ? `${path}.${name}` : name;
}

function wrong(problems: FieldError[], field: string, rule: string, message: string): undefined {
  if (problems.length < MAX_PROBLEMS) problems.push({ field, rule, message });
  return undefined;
}
