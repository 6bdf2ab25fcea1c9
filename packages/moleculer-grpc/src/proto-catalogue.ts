import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { loadSync } from "@grpc/proto-loader";
import { filesOf, type ServiceDescriptor, serializeFile } from "./descriptors.ts";
import { type MessageCodec, messageCodec } from "./message-codec.ts";
import { shapesOf } from "./message-shape.ts";

export interface Method {
  /** `orders.confirm` for the method Confirm of shop.orders.v1.Orders. */
  readonly action: string;
  /** The action's name within its service. */
  readonly rawAction: string;
  /** `shop.orders.v1.Orders` */
  readonly service: string;
  readonly name: string;
  /** `/shop.orders.v1.Orders/Confirm` */
  readonly path: string;
  readonly request: MessageCodec;
  readonly response: MessageCodec;
}

export interface ProtoCatalogue {
  readonly methods: readonly Method[];
  /** The method of an action; undefined for an action that no proto file defines. */
  methodOf(action: string): Method | undefined;
  /** The methods of a gRPC service; empty for an unknown one. */
  methodsOf(service: string): Method[];
  /** The descriptors for server reflection, with field names as in the proto files. */
  reflected(): Buffer[];
}

type MethodDescriptor = NonNullable<ServiceDescriptor["method"]>[number];

const loaded = new Map<string, ProtoCatalogue>();

/**
 * All methods of the .proto files below a folder, by action name. Both sides of a call read the same files, so no
 * other configuration is needed. The files are read once per process.
 * @throws Error naming the file, message or method that is not supported
 */
export function protoCatalogue(protoDir: string): ProtoCatalogue {
  const folder = resolve(protoDir);
  let catalogue = loaded.get(folder);
  if (!catalogue) {
    catalogue = load(folder);
    loaded.set(folder, catalogue);
  }
  return catalogue;
}

function load(folder: string): ProtoCatalogue {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".proto"))
    .sort();
  const includeDirs = [folder];
  const definition = loadSync(files, { includeDirs, longs: String, enums: String, defaults: true });
  const descriptors = filesOf(definition);
  const shapes = shapesOf(descriptors);
  const methods = descriptors.flatMap((file) =>
    (file.service ?? []).flatMap(({ name, method = [] }) =>
      method.map((each) => methodOf(`${file.package}.${name}`, each)),
    ),
  );
  const byAction = new Map(methods.map((each) => [each.action, each]));
  if (byAction.size < methods.length) throw new Error(`${folder}: two methods have the same action`);

  function methodOf(service: string, method: MethodDescriptor): Method {
    const { name, inputType, outputType, clientStreaming, serverStreaming } = method;
    const path = `/${service}/${name}`;
    if (clientStreaming || serverStreaming) throw new Error(`${path}: streaming methods are not supported`);
    const rawAction = lowerFirst(name);
    return {
      action: `${lowerFirst(service.slice(service.lastIndexOf(".") + 1))}.${rawAction}`,
      rawAction,
      service,
      name,
      path,
      request: messageCodec(definition, shapes, inputType.slice(1)),
      response: messageCodec(definition, shapes, outputType.slice(1)),
    };
  }

  let reflected: Buffer[] | undefined;
  return {
    methods,
    methodOf: (action) => byAction.get(action),
    methodsOf: (service) => methods.filter((each) => each.service === service),
    reflected() {
      reflected ??= filesOf(loadSync(files, { includeDirs, keepCase: true })).map(serializeFile);
      return reflected;
    },
  };
}

function lowerFirst(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
