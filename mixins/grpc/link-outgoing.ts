import { type Frame, toBatch } from "./link-frames.ts";

/** A batch is closed when it has so many bytes; one frame alone may have more. */
const BATCH_BYTES = 256 * 1024;
/** About what a frame has beside its message. */
const FRAME_BYTES = 512;

interface Stream {
  write(bytes: Buffer): boolean;
  once(event: "drain", heard: () => void): unknown;
  end(): unknown;
}

/** What one side of a link has to say. */
export interface Outgoing {
  /** From now on it is written, sealed by this. */
  begin(seal: (bytes: Buffer) => Buffer): void;
  /** Says it, together with whatever else is said in this turn of the event loop. @param bytes of its message */
  add(frame: Frame, bytes: number): void;
  /** Takes back what is said of a call. @returns whether it was still here */
  withdraw(id: number): boolean;
  /** How much is here because the other side does not read. */
  waitingBytes(): number;
  /** Nothing more will be said: the stream ends after the last of it. */
  end(): void;
  /** The stream is gone: whatever there is to say, nobody hears it. */
  cut(): void;
}

/**
 * A message of gRPC costs the same for one call as for fifty, so what is said in one turn goes as one.
 * @param onRoom called whenever everything has been written after some had to wait
 */
export function outgoing(stream: Stream, onRoom: () => void = () => {}): Outgoing {
  let waiting: { frame: Frame; bytes: number }[] = [];
  let waitingBytes = 0;
  let seal: ((bytes: Buffer) => Buffer) | undefined;
  let blocked = true;
  let scheduled = false;
  let ending = false;
  let gone = false;

  function schedule(): void {
    if (scheduled || blocked) return;
    scheduled = true;
    setImmediate(flush);
  }

  function flush(): void {
    scheduled = false;
    while (waiting.length > 0 && !blocked) {
      if (stream.write((seal as (bytes: Buffer) => Buffer)(toBatch(nextBatch())))) continue;
      blocked = true;
      stream.once("drain", unblock);
    }
    if (ending && !gone && waiting.length === 0) stream.end();
  }

  function nextBatch(): Frame[] {
    let bytes = 0;
    let count = 0;
    for (const each of waiting) {
      if (count > 0 && bytes + each.bytes > BATCH_BYTES) break;
      bytes += each.bytes;
      count += 1;
    }
    const batch = waiting.slice(0, count).map(({ frame }) => frame);
    waiting = count === waiting.length ? [] : waiting.slice(count);
    waitingBytes -= bytes;
    return batch;
  }

  function unblock(): void {
    blocked = false;
    flush();
    if (!blocked) onRoom();
  }

  return {
    begin(by) {
      seal = by;
      unblock();
    },
    add(frame, bytes) {
      if (gone) return;
      waiting.push({ frame, bytes: bytes + FRAME_BYTES });
      waitingBytes += bytes + FRAME_BYTES;
      schedule();
    },
    withdraw(id) {
      const kept = waiting.filter(({ frame }) => frame.id !== id);
      if (kept.length === waiting.length) return false;
      waiting = kept;
      waitingBytes = kept.reduce((sum, { bytes }) => sum + bytes, 0);
      return true;
    },
    waitingBytes: () => waitingBytes,
    end() {
      if (ending || gone) return;
      ending = true;
      if (waiting.length === 0) stream.end();
    },
    cut() {
      gone = true;
      waiting = [];
      waitingBytes = 0;
    },
  };
}
