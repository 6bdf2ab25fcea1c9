import { EventEmitter } from "node:events";
import { beforeEach, describe, expect, it } from "@jest/globals";
import {
  decodeBatch,
  type Frame,
  type FrameWriter,
  frameWriter,
} from "../../packages/moleculer-grpc/src/frame-writer.ts";

const HALF_A_BATCH = 128 * 1024;

/** A stream that says whether it takes more, as the test wants it. */
class Sink extends EventEmitter {
  readonly batches: Frame[][] = [];
  takesMore = true;
  ended = 0;

  write(bytes: Buffer): boolean {
    this.batches.push(decodeBatch(bytes) as Frame[]);
    return this.takesMore;
  }

  end(): void {
    this.ended += 1;
  }

  ids(): number[][] {
    return this.batches.map((frames) => frames.map(({ id }) => id));
  }
}

const turn = () => new Promise((done) => setImmediate(done));

let sink: Sink;
let drains: number;
let writer: FrameWriter;

beforeEach(() => {
  sink = new Sink();
  drains = 0;
  writer = frameWriter(sink, () => {
    drains += 1;
  });
});

function write(...ids: number[]): void {
  for (const id of ids) writer.write({ id, cancel: true }, 0);
}

describe("frames of a peer stream", () => {
  it("written in one turn of the event loop, are one message, in order", async () => {
    write(1, 2);
    await Promise.resolve().then(() => write(3));
    expect(sink.batches).toEqual([]);
    await turn();
    write(4);
    await turn();
    expect(sink.ids()).toEqual([[1, 2, 3], [4]]);
  });

  it("of many bytes, are several messages, and one larger than a batch is alone", async () => {
    const respond = (id: number, bytes: number) => writer.write({ id, response: Buffer.alloc(bytes) }, bytes);
    respond(1, HALF_A_BATCH - 1_000);
    respond(2, HALF_A_BATCH - 1_000);
    respond(3, 1_000);
    respond(4, 4 * HALF_A_BATCH);
    respond(5, 0);
    await turn();
    expect(sink.ids()).toEqual([[1, 2], [3], [4], [5]]);
    expect(sink.batches[2]?.[0]?.response).toHaveLength(4 * HALF_A_BATCH);
  });

  it("written while the other side does not read, wait, are counted, and continue on drain", async () => {
    const before = drains;
    sink.takesMore = false;
    write(1);
    await turn();
    write(2, 3);
    await turn();
    expect(sink.ids()).toEqual([[1]]);
    expect(writer.pendingBytes()).toBeGreaterThan(0);
    expect(drains).toBe(before);
    sink.takesMore = true;
    sink.emit("drain");
    expect(sink.ids()).toEqual([[1], [2, 3]]);
    expect(writer.pendingBytes()).toBe(0);
    expect(drains).toBe(before + 1);
  });

  it("can be removed while they wait", async () => {
    write(1, 2);
    expect(writer.remove(1)).toBe(true);
    await turn();
    expect(writer.remove(2)).toBe(false);
    expect(sink.ids()).toEqual([[2]]);
    expect(writer.pendingBytes()).toBe(0);
  });

  it("written before the end, are sent; the stream ends after them, once", async () => {
    write(1);
    writer.end();
    writer.end();
    expect(sink.ended).toBe(0);
    await turn();
    expect(sink.ids()).toEqual([[1]]);
    expect(sink.ended).toBe(1);
  });

  it("written to a closed stream, are dropped, and the stream is not touched", async () => {
    write(1);
    writer.discard();
    write(2);
    writer.end();
    await turn();
    expect(sink.batches).toEqual([]);
    expect(sink.ended).toBe(0);
    expect(writer.pendingBytes()).toBe(0);
  });
});
