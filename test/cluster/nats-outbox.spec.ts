import { describe, expect, it } from "@jest/globals";
import type { JetStreamManager } from "nats";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { enter, userDeleted } from "../support/messaging.ts";
import { natsStage } from "../support/nats-stage.ts";

/** Within this time all messages must have arrived again, as the specification demands. */
const CAUGHT_UP_MS = 30_000;
const TEST_TIMEOUT_MS = 90_000;

const nats = natsStage();

/** A sender and a receiver in "processes" of their own. */
async function stage() {
  const messageBus = nats.net.connect();
  let refusals = 0;
  let look = Promise.withResolvers<void>();
  const sender = await nats.bench.sender({
    ...messageBus,
    async ready() {
      look.resolve();
      look = Promise.withResolvers();
      const isReady = await messageBus.ready();
      if (!isReady) refusals += 1;
      return isReady;
    },
  });
  const receiver = await nats.bench.receiver(nats.net.connect(), {
    "user.deleted": { inTransaction: (trx, message) => enter(trx, message) },
  });
  const said: string[] = [];
  const say = async (count: number) => {
    const subjects = Array.from({ length: count }, () => newId());
    await sender.db.transact((trx) =>
      sender.out.add(
        trx,
        subjects.map((subject) => userDeleted(subject)),
      ),
    );
    said.push(...subjects);
  };
  /** Says something each time that the sender looks whether its message bus is there, until it is stopped. */
  const sayOn = () => {
    let stopped = false;
    const saying = (async () => {
      while (!stopped) {
        const looking = look.promise;
        await say(3);
        await looking;
      }
    })();
    return async () => {
      stopped = true;
      await saying;
    };
  };
  const effects = async () => new Set((await nats.bench.ledger()).map(({ subject }) => subject));
  const arrived = () =>
    eventually(
      async () => {
        const found = await nats.bench.ledger();
        const subjects = new Set(found.map(({ subject }) => subject));
        expect({
          missing: said.filter((one) => !subjects.has(one)).length,
          count: found.length,
        }).toEqual({
          missing: 0,
          count: said.length,
        });
      },
      { timeoutMs: CAUGHT_UP_MS },
    );
  return {
    ...{ sender, receiver, said, say, sayOn, arrived },
    /** How often the sender has found that its message bus takes nothing. */
    refusals: () => refusals,
    /** Waits until something has arrived that is said from now on. */
    async arriving() {
      const before = said.length;
      await eventually(async () => {
        const found = await effects();
        expect(said.slice(before).filter((one) => found.has(one))).not.toEqual([]);
      });
    },
    /** Waits until so much more has been said. */
    async saidMore(count: number) {
      const before = said.length;
      await eventually(() => expect(said.length - before).toBeGreaterThanOrEqual(count));
    },
  };
}

