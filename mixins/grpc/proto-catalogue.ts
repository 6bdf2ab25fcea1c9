import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { loadSync, type MethodDefinition, type PackageDefinition } from "@grpc/proto-loader";
import { type MessageCodec, messageCodec } from "./message-codec.ts";
import { resolveName, shapesOf } from "./message-shape.ts";

export interface Method {
  /** `orders.confirm` for the method Confirm of waybill.orders.v1.Orders. */
  readonly action: string;
  /** The action's name within its service. */
  readonly rawAction: string;
  /** `waybill.orders.v1.Orders` */
  readonly service: string;
  readonly name: string;
  /** `/waybill.orders.v1.Orders/Confirm` */
  readonly path: string;
  readonly request: MessageCodec;
  readonly response: MessageCodec;
}

export interface ProtoCatalogue {
  readonly methods: readonly Method[];
  /** The method that an action is called by; undefined for actions that no proto knows. */
  methodOf(action: string): Method | undefined;
  /** The methods of a gRPC service, none for an unknown one. */
  methodsOf(service: string): Method[];
  /** The same files with their names as written, which is what server reflection has to show. */
  asWritten(): PackageDefinition;
}

type WireMethod = MethodDefinition<object, object>;

const read = new Map<string, ProtoCatalogue>();

/**
 * Every method of the .proto files below a folder, by the action that it stands for. Both sides of a call read
 * it off the same files, so neither has to be told. The files are read once a process.
 * @throws Error naming the file, message or method that cannot be bridged
 */
export function protoCatalogue(protoDir: string): ProtoCatalogue {
  const folder = resolve(protoDir);
  let catalogue = read.get(folder);
  if (!catalogue) {
    catalogue = load(folder);
    read.set(folder, catalogue);
  }
  return catalogue;
}

function load(folder: string): ProtoCatalogue {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".proto"))
    .sort();
  const includeDirs = [folder];
  const definition = loadSync(files, { includeDirs, longs: String, enums: String, defaults: true });
  const shapes = shapesOf(definition);
  const methods = Object.entries(definition).flatMap(([service, entry]) =>
    "format" in entry ? [] : Object.entries(entry).map(([name, wire]) => method(service, name, wire)),
  );
  const byAction = new Map(methods.map((each) => [each.action, each]));
  if (byAction.size < methods.length) throw new Error(`${folder}: two methods stand for the same action`);

  function method(service: string, name: string, wire: WireMethod): Method {
    if (wire.requestStream || wire.responseStream)
      throw new Error(`${service}.${name}: streams are not bridged`);
    const rawAction = lowerFirst(name);
    return {
      action: `${lowerFirst(service.slice(service.lastIndexOf(".") + 1))}.${rawAction}`,
      rawAction,
      service,
      name,
      path: wire.path,
      request: codec(service, name, wire.requestType),
      response: codec(service, name, wire.responseType),
    };
  }

  function codec(service: string, name: string, message: WireMethod["requestType"]): MessageCodec {
    const type = message.type as { name: string };
    const found = fullName(definition, service, type);
    if (!found) throw new Error(`${service}.${name}: which ${type.name} is meant cannot be told`);
    return messageCodec(definition, shapes, found);
  }

  let written: PackageDefinition | undefined;
  return {
    methods,
    methodOf: (action) => byAction.get(action),
    methodsOf: (service) => methods.filter((each) => each.service === service),
    asWritten() {
      written ??= loadSync(files, { includeDirs, keepCase: true });
      return written;
    },
  };
}

/** A method's definition holds the descriptors of its messages, but not the packages that they are from. */
function fullName(
  definition: PackageDefinition,
  service: string,
  type: { name: string },
): string | undefined {
  const descriptor = JSON.stringify(type);
  const alike = Object.keys(definition).filter((name) => {
    const found = definition[name] as { type?: { name: string } };
    return found.type?.name === type.name && JSON.stringify(found.type) === descriptor;
  });
  const near = resolveName(definition, service, type.name);
  if (near && alike.includes(near)) return near;
  return alike.length === 1 ? alike[0] : undefined;
}

function lowerFirst(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
