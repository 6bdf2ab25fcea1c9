import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { replayState as keeperOf, replay } from "../../mixins/outbox/replay.ts";
import type { ReplayState } from "../../providers/message-bus/port.ts";
import { eventually } from "../support/eventually.ts";
import {
  type MessagingBench,
  messagingBench,
  recordingMessageBus,
  userDeleted,
} from "../support/messaging.ts";

const MINUTE_MS = 60_000;

let bench: MessagingBench;
beforeEach(async () => {
  bench = await messagingBench();
});
afterEach(() => bench.stop());

/** A message bus that may ask for everything again, and an outbox whose messages it has all taken. */
async function handedOver(count: number, batch = 3) {
  const recording = recordingMessageBus();
  const keepers: ReplayState[] = [];
  const unwatched = Promise.withResolvers<void>();
  const messageBus = {
    ...recording.messageBus,
    watch: async (keeper: ReplayState) => {
      keepers.push(keeper);
      return async () => unwatched.resolve();
    },
  };
  const sender = await bench.sender(messageBus, { batch });
  await sender.db.transact((trx) =>
    sender.out.add(
      trx,
      Array.from({ length: count }, () => userDeleted(newId())),
    ),
  );
  await eventually(async () => {
    expect((await bench.outboxRows()).filter(({ sentAt }) => sentAt)).toHaveLength(count);
  });
  const sent = (await bench.outboxRows()).map(({ id }) => id);
  recording.taken.length = 0;
  const keeper = keepers[0] as ReplayState;
  const over = () => eventually(async () => expect((await bench.marks())[0]?.againUntil).toBeUndefined());
  return { ...recording, keeper, sender, sent, messageBus, over, unwatched: unwatched.promise };
}

async function sentHoursAgo(ids: readonly string[], hours: (index: number) => number) {
  for (const [index, id] of ids.entries()) {
    await bench.db.db.query("UPDATE outbox SET sent_at = now() - ? * interval '1 hour' WHERE id = ?", [
      hours(index),
      id,
    ]);
  }
}

