import { loadSync, type MessageTypeDefinition, type PackageDefinition } from "@grpc/proto-loader";

export interface FieldDescriptor {
  name: string;
  label: "LABEL_OPTIONAL" | "LABEL_REPEATED" | "LABEL_REQUIRED";
  type: string;
  /** Full name with a leading dot: `.shop.common.v1.Money`. */
  typeName?: string;
  oneofIndex?: number;
  proto3Optional?: boolean;
}

export interface EnumDescriptor {
  name: string;
  value?: { name: string; number: number }[];
}

export interface MessageDescriptor {
  name: string;
  field?: FieldDescriptor[];
  nestedType?: MessageDescriptor[];
  enumType?: EnumDescriptor[];
  oneofDecl?: { name: string }[];
  options?: { mapEntry?: boolean };
}

export interface ServiceDescriptor {
  name: string;
  method?: {
    name: string;
    inputType: string;
    outputType: string;
    clientStreaming?: boolean;
    serverStreaming?: boolean;
  }[];
}

export interface FileDescriptor {
  name: string;
  package: string;
  dependency?: string[];
  messageType?: MessageDescriptor[];
  enumType?: EnumDescriptor[];
  service?: ServiceDescriptor[];
}

let fileMessage: MessageTypeDefinition<object, object> | undefined;

function fileCodec(): MessageTypeDefinition<object, object> {
  fileMessage ??= loadSync("google/protobuf/descriptor.proto", { enums: String })[
    "google.protobuf.FileDescriptorProto"
  ] as MessageTypeDefinition<object, object>;
  return fileMessage;
}

/**
 * The descriptors of a package definition, one file for each package. proto-loader leaves out parts that other
 * programs require (imports, full type names, the names of map entries, which fields are optional); they are added.
 */
export function filesOf(definition: PackageDefinition): FileDescriptor[] {
  const holding = Object.values(definition).find((entry) => "fileDescriptorProtos" in entry);
  const { fileDescriptorProtos = [] } = (holding ?? {}) as { fileDescriptorProtos?: Buffer[] };
  const files = fileDescriptorProtos.map((bytes) => fileCodec().deserialize(bytes) as FileDescriptor);
  const homes = new Map<string, FileDescriptor>();
  for (const file of files) {
    for (const type of file.enumType ?? []) homes.set(`${file.package}.${type.name}`, file);
    for (const type of file.messageType ?? []) register(type, file.package, file, homes);
  }
  for (const file of files) {
    const imports = new Set<FileDescriptor>();
    const resolve = (scope: string, name: string) => {
      const found = resolveName(homes, scope, name);
      const home = homes.get(found);
      if (home && home !== file) imports.add(home);
      return `.${found}`;
    };
    for (const message of file.messageType ?? []) complete(message, file.package, resolve);
    for (const { inputType, outputType } of (file.service ?? []).flatMap(({ method = [] }) => method)) {
      resolve("", inputType.slice(1));
      resolve("", outputType.slice(1));
    }
    file.dependency = [...imports].map(({ name }) => name);
  }
  return files;
}

export function serializeFile(file: FileDescriptor): Buffer {
  return fileCodec().serialize(file);
}

type Resolve = (scope: string, name: string) => string;

function register(
  message: MessageDescriptor,
  scope: string,
  file: FileDescriptor,
  homes: Map<string, FileDescriptor>,
): void {
  const name = `${scope}.${message.name}`;
  homes.set(name, file);
  for (const type of message.enumType ?? []) homes.set(`${name}.${type.name}`, file);
  for (const type of message.nestedType ?? []) register(type, name, file, homes);
}

function complete(message: MessageDescriptor, scope: string, resolve: Resolve): void {
  const name = `${scope}.${message.name}`;
  for (const field of message.field ?? []) {
    if (message.oneofDecl?.[field.oneofIndex ?? -1]?.name.startsWith("_")) field.proto3Optional = true;
    if (field.typeName === undefined) continue;
    const entry = message.nestedType?.find((each) => each.options?.mapEntry && each.name === field.typeName);
    field.typeName = entry ? `.${name}.${entryName(field.name)}` : resolve(name, field.typeName);
  }
  for (const entry of message.nestedType ?? []) {
    complete(entry, name, resolve);
    if (entry.options?.mapEntry) entry.name = entryName(entry.name);
  }
}

/** The name that protoc gives to the entry message of a map field. */
function entryName(field: string): string {
  return `${field.replace(/(?:^|_)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())}Entry`;
}

/** Resolves a name used in `scope`: a full name, or relative to one of the enclosing packages and messages. */
function resolveName(known: ReadonlyMap<string, unknown>, scope: string, name: string): string {
  const parts = scope.split(".");
  for (let length = parts.length; length >= 0; length--) {
    const candidate = [...parts.slice(0, length), name].join(".");
    if (known.has(candidate)) return candidate;
  }
  return name;
}
