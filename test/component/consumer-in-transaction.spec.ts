import { describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { rows } from "../../lib/sql/database.ts";
import type { HandlerError } from "../../mixins/consumer/consumer.mixin.ts";
import { BATCH_MAX, canBatch } from "../../mixins/consumer/delivery.ts";
import { acceptMessages, claimedOnArrival } from "../../mixins/consumer/inbox.repository.ts";
import { consumerStage, entering, many } from "../support/consuming.ts";
import { eventually } from "../support/eventually.ts";
import { enter, GROUP, incoming, userDeleted } from "../support/messaging.ts";

const stage = consumerStage();
const { receiver, publish, oneRow, effectsOnce } = stage;

describe("a consumer's handler in a transaction", () => {
  it("commits its effect with the row's state, and the row is what the message bus's accept wrote", async () => {
    const { broker } = await receiver(entering);
    const message = incoming(userDeleted());
    await publish(message);
    expect(await oneRow()).toMatchObject({
      messageId: message.id,
      consumer: GROUP,
      type: "user.deleted",
      subject: message.subject,
    });
    await eventually(async () => expect(await oneRow()).toMatchObject({ state: "done", attempts: 1 }));
    await effectsOnce([message]);
    await broker.stop();
  });

  it("of a message that is delivered repeatedly, has its effect once", async () => {
    const { broker } = await receiver(entering);
    const message = incoming(userDeleted());
    await Promise.all([publish(message, message), publish(message), publish(message)]);
    await eventually(() => effectsOnce([message]));
    await publish(message);
    const last = incoming(userDeleted());
    await publish(last);
    await eventually(() => effectsOnce([message, last]));
    await broker.stop();
  });

  it("that fails, leaves no effect, is delivered again and is dead after five deliveries with its error", async () => {
    let deliveries = 0;
    const { broker, con } = await receiver({
      "user.deleted": {
        async inTransaction(trx, message) {
          deliveries += 1;
          await enter(trx, message);
          throw new Error("the shelf is full");
        },
      },
    });
    await publish(incoming(userDeleted()));
    await eventually(async () =>
      expect(await oneRow()).toMatchObject({ state: "dead", attempts: 5, error: "the shelf is full" }),
    );
    expect(deliveries).toBe(5);
    expect(await stage.bench.ledger()).toEqual([]);
    expect(await con.stats()).toEqual({ waiting: 0, deadLetters: 1, oldestAgeMs: 0 });
    await broker.stop();
  });

  it("that fails and then succeeds, is done and keeps no error", async () => {
    let deliveries = 0;
    const { broker } = await receiver({
      "user.deleted": {
        async inTransaction(trx, message) {
          deliveries += 1;
          if (deliveries < 3) throw new Error("not yet");
          await enter(trx, message);
        },
      },
    });
    const message = incoming(userDeleted());
    await publish(message);
    await eventually(() => effectsOnce([message]));
    const row = await oneRow();
    expect(row).toMatchObject({ state: "done", attempts: 3 });
    expect(row?.error).toBeUndefined();
    await broker.stop();
  });

  it("with `permanent`, is dead at once", async () => {
    const { broker } = await receiver({
      "user.deleted": {
        inTransaction: () => Promise.reject(Object.assign(new Error("gone for good"), { permanent: true })),
      },
    });
    await publish(incoming(userDeleted()));
    await eventually(async () => expect(await oneRow()).toMatchObject({ state: "dead", attempts: 1 }));
    await broker.stop();
  });

  it("with a schedule of its own, is delivered once more than there are waits", async () => {
    let deliveries = 0;
    const { broker } = await receiver({
      "user.deleted": {
        schedule: [10, 10],
        async inTransaction() {
          deliveries += 1;
          throw new Error("never");
        },
      },
    });
    await publish(incoming(userDeleted()));
    await eventually(async () => expect(await oneRow()).toMatchObject({ state: "dead", attempts: 3 }));
    expect(deliveries).toBe(3);
    await broker.stop();
  });

  it("whose error has a time for the next attempt, waits at least that long", async () => {
    const error: HandlerError = Object.assign(new Error("busy"), { retryAfterMs: 3_600_000 });
    const { broker } = await receiver({
      "user.deleted": { inTransaction: () => Promise.reject(error) },
    });
    await publish(incoming(userDeleted()));
    await eventually(async () => expect(await oneRow()).toMatchObject({ attempts: 1, error: "busy" }));
    const [{ waitMs } = { waitMs: 0 }] = await rows<{ waitMs: number }>(
      stage.bench.db.db,
      "SELECT extract(epoch FROM next_at - now())::integer * 1000 AS wait_ms FROM inbox",
    );
    expect(waitMs).toBeGreaterThan(3_500_000);
    await broker.stop();
  });

  it("that gives up, commits what its `dead` does with the death, and tries that again when it fails", async () => {
    let asked = 0;
    const { broker } = await receiver({
      "user.deleted": {
        schedule: [],
        inTransaction: () => Promise.reject(new Error("no")),
        async dead(trx, message, error) {
          asked += 1;
          await enter(trx, message, error);
          if (asked === 1) throw new Error("not even that");
        },
      },
    });
    const message = incoming(userDeleted());
    await publish(message);
    await eventually(async () => expect(await oneRow()).toMatchObject({ state: "dead", error: "no" }));
    expect(await stage.bench.ledger()).toEqual([
      { messageId: message.id, subject: message.subject, madeBy: "no" },
    ]);
    expect(asked).toBe(2);
    await broker.stop();
  });

  it("marked `batch`, of a thousand messages with a bad one among them, has every other effect once", async () => {
    const messages = many(1_000);
    const bad = messages[500]?.id;
    const { broker } = await receiver({
      "user.deleted": {
        batch: true,
        schedule: [],
        async inTransaction(trx, message) {
          await enter(trx, message);
          if (message.id === bad) throw new Error("bad apple");
        },
      },
    });
    await publish(...messages);
    await eventually(() => effectsOnce(messages.filter(({ id }) => id !== bad)));
    const states = (await stage.bench.inboxRows()).filter(({ state }) => state !== "done");
    expect(states).toMatchObject([{ messageId: bad, state: "dead", error: "bad apple" }]);
    await broker.stop();
  });

  it("with a `batch` function, gets messages of the type together, and one by one after a failure", async () => {
    const messages = many(100);
    const bad = messages[50]?.id;
    const together: number[] = [];
    const fail = (found: readonly { id: string }[]) => {
      if (found.some(({ id }) => id === bad)) throw new Error("bad apple");
    };
    const { broker } = await receiver({
      "user.deleted": {
        schedule: [],
        async inTransaction(trx, message) {
          await enter(trx, message);
          fail([message]);
        },
        async batch(trx, found) {
          together.push(found.length);
          for (const message of found) await enter(trx, message);
          fail(found);
        },
      },
    });
    await publish(...messages);
    await eventually(() => effectsOnce(messages.filter(({ id }) => id !== bad)));
    expect(Math.max(...together)).toBeGreaterThan(1);
    expect(Math.max(...together)).toBeLessThanOrEqual(BATCH_MAX);
    const states = (await stage.bench.inboxRows()).filter(({ state }) => state !== "done");
    expect(states).toMatchObject([{ messageId: bad, state: "dead", error: "bad apple" }]);
    await broker.stop();
  });

  it("marked `batch`, that exceeds its time limit, is called again without waiting for the lease to expire", async () => {
    const messages = many(8);
    const slow = messages[4]?.id;
    let slowCalls = 0;
    const { broker } = await receiver(
      {
        "user.deleted": {
          batch: true,
          async inTransaction(trx, message) {
            if (message.id === slow) slowCalls += 1;
            if (message.id === slow && slowCalls === 1) await new Promise(() => undefined);
            await enter(trx, message);
          },
        },
      },
      { deliveryMs: 200, leaseMs: 600_000, inTransactionConcurrency: 1 },
    );
    await publish(...messages);
    await eventually(() => effectsOnce(messages));
    expect(slowCalls).toBeGreaterThan(1);
    await broker.stop();
  });
});

describe("a message during whose delivery a process ended", () => {
  it("has the usual number of deliveries, where the schedule of its handler has fewer", async () => {
    const message = incoming(userDeleted());
    const arrived = { ...message, state: "waiting" as const, claim: true };
    await acceptMessages(stage.bench.db.db, GROUP, [arrived], { token: newId(), leaseMs: -1_000 });
    const { broker } = await receiver({
      "user.deleted": { schedule: [], inTransaction: (trx, one) => enter(trx, one) },
    });
    await eventually(() => effectsOnce([message]));
    expect(await oneRow()).toMatchObject({ state: "done", attempts: 2 });
    await broker.stop();
  });
});

describe("canBatch", () => {
  it("lets a message share a transaction on its first delivery only, and when no process ended during it", () => {
    const claimed = claimedOnArrival({ ...incoming(userDeleted()), state: "waiting" });
    const delivery = (change: Partial<typeof claimed>) => ({
      ...{ group: GROUP, messageId: claimed.messageId, token: newId(), ending: false },
      ...{ claimed: { ...claimed, ...change }, abort: new AbortController() },
    });
    const handler = { batch: true, inTransaction: async () => undefined } as const;
    expect(canBatch(handler, delivery({}))).toBe(true);
    expect(canBatch(handler, delivery({ attempts: 2 }))).toBe(false);
    expect(canBatch(handler, delivery({ suspect: true }))).toBe(false);
    expect(canBatch({ inTransaction: async () => undefined }, delivery({}))).toBe(false);
  });
});
