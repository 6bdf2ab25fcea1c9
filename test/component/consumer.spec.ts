import { describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { rows } from "../../lib/sql/database.ts";
import { consumer, consumerLimits, type Handlers } from "../../mixins/consumer/consumer.mixin.ts";
import { acceptMessages } from "../../mixins/consumer/inbox.repository.ts";
import { startWorker } from "../../mixins/consumer/worker.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { CUT, consumerStage, DAY_MS, entering, many } from "../support/consuming.ts";
import { eventually } from "../support/eventually.ts";
import { type OtherTransaction, whileLocked } from "../support/locks.ts";
import { enter, GROUP, incoming, notificationSent, userDeleted } from "../support/messaging.ts";
import { openPool } from "../support/postgres.ts";

const stage = consumerStage();
const { receiver, publish, effectsOnce } = stage;

describe("an inbox", () => {
  it("with poison among a hundred messages, has the others' effects before the poison is tried again", async () => {
    const messages = many(100);
    const poison = new Set(messages.filter((_, i) => i % 10 === 0).map(({ id }) => id));
    const backoff = { firstMs: 3_600_000, factor: 1, maxMs: 3_600_000, jitter: 0 };
    const { broker } = await receiver(
      {
        "user.deleted": {
          async inTransaction(trx, message) {
            if (poison.has(message.id)) throw new Error("poison");
            await enter(trx, message);
          },
        },
      },
      { backoff },
    );
    await publish(...messages);
    await eventually(() => effectsOnce(messages.filter(({ id }) => !poison.has(id))));
    await eventually(async () => {
      const tried = (await stage.bench.inboxRows()).filter(({ state }) => state !== "done");
      expect(tried.map(({ state, attempts, leaseToken }) => ({ state, attempts, leaseToken }))).toEqual(
        Array(poison.size).fill({ state: "waiting", attempts: 1 }),
      );
    });
    await eventually(async () => {
      await stage.bench.db.db.query(
        "UPDATE inbox SET next_at = now() WHERE state = 'waiting' AND lease_token IS NULL",
      );
      const dead = (await stage.bench.inboxRows()).filter(({ state }) => state === "dead");
      expect(new Set(dead.map(({ messageId }) => messageId))).toEqual(poison);
    });
    await broker.stop();
  });

  it("that another replica fills with the same messages, waits for the first of them and holds no other", async () => {
    const messages = many(2).map((message) => ({ ...message, state: "waiting" as const }));
    const [first, second] = messages.map(({ id }) => id).sort();
    const insert = (other: OtherTransaction, id = "") =>
      other.query(
        `INSERT INTO inbox (message_id, consumer, source, type, subject, time, dataschema, data)
         VALUES ($1, $2, 'test', 'test', 'test', now(), 'test', '{}')`,
        [id, GROUP],
      );
    const accepted = await whileLocked(
      stage.bench.database.url,
      (other) => insert(other, first),
      () =>
        acceptMessages(
          stage.bench.db.db,
          GROUP,
          messages.toSorted((a, b) => (a.id < b.id ? 1 : -1)),
          { token: newId(), leaseMs: 1_000 },
        ),
      (other) => insert(other, second),
    );
    expect(accepted.size).toBe(2);
    await stage.empty();
  });

  it("with messages that it cannot read, quarantines them with the reason and accepts the others", async () => {
    const { broker, con } = await receiver(entering);
    const sound = many(2);
    const strange = [
      { ...incoming(userDeleted()), dataschema: "urn:waybill:message:user.deleted:2" },
      { ...incoming(userDeleted()), data: { version: 1, userId: "\0" } },
      { ...incoming(userDeleted()), data: { junk: "x".repeat(300_000) } },
      incoming(userDeleted(), Date.now() - 20 * DAY_MS),
      { ...incoming(userDeleted()), time: "0000-01-01T00:00:00Z" },
      { ...incoming(userDeleted()), time: "9999-12-31T23:59:59-05:00" },
    ];
    await publish(sound[0], ...strange, sound[1]);
    await publish(...strange);
    await eventually(() => effectsOnce(sound));
    const aside = (await stage.bench.inboxRows()).filter(({ state }) => state === "quarantined");
    expect(aside.map(({ error }) => error).sort()).toEqual([
      "bad time",
      "bad time",
      "contains a NUL or a lone surrogate",
      "older than the inbox remembers",
      expect.stringContaining("too large"),
      expect.stringContaining("unknown version"),
    ]);
    expect(await con.stats()).toMatchObject({ waiting: 0, deadLetters: 6 });
    await broker.stop();
  });

  it("worked on by three replicas, has each effect once, and more than one of them worked", async () => {
    const replicas = await Promise.all(
      ["a", "b", "c"].map((name) =>
        receiver(
          { "user.deleted": { inTransaction: (trx, message) => enter(trx, message, name) } },
          { inTransactionClaims: 8 },
        ),
      ),
    );
    const messages = many(300);
    await Promise.all([publish(...messages.slice(0, 200)), publish(...messages.slice(100))]);
    await eventually(() => effectsOnce(messages));
    expect(new Set((await stage.bench.ledger()).map(({ madeBy }) => madeBy)).size).toBeGreaterThan(1);
    await Promise.all(replicas.map(({ broker }) => broker.stop()));
  });

  it("with more messages than one claim, claims again as soon as places are free, without a sweep", async () => {
    const { broker } = await receiver(entering, { sweepMs: 1_000_000, inTransactionClaims: 4 });
    const messages = many(40);
    await publish(...messages);
    await eventually(() => effectsOnce(messages));
    await broker.stop();
  });

  it.each(["inTransaction", "external"])(
    "given a message twice in a batch, calls its %s handler once",
    async (kind) => {
      const calls: string[] = [];
      const note = async ({ id }: { id: string }) => void calls.push(id);
      const handlers: Handlers = {
        "user.deleted":
          kind === "external"
            ? { external: async (message) => void (await note(message)) }
            : { batch: true, inTransaction: (_trx, message) => note(message) },
      };
      const { broker } = await receiver(handlers, { inTransactionConcurrency: 1 });
      const [first, message] = many(2);
      if (!first || !message) throw new Error("two messages are made");
      const done = (count: number) =>
        eventually(async () => {
          const states = (await stage.bench.inboxRows()).map(({ state }) => state);
          expect(states).toEqual(Array.from({ length: count }, () => "done"));
        });
      await publish(first);
      await done(1); // the first claim has ended, so the next message is claimed as it arrives
      await publish(message, message);
      await done(2);
      expect(calls).toEqual([first.id, message.id]);
      await broker.stop();
    },
  );

  it("with all its places taken, notifies other replicas of waiting messages", async () => {
    const told = Promise.withResolvers<void>();
    const db = openPool(stage.bench.database, 1);
    const worker = startWorker({
      ...{ name: "test", group: GROUP, handlers: entering, concurrency: 1, claims: 1, db: () => db },
      ...{ onMore: told.resolve, logger: new ServiceBroker({ logger: false }).logger },
      limits: { ...consumerLimits, sweepMs: 1_000_000 },
    });
    await eventually(async () => expect(worker.reserve("user.deleted")).toBe(true)); // after the first claim
    worker.wake();
    await told.promise;
    worker.take([], newId(), 1);
    await worker.stop();
    await db.close();
  });

  it("woken while all its places are reserved, claims when they are free, without a sweep", async () => {
    const db = openPool(stage.bench.database, 1);
    const worker = startWorker({
      ...{ name: "test", group: GROUP, handlers: entering, concurrency: 1, claims: 1, db: () => db },
      ...{ onMore: () => undefined, logger: new ServiceBroker({ logger: false }).logger },
      limits: { ...consumerLimits, sweepMs: 1_000_000 },
    });
    await eventually(async () => expect(worker.reserve("user.deleted")).toBe(true)); // after the first claim
    const message = incoming(userDeleted());
    await acceptMessages(db, GROUP, [{ ...message, state: "waiting" }], { token: newId(), leaseMs: 1 });
    worker.wake();
    await new Promise(setImmediate);
    worker.take([], newId(), 1);
    await eventually(() => effectsOnce([message]));
    await worker.stop();
    await db.close();
  });

  it("with more than it claims at once, calls the other replicas", async () => {
    const slow = (name: string): Handlers => ({
      "user.deleted": {
        async inTransaction(trx, message) {
          await trx.query("SELECT pg_sleep(0.01)");
          await enter(trx, message, name);
        },
      },
    });
    const limits = { sweepMs: 1_000_000, inTransactionClaims: 4 };
    const replicas = [await receiver(slow("a"), limits), await receiver(slow("b"), limits)];
    await eventually(async () => {
      const listening = await rows(
        stage.bench.db.db,
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'",
      );
      expect(listening).toHaveLength(2);
    });
    const messages = many(60);
    await publish(...messages);
    await eventually(() => effectsOnce(messages));
    expect(new Set((await stage.bench.ledger()).map(({ madeBy }) => madeBy)).size).toBe(2);
    await Promise.all(replicas.map(({ broker }) => broker.stop()));
  });

  it("while its database refuses, makes the message bus refuse too, so that the sender keeps the message", async () => {
    const { broker } = await receiver(entering);
    await stage.bench.db.db.query("ALTER TABLE inbox RENAME TO inbox_away");
    const message = incoming(userDeleted());
    await expect(publish(message)).rejects.toThrow(GROUP);
    await stage.bench.db.db.query("ALTER TABLE inbox_away RENAME TO inbox");
    await publish(message);
    await eventually(() => effectsOnce([message]));
    await broker.stop();
  });

  it("whose every connection is cut in the middle of the work, has each effect once", async () => {
    let entered = 0;
    const { broker } = await receiver({
      "user.deleted": {
        async inTransaction(trx, message) {
          await enter(trx, message);
          entered += 1;
          if (entered === 20) {
            await stage.bench.db.db.query(CUT);
          }
        },
      },
    });
    const messages = many(100);
    // The connections that store the messages may be cut too: a message bus delivers them again then.
    await eventually(() => publish(...messages));
    await eventually(() => effectsOnce(messages));
    await broker.stop();
  });

  it("whose service stops in the middle of a heap, gives back what it has not begun, uncounted", async () => {
    const messages = many(20); // older than the process, so workers handle them
    let begun = 0;
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const { broker } = await receiver({
      "user.deleted": {
        async inTransaction(trx, message) {
          begun += 1;
          await gate;
          await enter(trx, message);
        },
      },
    });
    await publish(...messages);
    await eventually(() => expect(begun).toBe(4));
    const stopping = broker.stop();
    await eventually(async () => {
      const back = (await stage.bench.inboxRows()).filter(({ leaseToken }) => !leaseToken);
      expect(back).toHaveLength(16);
      expect(back.every(({ attempts, state }) => attempts === 0 && state === "waiting")).toBe(true);
    });
    open();
    await stopping;
    expect(await stage.bench.ledger()).toHaveLength(4);
    expect((await stage.bench.inboxRows()).filter(({ state }) => state === "done")).toHaveLength(4);
  });

  it("whose service stops, delivers what arrives until it is unsubscribed", async () => {
    const unsubscribed = Promise.withResolvers<void>();
    const slowBus: MessageBus = {
      ...stage.messageBus,
      async subscribe(...subscription) {
        const unsubscribe = await stage.messageBus.subscribe(...subscription);
        return async () => {
          await unsubscribed.promise;
          await unsubscribe();
        };
      },
    };
    const { broker } = await stage.bench.receiver(slowBus, entering);
    const stopping = broker.stop();
    await new Promise(setImmediate);
    const message = incoming(userDeleted());
    await publish(message);
    await eventually(() => effectsOnce([message]));
    unsubscribed.resolve();
    await stopping;
  });

  it("deletes handled messages after fourteen days, and never a dead letter", async () => {
    const { broker } = await receiver({
      ...entering,
      "notification.sent": { schedule: [], external: () => Promise.reject(new Error("no")) },
    });
    const [old, young] = many(2);
    await publish(old, young, incoming(notificationSent()));
    await eventually(async () => {
      const states = (await stage.bench.inboxRows()).map(({ state }) => state).sort();
      expect(states).toEqual(["dead", "done", "done"]);
    });
    const ancient = newId(Date.now() - 14.1 * DAY_MS);
    await stage.bench.db.db.query("UPDATE inbox SET message_id = ? WHERE message_id = ?", [
      ancient,
      old?.id ?? "",
    ]);
    await stage.bench.db.db.query("UPDATE inbox SET message_id = ? WHERE state = 'dead'", [
      newId(Date.now() - 90 * DAY_MS),
    ]);
    await broker.stop();
    const again = await receiver(entering);
    await eventually(async () => {
      const left = (await stage.bench.inboxRows()).map(({ state, messageId }) => [state, messageId]);
      expect(left).toEqual([
        ["dead", expect.any(String)],
        ["done", young?.id],
      ]);
    });
    await again.broker.stop();
  });

  it("that keeps ids no longer than outboxes repeat messages, refuses to be built", () => {
    const build = () =>
      consumer({
        postgres: stage.bench.db,
        messageBus: stage.messageBus,
        group: GROUP,
        handlers: entering,
        limits: { retentionMs: 7 * DAY_MS },
      });
    expect(build).toThrow("needs more than a day longer");
  });
});
