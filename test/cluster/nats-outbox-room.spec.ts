import { describe, expect, it } from "@jest/globals";
import { eventually } from "../support/eventually.ts";
import { userDeleted } from "../support/messaging.ts";
import { natsStage } from "../support/nats-stage.ts";

const CAUGHT_UP_MS = 30_000;
const TEST_TIMEOUT_MS = 90_000;

const nats = natsStage();

describe("messages over JetStream", () => {
  it(
    "sent after a loss, have room beside repeated messages, which wait",
    async () => {
      const first = await nats.bench.sender(nats.net.connect());
      const say = (sender: typeof first, count: number) =>
        sender.db.transact((trx) =>
          sender.out.add(
            trx,
            Array.from({ length: count }, () => userDeleted()),
          ),
        );
      const unsent = async () => (await nats.bench.outboxRows()).filter(({ sentAt }) => !sentAt);
      await say(first, 400);
      await eventually(async () => expect(await unsent()).toEqual([]));
      await eventually(async () => {
        const [noted] = await nats.bench.marks();
        expect(JSON.parse(noted?.mark ?? "{}").lastSeq).toBe(400);
      });
      await first.broker.stop();
      // As if said over four days, of which the stream keeps three.
      await nats.bench.db.db.query(
        `UPDATE outbox SET sent_at = sent_at - place * interval '15 minutes'
         FROM (SELECT id, row_number() OVER (ORDER BY id DESC) AS place FROM outbox) AS placed
         WHERE placed.id = outbox.id`,
      );
      await nats.managed((manager) => manager.streams.delete(nats.net.stream));

      const maxBytes = 60_000;
      const tight = nats.net.connect({ limits: { maxBytes } });
      let looks = 0;
      const sender = await nats.bench.sender(
        {
          ...tight,
          async hasReplayCapacity() {
            const has = await tight.hasReplayCapacity?.();
            if (!has) looks += 1;
            return has === true;
          },
        },
        { batch: 10 },
      );
      await eventually(() => expect(looks).toBeGreaterThan(0), { timeoutMs: CAUGHT_UP_MS });
      await say(sender, 20);
      await eventually(async () => expect(await unsent()).toEqual([]));
      expect((await nats.bench.outboxRows()).filter(({ error, attempts }) => error || attempts > 0)).toEqual(
        [],
      );
      expect((await nats.bench.marks())[0]?.againUntil).toBeDefined();
      await nats.managed(async (manager) => {
        expect((await manager.streams.info(nats.net.stream)).state.bytes).toBeLessThan(0.8 * maxBytes);
        await manager.streams.update(nats.net.stream, { max_bytes: 10_000_000 });
      });
      await eventually(async () => expect((await nats.bench.marks())[0]?.againUntil).toBeUndefined(), {
        timeoutMs: CAUGHT_UP_MS,
      });
      await nats.managed(async (manager) => {
        const { state } = await manager.streams.info(nats.net.stream);
        // Three days before the last hand-over, which was fifteen minutes ago, and what is fresh.
        expect(state.messages).toBeGreaterThanOrEqual(72 * 4 + 20);
        expect(state.messages).toBeLessThan(72 * 4 + 25);
      });
    },
    TEST_TIMEOUT_MS,
  );
});
