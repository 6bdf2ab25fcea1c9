import { describe, expect, it } from "@jest/globals";
import { fail } from "../../contracts/errors.ts";
import type { Message } from "../../contracts/messages.ts";
import { rows } from "../../lib/sql/database.ts";
import type { Handlers } from "../../mixins/consumer/consumer.mixin.ts";
import { documentGauges } from "../../mixins/documents/gauges.ts";
import { consumerStage } from "../support/consuming.ts";
import { eventually } from "../support/eventually.ts";
import { enter, incoming, notificationSent, userDeleted } from "../support/messaging.ts";

const MORE_THAN_RUN_AT_ONCE = 80;
/** More than the five deliveries that a message has. */
const MANY = 12;

const stage = consumerStage();
const { publish } = stage;
/** No lease ends by itself, as it could on a busy machine: the deliveries are counted. */
const receiver = (handlers: Handlers) => stage.receiver(handlers, { leaseMs: 60_000 });

/** A store of documents that a test takes away; it says so at once, or only to those who come. */
function outside() {
  const written = new Set<string>();
  const store = {
    there: true,
    admits: true,
    tries: 0,
    written,
    available: () => store.there || !store.admits,
    async write(id: string): Promise<undefined> {
      store.tries++;
      if (!store.there) throw fail("SERVICE_UNAVAILABLE", "The document store cannot be reached.");
      written.add(id);
    },
  };
  return store;
}

const projecting = (store: ReturnType<typeof outside>): Handlers => ({
  "notification.sent": { needs: store, external: ({ id }) => store.write(id) },
  "user.deleted": { inTransaction: (trx, message) => enter(trx, message) },
});
const some = (count: number) => Array.from({ length: count }, () => incoming(notificationSent()));
const states = async () =>
  (await stage.bench.inboxRows()).map(({ state, attempts }) => ({ state, attempts }));
/** Makes waiting messages due and one day older. */
const aDayLater = () =>
  stage.bench.db.db.query(
    "UPDATE inbox SET next_at = now(), created_at = created_at - interval '1 day' WHERE lease_token IS NULL",
  );

