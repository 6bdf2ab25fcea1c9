import { EventEmitter } from "node:events";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { type Frame, fromBatch } from "../../mixins/grpc/link-frames.ts";
import { type Outgoing, outgoing } from "../../mixins/grpc/link-outgoing.ts";

const HALF_A_BATCH = 128 * 1024;

/** A stream that says whether it takes more, as the test wants it. */
class Sink extends EventEmitter {
  readonly batches: Frame[][] = [];
  takesMore = true;
  ended = 0;

  write(bytes: Buffer): boolean {
    this.batches.push(fromBatch(bytes) as Frame[]);
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
const unsealed = (bytes: Buffer) => bytes;

let sink: Sink;
let rooms: number;
let out: Outgoing;

beforeEach(() => {
  sink = new Sink();
  rooms = 0;
  out = outgoing(sink, () => {
    rooms += 1;
  });
});

function say(...ids: number[]): void {
  for (const id of ids) out.add({ id, cancel: true }, 0);
}

describe("what a link says", () => {
  it("in one turn of the event loop, goes as one message, in order", async () => {
    out.begin(unsealed);
    say(1, 2);
    await Promise.resolve().then(() => say(3));
    expect(sink.batches).toEqual([]);
    await turn();
    say(4);
    await turn();
    expect(sink.ids()).toEqual([[1, 2, 3], [4]]);
  });

  it("before the other side has answered, waits for that", async () => {
    say(1);
    await turn();
    expect(sink.batches).toEqual([]);
    expect(out.waitingBytes()).toBeGreaterThan(0);
    out.begin(unsealed);
    expect(sink.ids()).toEqual([[1]]);
    expect(out.waitingBytes()).toBe(0);
  });

  it("of many bytes, goes as several messages, and one that is too large for a batch alone", async () => {
    out.begin(unsealed);
    const answer = (id: number, bytes: number) => out.add({ id, answer: Buffer.alloc(bytes) }, bytes);
    answer(1, HALF_A_BATCH - 1_000);
    answer(2, HALF_A_BATCH - 1_000);
    answer(3, 1_000);
    answer(4, 4 * HALF_A_BATCH);
    answer(5, 0);
    await turn();
    expect(sink.ids()).toEqual([[1, 2], [3], [4], [5]]);
    expect(sink.batches[2]?.[0]?.answer).toHaveLength(4 * HALF_A_BATCH);
  });

  it("while the other side does not read, waits, is counted, and goes when there is room", async () => {
    out.begin(unsealed);
    const before = rooms;
    sink.takesMore = false;
    say(1);
    await turn();
    say(2, 3);
    await turn();
    expect(sink.ids()).toEqual([[1]]);
    expect(out.waitingBytes()).toBeGreaterThan(0);
    expect(rooms).toBe(before);
    sink.takesMore = true;
    sink.emit("drain");
    expect(sink.ids()).toEqual([[1], [2, 3]]);
    expect(out.waitingBytes()).toBe(0);
    expect(rooms).toBe(before + 1);
  });

  it("can be taken back as long as it waits", async () => {
    say(1, 2);
    expect(out.withdraw(1)).toBe(true);
    out.begin(unsealed);
    expect(out.withdraw(2)).toBe(false);
    expect(sink.ids()).toEqual([[2]]);
    expect(out.waitingBytes()).toBe(0);
  });

  it("before its end, is said; the stream ends after it, once", async () => {
    out.begin(unsealed);
    say(1);
    out.end();
    out.end();
    expect(sink.ended).toBe(0);
    await turn();
    expect(sink.ids()).toEqual([[1]]);
    expect(sink.ended).toBe(1);
  });

  it("on a stream that is gone, is dropped, and the stream is left alone", async () => {
    out.begin(unsealed);
    say(1);
    out.cut();
    say(2);
    out.end();
    await turn();
    expect(sink.batches).toEqual([]);
    expect(sink.ended).toBe(0);
    expect(out.waitingBytes()).toBe(0);
  });
});
