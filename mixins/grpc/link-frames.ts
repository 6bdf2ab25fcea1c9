import { join } from "node:path";
import { loadSync, type MessageTypeDefinition } from "@grpc/proto-loader";

/** One of what two nodes say to each other; which of the fields beside `id` is there, says what it is. */
export interface Frame {
  id: number;
  call?: CallFrame;
  answer?: Buffer;
  refusal?: RefusalFrame;
  cancel?: boolean;
}

export interface CallFrame {
  path: string;
  timeoutMs: number;
  facts: Record<string, string>;
  request: Buffer;
}

export interface RefusalFrame {
  code: number;
  details: string;
  error: Buffer;
}

interface Batch {
  frames: Frame[];
}

const LOADED = loadSync(join(import.meta.dirname, "link.proto"), {
  ...{ defaults: true, arrays: true, objects: true, oneofs: false },
});
const { serialize, deserialize } = LOADED["waybill.bridge.v1.Batch"] as MessageTypeDefinition<Batch, Batch>;

export function toBatch(frames: Frame[]): Buffer {
  return serialize({ frames });
}

/** @returns undefined for bytes that are no batch */
export function fromBatch(bytes: Buffer): Frame[] | undefined {
  try {
    return deserialize(bytes).frames;
  } catch {
    return undefined;
  }
}
