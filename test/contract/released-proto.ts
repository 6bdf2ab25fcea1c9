import { readdirSync } from "node:fs";
import { loadSync } from "@grpc/proto-loader";
import { filesOf } from "../../packages/moleculer-grpc/src/descriptors.ts";

interface Reserved {
  numbers: [from: number, to: number][];
  names: string[];
}
/** The numbers and types on the wire, and the names in generated code. */
export interface ReleasedProto {
  /** `waybill.orders.v1.Orders.Confirm` with its messages. */
  methods: Record<string, string>;
  /** `waybill.orders.v1.Order` with its fields: `4 repeated waybill.orders.v1.Line`. */
  messages: Record<string, { fields: Record<string, string>; reserved: Reserved }>;
  enums: Record<string, { values: Record<string, number>; reserved: Reserved }>;
}

interface Field {
  name: string;
  number: number;
  label: string;
  type: string;
  typeName?: string;
  proto3Optional?: boolean;
}
interface Reserving {
  name: string;
  reservedRange?: { start: number; end: number }[];
  reservedName?: string[];
}

/** Everything in the .proto files below a folder that later releases are held against. */
export function releasedProto(folder: string): ReleasedProto {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".proto"),
  );
  const files = filesOf(loadSync(names, { includeDirs: [folder], keepCase: true, enums: String }));
  const released: ReleasedProto = { methods: {}, messages: {}, enums: {} };
  for (const { package: home, messageType = [], enumType = [], service = [] } of files) {
    for (const { name, method = [] } of service) {
      for (const one of method)
        released.methods[`${home}.${name}.${one.name}`] =
          `${one.inputType.slice(1)} -> ${one.outputType.slice(1)}`;
    }
    for (const message of messageType) {
      const fields = (message.field ?? []) as Field[];
      released.messages[`${home}.${message.name}`] = {
        fields: Object.fromEntries(fields.map((field) => [field.name, fieldOf(field)])),
        reserved: reservedOf(message as Reserving, 1),
      };
    }
    for (const one of enumType) {
      released.enums[`${home}.${one.name}`] = {
        values: Object.fromEntries((one.value ?? []).map(({ name, number }) => [name, number])),
        reserved: reservedOf(one as Reserving, 0),
      };
    }
  }
  return released;
}

function fieldOf({ number, label, type, typeName, proto3Optional }: Field): string {
  const many = label === "LABEL_REPEATED" ? "repeated " : proto3Optional ? "optional " : "";
  return `${number} ${many}${typeName ? typeName.slice(1) : type.replace("TYPE_", "").toLowerCase()}`;
}

/** @param beyond how far the end of a range is behind its last number: in a message one, in an enum none */
function reservedOf({ reservedRange = [], reservedName = [] }: Reserving, beyond: number): Reserved {
  return {
    numbers: reservedRange.map(({ start, end }) => [start, end - beyond]),
    names: reservedName,
  };
}

/** The changes that would break a program built from the earlier release, a line each. */
export function protoBreaks(before: ReleasedProto, now: ReleasedProto): string[] {
  return [
    ...Object.entries(before.methods).flatMap(([name, old]) => {
      const method = now.methods[name];
      if (method === undefined) return [`${name}: removed`];
      return method === old ? [] : [`${name}: was ${old}, is ${method}`];
    }),
    ...Object.entries(before.messages).flatMap(([name, old]) => {
      const message = now.messages[name];
      if (!message) return [`${name}: removed`];
      return lost(name, old.fields, message.fields, message.reserved, (field) => Number.parseInt(field, 10));
    }),
    ...Object.entries(before.enums).flatMap(([name, old]) => {
      const values = now.enums[name];
      if (!values) return [`${name}: removed`];
      return lost(name, old.values, values.values, values.reserved, (value) => value);
    }),
  ];
}

function lost<T extends string | number>(
  owner: string,
  before: Record<string, T>,
  now: Record<string, T>,
  reserved: Reserved,
  numberOf: (one: T) => number,
): string[] {
  return Object.entries(before).flatMap(([name, old]) => {
    const one = now[name];
    if (one === old) return [];
    if (one !== undefined) return [`${owner}.${name}: was ${old}, is ${one}`];
    const number = numberOf(old);
    const isReserved =
      reserved.names.includes(name) && reserved.numbers.some(([from, to]) => number >= from && number <= to);
    return isReserved ? [] : [`${owner}.${name}: removed, and ${number} and its name are not reserved`];
  });
}
