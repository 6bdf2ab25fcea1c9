import type { EnumDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor } from "./descriptors.ts";

export type FieldKind = "string" | "bool" | "int32" | "uint32" | "int64" | "double" | "enum" | "message";

export interface Field {
  /** In camelCase. */
  readonly name: string;
  readonly kind: FieldKind;
  /** A single value, a list, or a map of strings to strings. */
  readonly many: "one" | "list" | "map";
  /** Whether it may be absent; lists and maps are never absent. */
  readonly optional: boolean;
  /** Of an enum: value in plain objects to constant on the wire. */
  readonly values?: ReadonlyMap<string, string>;
  readonly message?: MessageShape;
}

export interface MessageShape {
  /** Full name, with its package. */
  readonly name: string;
  readonly fields: ReadonlyMap<string, Field>;
  /** Whether the message has the field `cleared_fields`. */
  readonly clears: boolean;
}

/**
 * A proto field can be absent but not null. In a message with `repeated string cleared_fields`, optional fields named
 * in that list are null: removed, and not merely unchanged.
 */
export const CLEARED_FIELDS = "clearedFields";

const SCALARS: Readonly<Record<string, FieldKind>> = {
  TYPE_STRING: "string",
  TYPE_BOOL: "bool",
  TYPE_INT32: "int32",
  TYPE_UINT32: "uint32",
  TYPE_INT64: "int64",
  TYPE_DOUBLE: "double",
};

/** Finds the shape of a message. @throws Error naming a field of an unsupported kind */
export type Shapes = (name: string) => MessageShape;

/**
 * Reads the shapes of the messages of some proto files. Messages and enums have to be at the top level of their file;
 * `oneof`, `bytes` and the rarer numbers are not supported.
 */
export function shapesOf(files: readonly FileDescriptor[]): Shapes {
  const messages = new Map<string, MessageDescriptor>();
  const enums = new Map<string, EnumDescriptor>();
  for (const file of files) {
    for (const type of file.messageType ?? []) messages.set(`.${file.package}.${type.name}`, type);
    for (const type of file.enumType ?? []) enums.set(`.${file.package}.${type.name}`, type);
  }
  const known = new Map<string, MessageShape>();

  function shapeOf(typeName: string): MessageShape {
    const cached = known.get(typeName);
    if (cached) return cached;
    const name = typeName.slice(1);
    const descriptor = messages.get(typeName);
    if (!descriptor) throw new Error(`${name} is no message at the top level of a proto file`);
    refuseUnsupported(name, descriptor);
    const fields = new Map<string, Field>();
    const all = descriptor.field ?? [];
    const shape = { name, fields, clears: all.some((field) => field.name === CLEARED_FIELDS) };
    known.set(typeName, shape); // before its fields: a message may contain itself
    for (const field of all) {
      if (field.name !== CLEARED_FIELDS) fields.set(field.name, fieldOf(name, descriptor, field));
    }
    return shape;
  }

  function fieldOf(owner: string, { nestedType }: MessageDescriptor, field: FieldDescriptor): Field {
    const { name, type, typeName = "", label, proto3Optional: optional = false } = field;
    const many = label === "LABEL_REPEATED" ? "list" : "one";
    const scalar = SCALARS[type];
    if (scalar) return { name, kind: scalar, many, optional };
    const entry = nestedType?.find((nested) => typeName === `.${owner}.${nested.name}`);
    if (entry?.field?.every((part) => part.type === "TYPE_STRING")) {
      return { name, kind: "string", many: "map", optional };
    }
    const values = enums.get(typeName);
    if (values) return { name, kind: "enum", many, optional, values: enumValues(values) };
    if (messages.has(typeName)) return { name, kind: "message", many, optional, message: shapeOf(typeName) };
    throw new Error(`${owner}.${name}: ${typeName || type} is not supported`);
  }

  return (name) => shapeOf(`.${name}`);
}

function refuseUnsupported(name: string, descriptor: MessageDescriptor): void {
  const { oneofDecl = [], enumType = [], nestedType = [] } = descriptor;
  // Each `optional` field has a synthetic oneof, whose name begins with an underscore.
  const oneof = oneofDecl.find((each) => !each.name.startsWith("_"));
  if (oneof) throw new Error(`${name}.${oneof.name}: oneof is not supported`);
  if (enumType.length > 0 || nestedType.some((nested) => !nested.options?.mapEntry)) {
    throw new Error(`${name}: messages and enums stand at the top level of their file`);
  }
}

/** ORDER_STATUS_PENDING of OrderStatus is "pending" in plain objects; the zero is UNSPECIFIED and no value. */
function enumValues({ name, value: constants = [] }: EnumDescriptor): ReadonlyMap<string, string> {
  const prefix = `${name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase()}_`;
  const values = new Map<string, string>();
  for (const constant of constants) {
    if (!constant.name.startsWith(prefix)) throw new Error(`${constant.name} does not begin with ${prefix}`);
    if (constant.number !== 0) values.set(constant.name.slice(prefix.length).toLowerCase(), constant.name);
    else if (constant.name !== `${prefix}UNSPECIFIED`)
      throw new Error(`the zero of ${name} is ${prefix}UNSPECIFIED`);
  }
  return values;
}
