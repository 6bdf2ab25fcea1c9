import type { MessageTypeDefinition, PackageDefinition } from "@grpc/proto-loader";

export type FieldKind = "string" | "bool" | "int32" | "uint32" | "int64" | "double" | "enum" | "message";

export interface Field {
  /** In camelCase. */
  readonly name: string;
  readonly kind: FieldKind;
  /** One value, a list, or a map of strings to strings. */
  readonly many: "one" | "list" | "map";
  /** Whether it may be absent; lists and maps never are. */
  readonly optional: boolean;
  /** Of an enum: our spelling to the constant on the wire. */
  readonly values?: ReadonlyMap<string, string>;
  readonly message?: MessageShape;
}

export interface MessageShape {
  /** With its package. */
  readonly name: string;
  readonly fields: ReadonlyMap<string, Field>;
}

interface DescriptorField {
  name: string;
  label: string;
  type: string;
  typeName: string;
}

interface Descriptor {
  field: DescriptorField[];
  nestedType: { name: string; field: DescriptorField[]; options: { mapEntry?: boolean } | null }[];
  enumType: unknown[];
  oneofDecl: { name: string }[];
}

interface EnumDescriptor {
  name: string;
  value: { name: string; number: number }[];
}

const SCALARS: Readonly<Record<string, FieldKind>> = {
  TYPE_STRING: "string",
  TYPE_BOOL: "bool",
  TYPE_INT32: "int32",
  TYPE_UINT32: "uint32",
  TYPE_INT64: "int64",
  TYPE_DOUBLE: "double",
};

/** Finds the shape of a message. @throws Error naming the field that has no counterpart in a contract */
export type Shapes = (name: string) => MessageShape;

/**
 * What the messages of a package look like, in the little that our contracts need. Messages and enums stand at
 * the top level of their file; `oneof`, `bytes` and the rarer numbers have no counterpart in a contract.
 */
export function shapesOf(definition: PackageDefinition): Shapes {
  const known = new Map<string, MessageShape>();

  return function shapeOf(name) {
    const before = known.get(name);
    if (before) return before;
    const message = messageOf(definition, name);
    const descriptor = message.type as Descriptor;
    refuseWhatContractsLack(name, descriptor);
    const fields = new Map<string, Field>();
    const shape = { name, fields };
    known.set(name, shape); // before its fields: a message may hold itself
    // The loader's descriptors do not tell optional fields from others; what an empty message decodes to does.
    const empty = message.deserialize(Buffer.alloc(0)) as Record<string, unknown>;
    for (const field of descriptor.field) {
      fields.set(field.name, fieldOf(name, descriptor, field, !(field.name in empty)));
    }
    return shape;

    function fieldOf(
      owner: string,
      { nestedType }: Descriptor,
      { name, type, typeName, label }: DescriptorField,
      optional: boolean,
    ): Field {
      const many = label === "LABEL_REPEATED" ? "list" : "one";
      const scalar = SCALARS[type];
      if (scalar) return { name, kind: scalar, many, optional };
      const map = nestedType.find((nested) => nested.name === typeName);
      if (map?.field.every((part) => part.type === "TYPE_STRING")) {
        return { name, kind: "string", many: "map", optional: false };
      }
      const target = map ? undefined : resolveName(definition, owner, typeName);
      if (type === "TYPE_MESSAGE" && target) {
        return { name, kind: "message", many, optional, message: shapeOf(target) };
      }
      if (type === "TYPE_ENUM" && target) {
        return { name, kind: "enum", many, optional, values: enumValues(definition, target) };
      }
      throw new Error(`${owner}.${name}: ${map ? "such a map" : type} has no counterpart in a contract`);
    }
  };
}

/** @throws Error for a name that is no message at the top level of a proto file */
export function messageOf(
  definition: PackageDefinition,
  name: string,
): MessageTypeDefinition<object, object> {
  const found = definition[name] as { format?: string } | undefined;
  if (found?.format !== "Protocol Buffer 3 DescriptorProto") throw new Error(`${name} is no message`);
  return found as MessageTypeDefinition<object, object>;
}

/** A name as it stands in `owner`: complete, or relative to its package or one of the packages around it. */
export function resolveName(definition: PackageDefinition, owner: string, name: string): string | undefined {
  const scope = owner.split(".");
  for (let length = scope.length - 1; length >= 0; length--) {
    const candidate = [...scope.slice(0, length), name].join(".");
    if (Object.hasOwn(definition, candidate)) return candidate;
  }
  return undefined;
}

function refuseWhatContractsLack(name: string, descriptor: Descriptor): void {
  // Each `optional` field comes with a oneof of its own, whose name begins with an underscore.
  const oneof = descriptor.oneofDecl.find((each) => !each.name.startsWith("_"));
  if (oneof) throw new Error(`${name}.${oneof.name}: oneof has no counterpart in a contract`);
  if (descriptor.enumType.length > 0 || descriptor.nestedType.some((nested) => !nested.options?.mapEntry)) {
    throw new Error(`${name}: messages and enums stand at the top level of their file`);
  }
}

/** ORDER_STATUS_PENDING of OrderStatus is our "pending"; the zero is UNSPECIFIED and never a value. */
function enumValues(definition: PackageDefinition, name: string): ReadonlyMap<string, string> {
  const descriptor = (definition[name] as unknown as { type: EnumDescriptor }).type;
  const prefix = `${descriptor.name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase()}_`;
  const values = new Map<string, string>();
  for (const value of descriptor.value) {
    if (!value.name.startsWith(prefix))
      throw new Error(`${name}: ${value.name} does not begin with ${prefix}`);
    if (value.number !== 0) values.set(value.name.slice(prefix.length).toLowerCase(), value.name);
    else if (value.name !== `${prefix}UNSPECIFIED`) throw new Error(`${name}: zero is ${prefix}UNSPECIFIED`);
  }
  return values;
}
