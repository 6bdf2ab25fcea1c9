import { join } from "node:path";
import { loadSync, type MessageTypeDefinition } from "@grpc/proto-loader";

/** One message about one call; exactly one of the fields beside `id` is present. */
export interface Frame {
  id: number;
  call?: CallFrame;
  response?: Buffer;
  status?: StatusFrame;
  cancel?: boolean;
}

export interface CallFrame {
  path: string;
  timeoutMs: number;
  metadata: Record<string, string>;
  request: Buffer;
}

export interface StatusFrame {
  code: number;
  details: string;
  error: Buffer;
}

interface Batch {
  frames: Frame[];
}

/** A batch is closed at this size; a single frame may be larger. */
const BATCH_BYTES = 256 * 1024;
/** Approximate size of a frame beside its message. */
const FRAME_BYTES = 512;

const PROTO = loadSync(join(import.meta.dirname, "peer-stream.proto"), {
  ...{ defaults: true, arrays: true, objects: true, oneofs: false },
});
const { serialize, deserialize } = PROTO["moleculer.grpc.v1.Batch"] as MessageTypeDefinition<Batch, Batch>;

export function encodeBatch(frames: Frame[]): Buffer {
  return serialize({ frames });
}

/** @returns undefined for bytes that are no batch */
export function decodeBatch(bytes: Buffer): Frame[] | undefined {
  try {
    return deserialize(bytes).frames;
  } catch {
    return undefined;
  }
}

interface Stream {
  write(bytes: Buffer): boolean;
  once(event: "drain", listener: () => void): unknown;
  end(): unknown;
}

/** Writes the frames of one side of a peer stream. */
export interface FrameWriter {
  /** Writes a frame, in one batch with all others of this turn of the event loop. @param bytes size of its message */
  write(frame: Frame, bytes: number): void;
  /** Removes the frames of a call. @returns whether they were still pending */
  remove(id: number): boolean;
  /** Size of the frames that wait because the other side does not read. */
  pendingBytes(): number;
  /** Ends the stream after the last pending frame. */
  end(): void;
  /** Drops all pending and future frames, because the stream is closed. */
  discard(): void;
}

/**
 * A message of gRPC costs the same for one call as for fifty, so all frames of one turn go as one message.
 * @param onDrain called when all frames have been written after some had to wait
 */
export function frameWriter(stream: Stream, onDrain: () => void = () => {}): FrameWriter {
  let pending: { frame: Frame; bytes: number }[] = [];
  let pendingBytes = 0;
  let isBlocked = false;
  let isScheduled = false;
  let isEnding = false;
  let isClosed = false;

  function schedule(): void {
    if (isScheduled || isBlocked) return;
    isScheduled = true;
    setImmediate(flush);
  }

  function flush(): void {
    isScheduled = false;
    while (pending.length > 0 && !isBlocked) {
      if (stream.write(encodeBatch(nextBatch()))) continue;
      isBlocked = true;
      stream.once("drain", unblock);
    }
    if (isEnding && !isClosed && pending.length === 0) stream.end();
  }

  function nextBatch(): Frame[] {
    let bytes = 0;
    let count = 0;
    for (const each of pending) {
      if (count > 0 && bytes + each.bytes > BATCH_BYTES) break;
      bytes += each.bytes;
      count += 1;
    }
    const batch = pending.slice(0, count).map(({ frame }) => frame);
    pending = count === pending.length ? [] : pending.slice(count);
    pendingBytes -= bytes;
    return batch;
  }

  function unblock(): void {
    isBlocked = false;
    flush();
    if (!isBlocked) onDrain();
  }

  return {
    write(frame, bytes) {
      if (isClosed) return;
      pending.push({ frame, bytes: bytes + FRAME_BYTES });
      pendingBytes += bytes + FRAME_BYTES;
      schedule();
    },
    remove(id) {
      const kept = pending.filter(({ frame }) => frame.id !== id);
      if (kept.length === pending.length) return false;
      pending = kept;
      pendingBytes = kept.reduce((sum, { bytes }) => sum + bytes, 0);
      return true;
    },
    pendingBytes: () => pendingBytes,
    end() {
      if (isEnding || isClosed) return;
      isEnding = true;
      if (pending.length === 0) stream.end();
    },
    discard() {
      isClosed = true;
      pending = [];
      pendingBytes = 0;
    },
  };
}
