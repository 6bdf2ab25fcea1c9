import { describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import type { ConsumerOptions, Handlers } from "../../mixins/consumer/consumer.mixin.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { consumerStage, entering, many } from "../support/consuming.ts";
import { eventually } from "../support/eventually.ts";
import { enter, incoming, notificationSent, userDeleted } from "../support/messaging.ts";

const stage = consumerStage();
const { effectsOnce, oneRow } = stage;

/** Limits that a busy machine does not reach. */
const PATIENT = { arrivalMs: 20_000, arrivalLockMs: 20_000, leaseMs: 20_000 };

/** A consumer and its `accept`, as a message bus calls it: what it has stored can be seen when it returns. */
async function accepting(handlers: Handlers, limits: ConsumerOptions["limits"] = PATIENT) {
  const subscribed = Promise.withResolvers<Parameters<MessageBus["subscribe"]>[2]>();
  const messageBus: MessageBus = {
    ...stage.messageBus,
    subscribe: async (_group, _types, accept) => {
      subscribed.resolve(accept);
      return async () => undefined;
    },
  };
  const { broker } = await stage.bench.receiver(messageBus, handlers, limits);
  return { accept: await subscribed.promise, stop: () => broker.stop() };
}
const states = async () => (await stage.bench.inboxRows()).map(({ state }) => state);

describe("messages on arrival", () => {
  it("with effects in the database, are done when the bus's call returns, and keep no data", async () => {
    const { accept, stop } = await accepting(entering);
    const messages = many(3);
    await accept(messages);
    await effectsOnce(messages);
    expect(await states()).toEqual(["done", "done", "done"]);
    expect(await oneRow()).toMatchObject({ attempts: 1, data: {} });
    await accept(messages);
    await effectsOnce(messages);
    await stop();
  });

  it("that are many, are all done when the bus's call returns, in transactions of a few dozen", async () => {
    const sizes: number[] = [];
    const { accept, stop } = await accepting(
      {
        "user.deleted": {
          inTransaction: (trx, message) => enter(trx, message),
          async batch(trx, messages) {
            sizes.push(messages.length);
            for (const message of messages) await enter(trx, message);
          },
        },
      },
      { ...PATIENT, inTransactionClaims: 1 },
    );
    const messages = many(70);
    await accept(messages);
    await effectsOnce(messages);
    expect(sizes).toEqual([32, 32, 6]);
    expect(new Set(await states())).toEqual(new Set(["done"]));
    await stop();
  });

  it("that arrive after the time limit on arrival, are stored for the workers", async () => {
    const { accept, stop } = await accepting(entering, { ...PATIENT, arrivalMs: 0 });
    const messages = many(70);
    await accept(messages);
    await eventually(() => effectsOnce(messages));
    await stop();
  });

  it.each([
    ["delivered again", true, 0],
    ["older than the process", false, -60_000],
  ])("that are %s, are stored under a lease before a handler runs", async (_name, redelivered, ageMs) => {
    const gate = Promise.withResolvers<void>();
    const { accept, stop } = await accepting({
      "user.deleted": {
        async inTransaction(trx, message) {
          await gate.promise;
          await enter(trx, message);
        },
      },
    });
    const message = incoming(userDeleted(), Date.now() + ageMs);
    await accept([message], redelivered);
    expect(await oneRow()).toMatchObject({ state: "waiting", attempts: 1, leaseToken: expect.any(String) });
    gate.resolve();
    await eventually(() => effectsOnce([message]));
    await stop();
  });

  it("of which one fails, are handled, and the failure counts as its first delivery", async () => {
    const bad = newId();
    let calls = 0;
    const { accept, stop } = await accepting({
      "user.deleted": {
        async inTransaction(trx, message) {
          await enter(trx, message);
          if (message.subject !== bad) return;
          calls += 1;
          throw new Error("the shelf is full");
        },
      },
    });
    const good = many(4);
    await accept([...good.slice(0, 2), incoming(userDeleted(bad)), ...good.slice(2)]);
    await eventually(async () => {
      await effectsOnce(good);
      const dead = (await stage.bench.inboxRows()).filter(({ state }) => state === "dead");
      expect(dead).toMatchObject([{ subject: bad, attempts: 5, error: "the shelf is full" }]);
    });
    expect(calls).toBe(5);
    await stop();
  });

  it("that need a row which another transaction has locked, do not delay the bus", async () => {
    const { accept, stop } = await accepting(
      {
        "user.deleted": {
          async inTransaction(trx, message) {
            await trx.query("UPDATE ledger SET made_by = 'late' WHERE subject = 'locked'");
            await enter(trx, message);
          },
        },
      },
      { ...PATIENT, arrivalLockMs: 50 },
    );
    await stage.bench.db.db.query("INSERT INTO ledger (subject) VALUES ('locked')");
    const other = await stage.bench.db.db.begin();
    await other.query("UPDATE ledger SET made_by = 'first' WHERE subject = 'locked'");
    const message = incoming(userDeleted());
    await accept([message]); // returns although the lock is held
    expect(await oneRow()).toMatchObject({ state: "waiting" });
    await other.commit();
    await eventually(async () => expect(await oneRow()).toMatchObject({ state: "done" }));
    expect(await stage.bench.ledger()).toMatchObject([
      { subject: "locked", madeBy: "late" },
      { messageId: message.id },
    ]);
    await stop();
  });

  it("whose handler does not return, are given to a worker, and their effect happens once", async () => {
    const gate = Promise.withResolvers<void>();
    let calls = 0;
    const { accept, stop } = await accepting(
      {
        "user.deleted": {
          async inTransaction(trx, message) {
            calls += 1;
            await gate.promise;
            await enter(trx, message);
          },
        },
      },
      { ...PATIENT, arrivalMs: 50 },
    );
    const message = incoming(userDeleted());
    await accept([message]);
    await eventually(() => expect(calls).toBeGreaterThan(1));
    expect(await oneRow()).toMatchObject({ state: "waiting" });
    gate.resolve();
    await eventually(async () => expect(await oneRow()).toMatchObject({ state: "done" }));
    await effectsOnce([message]);
    await stop();
  });

  it("with an idempotent effect outside, are done when the bus's call returns; a failed one is delivered again", async () => {
    const bad = newId();
    const seen: string[] = [];
    let fails = true;
    const { accept, stop } = await accepting({
      ...entering,
      "notification.sent": {
        idempotent: true,
        async external({ subject }) {
          seen.push(subject);
          if (fails && subject === bad) throw new Error("refused");
          return undefined;
        },
      },
    });
    const inside = incoming(userDeleted());
    await accept([incoming(notificationSent()), inside, incoming(notificationSent(bad))]);
    await effectsOnce([inside]);
    expect(await states()).toContain("waiting");
    fails = false;
    await eventually(async () => expect(await states()).toEqual(["done", "done", "done"]));
    expect(seen.filter((subject) => subject === bad).length).toBeGreaterThan(1);
    expect(seen.filter((subject) => subject !== bad)).toHaveLength(1);
    await stop();
  });

  it("with any other effect outside, are stored under a lease first", async () => {
    const gate = Promise.withResolvers<void>();
    const { accept, stop } = await accepting({
      "notification.sent": {
        async external() {
          await gate.promise;
          return undefined;
        },
      },
    });
    await accept([incoming(notificationSent())]);
    expect(await oneRow()).toMatchObject({ state: "waiting", attempts: 1, leaseToken: expect.any(String) });
    gate.resolve();
    await eventually(async () => expect(await states()).toEqual(["done"]));
    await stop();
  });
});
