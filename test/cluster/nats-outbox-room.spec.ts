import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { connect, type JetStreamManager, type NatsConnection } from "nats";
import { type NatsServer, startNats } from "../servers/nats.ts";
import { eventually } from "../support/eventually.ts";
import { type MessagingBench, messagingBench, userDeleted } from "../support/messaging.ts";
import { carriers } from "../support/nats.ts";

const CAUGHT_UP_MS = 30_000;
const TEST_TIMEOUT_MS = 90_000;

let server: NatsServer;
let bench: MessagingBench;
let net: ReturnType<typeof carriers>;
beforeEach(async () => {
  [server, bench] = await Promise.all([startNats(), messagingBench()]);
  net = carriers(server);
});
afterEach(async () => {
  await bench.stop();
  await net.close();
  await server.remove();
});

async function managed(work: (manager: JetStreamManager) => Promise<unknown>): Promise<void> {
  const connection: NatsConnection = await connect({ servers: server.url });
  await work(await connection.jetstreamManager());
  await connection.close();
}

describe("messages over JetStream", () => {
  it(
    "said after a loss, have room beside what is handed over again, which waits for more",
    async () => {
      const first = await bench.sender(net.connect());
      const say = (sender: typeof first, count: number) =>
        sender.db.transact((trx) =>
          sender.out.add(
            trx,
            Array.from({ length: count }, () => userDeleted()),
          ),
        );
      const unsent = async () => (await bench.outboxRows()).filter(({ sentAt }) => !sentAt);
      await say(first, 400);
      await eventually(async () => expect(await unsent()).toEqual([]));
      await eventually(async () => {
        const [noted] = await bench.marks();
        expect(JSON.parse(noted?.mark ?? "{}").lastSeq).toBe(400);
      });
      await first.broker.stop();
      // As if said over four days, of which the stream keeps three.
      await bench.db.db.raw(
        `UPDATE outbox SET sent_at = sent_at - place * interval '15 minutes'
         FROM (SELECT id, row_number() OVER (ORDER BY id DESC) AS place FROM outbox) AS placed
         WHERE placed.id = outbox.id`,
      );
      await managed((manager) => manager.streams.delete(net.stream));

      const maxBytes = 60_000;
      const tight = net.connect({ limits: { maxBytes } });
      let looks = 0;
      const sender = await bench.sender(
        {
          ...tight,
          async hasRoomToRepeat() {
            const has = await tight.hasRoomToRepeat?.();
            if (!has) looks += 1;
            return has === true;
          },
        },
        { batch: 10 },
      );
      await eventually(() => expect(looks).toBeGreaterThan(0), { timeoutMs: CAUGHT_UP_MS });
      await say(sender, 20);
      await eventually(async () => expect(await unsent()).toEqual([]));
      expect((await bench.outboxRows()).filter(({ error, attempts }) => error || attempts > 0)).toEqual([]);
      expect((await bench.marks())[0]?.againUntil).toBeDefined();
      await managed(async (manager) => {
        expect((await manager.streams.info(net.stream)).state.bytes).toBeLessThan(0.8 * maxBytes);
        await manager.streams.update(net.stream, { max_bytes: 10_000_000 });
      });
      await eventually(async () => expect((await bench.marks())[0]?.againUntil).toBeUndefined(), {
        timeoutMs: CAUGHT_UP_MS,
      });
      await managed(async (manager) => {
        const { state } = await manager.streams.info(net.stream);
        // Three days before the last hand-over, which was fifteen minutes ago, and what is fresh.
        expect(state.messages).toBeGreaterThanOrEqual(72 * 4 + 20);
        expect(state.messages).toBeLessThan(72 * 4 + 25);
      });
    },
    TEST_TIMEOUT_MS,
  );
});