describe("an outbox with a request to publish messages again", () => {
  it("publishes all stored messages, each once, the newest first", async () => {
    const { keeper, sent, ids, over } = await handedOver(10);
    for (const [index, id] of sent.entries()) {
      await bench.db.db.query("UPDATE outbox SET sent_at = now() - ? * interval '1 hour' WHERE id = ?", [
        10 - Math.floor(index / 4), // several share their time, across the edges of batches
        id,
      ]);
    }
    expect(await keeper.checkpoint()).toBeUndefined();
    expect(await keeper.saveCheckpoint("one", undefined, Number.POSITIVE_INFINITY)).toBe(true);
    await eventually(() => expect(ids()).toHaveLength(10));
    await over();
    expect(ids()).toEqual([...sent].reverse());
    expect(await keeper.checkpoint()).toBe("one");
  });

  it("publishes those of ten minutes before its last message, however old that is", async () => {
    const { keeper, sent, ids, over } = await handedOver(4);
    for (const [index, id] of sent.entries()) {
      await bench.db.db.query(
        "UPDATE outbox SET sent_at = now() - ? * interval '1 millisecond' WHERE id = ?",
        [
          60 * MINUTE_MS + (3 - index) * 4 * MINUTE_MS, // 72, 68, 64 and 60 minutes ago
          id,
        ],
      );
    }
    expect(await keeper.saveCheckpoint("one", undefined, "recent")).toBe(true);
    await eventually(() => expect(ids()).toHaveLength(3));
    await over();
    expect(ids()).toEqual(sent.slice(1).reverse());
  });

  it("of so many hours, leaves out older ones", async () => {
    const { keeper, sent, ids, over } = await handedOver(4);
    await sentHoursAgo(sent, (index) => 8 - index * 2); // 8, 6, 4 and 2 hours ago
    expect(await keeper.saveCheckpoint("one", undefined, 5 * 60 * MINUTE_MS)).toBe(true);
    await eventually(() => expect(ids()).toHaveLength(3));
    await over();
    expect(ids()).toEqual(sent.slice(1).reverse());
  });

  it("while the message bus has no room to spare, publishes those of the last minutes only, logs it, and continues when it has", async () => {
    const { sent, sender, ids, taken, messageBus, over } = await handedOver(9);
    await sender.broker.stop();
    await sentHoursAgo(sent, (index) => (index < 5 ? 8 - index : 0)); // the last four just now
    expect(
      await keeperOf(
        () => bench.db.db,
        () => undefined,
      ).saveCheckpoint("one", undefined, 24 * 60 * MINUTE_MS),
    ).toBe(true);
    const lines: string[] = [];
    const logger = { ...sender.broker.logger, warn: (...text: unknown[]) => void lines.push(text.join(" ")) };
    let room = false;
    const pass = replay({
      ...{ db: () => bench.db.db, batch: 2, logger },
      messageBus: { ...messageBus, hasReplayCapacity: async () => room },
    });
    await pass();
    await pass();
    expect(ids()).toEqual(sent.slice(5).reverse());
    expect(lines).toEqual([expect.stringContaining("no room to spare")]);
    taken.length = 0;
    room = true;
    await pass();
    await over();
    expect(ids()).toEqual(sent.slice(0, 5).reverse());
  });

  it("of the last minutes, does not wait for room to spare", async () => {
    const { sent, sender, ids, messageBus, over } = await handedOver(4);
    await sender.broker.stop();
    await sentHoursAgo(sent, () => 2);
    expect(
      await keeperOf(
        () => bench.db.db,
        () => undefined,
      ).saveCheckpoint("one", undefined, "recent"),
    ).toBe(true);
    const pass = replay({
      ...{ db: () => bench.db.db, batch: 2, logger: sender.broker.logger },
      messageBus: { ...messageBus, hasReplayCapacity: async () => false },
    });
    await pass();
    await over();
    expect(ids()).toEqual([...sent].reverse());
  });

  it("by two replicas with the same checkpoint, accepts the first", async () => {
    const { keeper, ids, over } = await handedOver(2);
    expect(await keeper.saveCheckpoint("one", undefined)).toBe(true);
    expect(await keeper.saveCheckpoint("two", "one", Number.POSITIVE_INFINITY)).toBe(true);
    expect(await keeper.saveCheckpoint("two", "one", Number.POSITIVE_INFINITY)).toBe(false);
    expect(await keeper.saveCheckpoint("three", undefined, Number.POSITIVE_INFINITY)).toBe(false);
    await eventually(() => expect(ids()).toHaveLength(2));
    await over();
    expect(await keeper.checkpoint()).toBe("two");
  });

  it("is stored, and not restarted by a checkpoint without a request", async () => {
    const { keeper, ids } = await handedOver(2);
    expect(await keeper.saveCheckpoint("one", undefined)).toBe(true);
    expect(await keeper.saveCheckpoint("two", "one")).toBe(true);
    expect((await bench.marks())[0]?.againUntil).toBeUndefined();
    expect(ids()).toEqual([]);
  });

  it("after a stop in between, continues there at the next start", async () => {
    const { keeper, sent, sender, messageBus, state, ids, taken, over } = await handedOver(9);
    state.refuses = () => taken.length >= 1; // the first batch is taken, then the message bus refuses
    expect(await keeper.saveCheckpoint("one", undefined, Number.POSITIVE_INFINITY)).toBe(true);
    await eventually(() => expect(taken).toHaveLength(1));
    await sender.broker.stop();
    state.refuses = () => false;
    await bench.sender(messageBus, { batch: 3 });
    await over();
    expect(ids().sort()).toEqual([...sent].sort()); // none left out, and none of the first batch again
  });

  it("stopped with many messages left, ends after the current batch", async () => {
    const { keeper, sender, state, taken, unwatched } = await handedOver(9);
    let stopping: Promise<void> | undefined;
    state.refuses = async () => {
      stopping ??= sender.broker.stop();
      await unwatched; // the stop has come as far as this hand-over
      await new Promise(setImmediate);
      return false;
    };
    expect(await keeper.saveCheckpoint("one", undefined, "recent")).toBe(true);
    await eventually(() => expect(stopping).toBeDefined());
    await stopping;
    expect(taken).toHaveLength(1);
    expect((await bench.marks())[0]?.againUntil).toBeDefined();
  });
});