describe("messages whose handler needs an unavailable store", () => {
  it("are not claimed for days, while others are; all are handled when it returns, and none is a dead letter", async () => {
    const store = outside();
    store.there = false;
    const { broker, con } = await receiver(projecting(store));
    const waiting = some(100);
    await publish(...waiting);
    for (let day = 1; day <= 3; day++) {
      const other = incoming(userDeleted());
      await publish(other);
      await eventually(async () =>
        expect((await stage.bench.ledger()).map(({ messageId }) => messageId)).toContain(other.id),
      );
      await aDayLater();
    }
    expect(store.tries).toBe(0);
    expect(await con.lagMs()).toBeGreaterThan(2.9 * 86_400_000);
    store.there = true;
    await eventually(() => expect(store.written.size).toBe(100));
    await eventually(async () => expect(await con.lagMs()).toBe(0));
    expect(new Set(waiting.map(({ id }) => id))).toEqual(store.written);
    expect((await states()).every(({ state, attempts }) => state === "done" && attempts === 1)).toBe(true);
    expect(await con.stats()).toMatchObject({ waiting: 0, deadLetters: 0 });
    await broker.stop();
  });

  it("are delivered if the handler is marked `duringOutage`", async () => {
    const store = outside();
    store.there = false;
    const { broker } = await receiver({
      "user.deleted": {
        needs: store,
        duringOutage: true,
        async external({ id }) {
          deletions.add(id);
          return store.write(id);
        },
      },
    });
    const deletions = new Set<string>();
    const message = incoming(userDeleted());
    await publish(message);
    await eventually(() => expect(deletions).toContain(message.id));
    expect(store.written.size).toBe(0);
    await eventually(async () => expect(await states()).toEqual([{ state: "waiting", attempts: 0 }]));
    store.there = true;
    await eventually(() => expect(store.written).toContain(message.id));
    await broker.stop();
  });

  it("that is found unavailable only by the handler, are delivered again after one to five seconds", async () => {
    const store = outside();
    Object.assign(store, { there: false, admits: false });
    const { broker } = await receiver(projecting(store));
    const messages = some(30);
    await publish(...messages);
    const sql = `SELECT extract(epoch FROM next_at - updated_at)::float AS seconds FROM inbox
      WHERE attempts = 0 AND error IS NOT NULL`;
    const waits = await eventually(async () => {
      const found = await rows<{ seconds: number }>(stage.bench.db.db, sql);
      expect(found).toHaveLength(messages.length);
      return found.map(({ seconds }) => seconds);
    });
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(1);
    expect(Math.max(...waits)).toBeLessThanOrEqual(5);
    await broker.stop();
  });

  it("that is found unavailable only by the handler, never become dead letters by that", async () => {
    const store = outside();
    Object.assign(store, { there: false, admits: false });
    const { broker, con } = await receiver(projecting(store));
    const messages = some(3);
    await publish(...messages);
    await eventually(async () => {
      await aDayLater();
      expect(store.tries).toBeGreaterThan(MANY * messages.length);
    });
    await eventually(async () =>
      expect((await states()).every(({ state }) => state === "waiting")).toBe(true),
    );
    expect(await con.stats()).toMatchObject({ waiting: 3, deadLetters: 0 });
    const [row] = await stage.bench.inboxRows();
    expect(row?.error).toContain("SERVICE_UNAVAILABLE");
    store.there = true;
    await eventually(async () => {
      await aDayLater();
      expect(store.written.size).toBe(3);
    });
    await eventually(async () =>
      expect(await states()).toEqual(messages.map(() => ({ state: "done", attempts: 1 }))),
    );
    await broker.stop();
  });

  it("become dead letters after five deliveries by failures of their own", async () => {
    const store = outside();
    const poison = some(1)[0] as Message;
    const { broker } = await receiver({
      "notification.sent": {
        needs: store,
        async external({ id }) {
          if (id === poison.id) throw new Error("this document cannot be written");
          await store.write(id);
          return undefined;
        },
      },
    });
    const others = some(20);
    await publish(poison, ...others);
    await eventually(() => expect(store.written.size).toBe(20));
    await eventually(async () => {
      const dead = (await stage.bench.inboxRows()).filter(({ state }) => state === "dead");
      expect(dead).toEqual([expect.objectContaining({ messageId: poison.id, attempts: 5 })]);
    });
    await broker.stop();
  });

  it("that hangs, delay no others, in any number", async () => {
    const hung = Promise.withResolvers<undefined>();
    const told: string[] = [];
    const { broker } = await receiver({
      "notification.sent": { needs: outside(), external: () => hung.promise },
      "user.deleted": { external: async ({ id }) => void told.push(id) },
    });
    await publish(...some(MORE_THAN_RUN_AT_ONCE));
    await eventually(async () =>
      expect((await states()).filter(({ attempts }) => attempts > 0).length).toBeGreaterThan(1),
    );
    const other = incoming(userDeleted());
    try {
      await publish(other);
      await eventually(() => expect(told).toEqual([other.id]));
    } finally {
      hung.resolve(undefined);
    }
    await broker.stop();
  });

  it("without `needs`, become dead letters by an outage", async () => {
    const { broker } = await receiver({
      "notification.sent": { external: () => Promise.reject(fail("SERVICE_UNAVAILABLE")) },
    });
    await publish(...some(1));
    await eventually(async () => expect(await states()).toEqual([{ state: "dead", attempts: 5 }]));
    await broker.stop();
  });
});

describe("the gauges of documents", () => {
  it("show whether each collection's store is available, and the age of the projection", async () => {
    const store = outside();
    const gauges = documentGauges(
      [
        { collection: "payments", available: () => true },
        { collection: "order_history", available: () => store.there },
      ],
      { lagMs: async () => 61_500 },
    );
    expect(gauges.documents_available.read()).toEqual({ payments: 1, order_history: 1 });
    store.there = false;
    expect(gauges.documents_available.read()).toEqual({ payments: 1, order_history: 0 });
    expect(await gauges.projection_oldest_seconds.read()).toBe(61.5);
  });
});
