import { resolve } from "node:path";
import type { Client } from "@grpc/grpc-js";
import {
  loadFileDescriptorSetFromBuffer,
  loadSync,
  type MethodDefinition,
  type PackageDefinition,
} from "@grpc/proto-loader";

const PROTOS = resolve(import.meta.dirname, "../../node_modules/@grpc/reflection/build/proto");

export interface Reflected {
  list_services_response?: { service: { name: string }[] };
  file_descriptor_response?: { file_descriptor_proto: Buffer[] };
}

/** A server's description of itself, by gRPC's reflection service. */
export async function reflect(client: Client, request: object): Promise<Reflected[]> {
  const definition = loadSync("grpc/reflection/v1/reflection.proto", {
    keepCase: true,
    includeDirs: [PROTOS],
  });
  const service = definition["grpc.reflection.v1.ServerReflection"] as Record<string, unknown>;
  const method = service.ServerReflectionInfo as MethodDefinition<object, object>;
  const { path, requestSerialize, responseDeserialize } = method;
  const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
  const answers: Reflected[] = [];
  const ended = new Promise((done, failed) => stream.on("end", done).on("error", failed));
  stream.on("data", (answer: Reflected) => answers.push(answer));
  stream.end(request);
  await ended;
  return answers;
}

/** The definition that a client can build from the descriptors of reflection alone. */
export function definitionOf(files: readonly Buffer[]): PackageDefinition {
  return loadFileDescriptorSetFromBuffer(Buffer.concat(files.map(asFileOfSet)), { longs: Number });
}

/** One file of a FileDescriptorSet: field 1, its length as a varint, its bytes. */
function asFileOfSet(file: Buffer): Buffer {
  const length: number[] = [];
  let rest = file.length;
  for (; rest > 127; rest >>>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.from([0x0a, ...length, rest]), file]);
}