describe("messages over JetStream", () => {
  it(
    "of a server that is killed by SIGKILL and returns, are neither lost nor duplicated",
    async () => {
      const { sayOn, arriving, saidMore, arrived } = await stage();
      const stop = sayOn();
      for (let kills = 0; kills < 5; kills += 1) {
        await arriving();
        await nats.server.kill();
        await saidMore(kills * 50);
        await nats.server.start();
      }
      await stop();
      await arrived();
    },
    TEST_TIMEOUT_MS,
  );

  it(
    "of a server that loses its store under load, arrive within thirty seconds",
    async () => {
      const { say, sayOn, saidMore, arrived, receiver, said } = await stage();
      await say(200);
      await arrived();
      // Messages that are in the stream and in no inbox yet are lost with the store.
      await receiver.broker.stop();
      await say(200);
      await eventually(async () => {
        expect((await nats.bench.outboxRows()).filter(({ sentAt }) => !sentAt)).toEqual([]);
      });
      const stop = sayOn();
      await eventually(async () => {
        expect((await nats.bench.outboxRows()).filter(({ sentAt }) => sentAt).length).toBeGreaterThan(400);
      });
      await nats.server.kill();
      nats.server.deleteStore();
      await nats.server.start();
      await saidMore(50);
      await stop();
      await nats.bench.receiver(nats.net.connect(), {
        "user.deleted": { inTransaction: (trx, message) => enter(trx, message) },
      });
      const startedMs = performance.now();
      await arrived();
      expect(performance.now() - startedMs).toBeLessThan(CAUGHT_UP_MS);
      expect(said.length).toBeGreaterThan(400);
      expect(nats.net.reports.join("\n")).toContain("the stream was created again");
    },
    TEST_TIMEOUT_MS,
  );

  it.each<[string, string, (manager: JetStreamManager) => Promise<unknown>]>([
    ["is deleted", "created again", (manager) => manager.streams.delete(nats.net.stream)],
    ["is purged", "purged", (manager) => manager.streams.purge(nats.net.stream)],
    [
      "loses one message of its middle",
      "deleted",
      (manager) => manager.streams.deleteMessage(nats.net.stream, 150),
    ],
  ])(
    "of a stream that %s while nobody receives, arrive all the same",
    async (_what, why, harm) => {
      const { say, arrived, receiver } = await stage();
      await say(100);
      await arrived();
      await receiver.broker.stop();
      await say(100);
      await eventually(async () => {
        expect((await nats.bench.outboxRows()).filter(({ sentAt }) => !sentAt)).toEqual([]);
      });
      // The outbox has noted the stream as it is now, as it does every few seconds.
      await eventually(async () => {
        const [noted] = await nats.bench.marks();
        expect(JSON.parse(noted?.mark ?? "{}").lastSeq).toBeGreaterThanOrEqual(200);
      });
      await nats.managed(harm);
      await nats.bench.receiver(nats.net.connect(), {
        "user.deleted": { inTransaction: (trx, message) => enter(trx, message) },
      });
      await arrived();
      expect(nats.net.reports.join("\n")).toContain(why);
    },
    TEST_TIMEOUT_MS,
  );

  it(
    "sent without a server, wait in the outbox with the reason, and refusals take no time",
    async () => {
      const { say, arrived, refusals } = await stage();
      await say(1);
      await arrived();
      await nats.server.kill();
      const startedMs = performance.now();
      const refused = nats.net.connect().publish([]);
      await expect(refused).rejects.toMatchObject({ kind: "unreachable" });
      expect(performance.now() - startedMs).toBeLessThan(500);
      await say(10);
      // Looks follow each other, and one in between may be of what is handed over again: so one saw all, and is over.
      const before = refusals();
      await eventually(() => expect(refusals()).toBeGreaterThan(before + 3));
      expect((await nats.bench.outboxRows()).filter(({ sentAt }) => !sentAt)).toHaveLength(10);
      await nats.server.start();
      await arrived();
    },
    TEST_TIMEOUT_MS,
  );

  it(
    "lost while their sender was down, are published again at its start",
    async () => {
      const { say, sender, receiver, arrived } = await stage();
      await receiver.broker.stop();
      await say(20);
      await eventually(async () => {
        expect((await nats.bench.outboxRows()).filter(({ sentAt }) => !sentAt)).toEqual([]);
      });
      await sender.broker.stop();
      await nats.server.kill();
      nats.server.deleteStore();
      await nats.server.start();
      await nats.bench.receiver(nats.net.connect(), {
        "user.deleted": { inTransaction: (trx, message) => enter(trx, message) },
      });
      await nats.bench.sender(nats.net.connect());
      await arrived();
    },
    TEST_TIMEOUT_MS,
  );

  it(
    "for a full stream, are refused and wait until there is room",
    async () => {
      const tight = nats.net.connect({ limits: { maxBytes: 50_000 } });
      const sender = await nats.bench.sender(tight);
      const say = (count: number) =>
        sender.db.transact((trx) =>
          sender.out.add(
            trx,
            Array.from({ length: count }, () => userDeleted()),
          ),
        );
      await say(300);
      await eventually(async () => {
        const waiting = (await nats.bench.outboxRows()).filter(({ sentAt }) => !sentAt);
        expect(waiting.length).toBeGreaterThan(0);
        expect(waiting.some(({ error }) => error?.includes("is full"))).toBe(true);
      });
      await nats.managed((manager) => manager.streams.update(nats.net.stream, { max_bytes: 10_000_000 }));
      await eventually(async () => {
        expect((await nats.bench.outboxRows()).filter(({ sentAt }) => !sentAt)).toEqual([]);
      });
      await sender.broker.stop();
    },
    TEST_TIMEOUT_MS,
  );

  it("of two replicas that notice one loss, are published again by one of them", async () => {
    const senders = [
      await nats.bench.sender(nats.net.connect()),
      await nats.bench.sender(nats.net.connect()),
    ];
    await senders[0]?.db.transact((trx) => (senders[0] as (typeof senders)[0]).out.add(trx, [userDeleted()]));
    await eventually(async () => {
      expect((await nats.bench.outboxRows()).filter(({ sentAt }) => !sentAt)).toEqual([]);
    });
    await eventually(async () => {
      const [noted] = await nats.bench.marks();
      expect(JSON.parse(noted?.mark ?? "{}").lastSeq).toBe(1);
    });
    await nats.managed((manager) => manager.streams.delete(nats.net.stream));
    await eventually(
      () =>
        expect(nats.net.reports.filter((line) => line.includes("created again")).length).toBeGreaterThan(0),
      { timeoutMs: CAUGHT_UP_MS },
    );
    await eventually(async () => {
      const [noted] = await nats.bench.marks();
      expect(noted?.againUntil).toBeUndefined();
    });
    await nats.managed(async (manager) => {
      expect((await manager.streams.info(nats.net.stream)).state.messages).toBe(1);
    });
    expect(nats.net.reports.filter((line) => line.includes("created again"))).toHaveLength(1);
  });
});
