import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { message, type NewMessage } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import type { Logger } from "../../lib/logger.ts";
import { rows } from "../../lib/sql/database.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import { insertMessages } from "../../mixins/outbox/outbox.repository.ts";
import { relay, relayLimits } from "../../mixins/outbox/relay.ts";
import { unreadableRowAlerts } from "../../mixins/outbox/unreadable-rows.ts";
import { eventually } from "../support/eventually.ts";
import {
  type MessagingBench,
  messagingBench,
  recordingMessageBus,
  userDeleted,
} from "../support/messaging.ts";

const DAY_MS = 86_400_000;

let bench: MessagingBench;
beforeAll(async () => {
  bench = await messagingBench();
});
afterAll(() => bench.stop());
beforeEach(async () => {
  await bench.db.db.query("TRUNCATE outbox");
});

const allSent = async (count: number) => {
  const found = await bench.outboxRows();
  expect(found).toHaveLength(count);
  expect(found.filter(({ sentAt }) => !sentAt)).toEqual([]);
};

describe("outbox.add", () => {
  it("in a transaction that commits, publishes the message with everything a reader needs", async () => {
    const { messageBus, taken } = recordingMessageBus();
    const { out, broker, db } = await bench.sender(messageBus);
    const userId = newId();
    await db.transact((trx) => out.add(trx, [userDeleted(userId)]));
    await eventually(() => expect(taken.flat()).toHaveLength(1));
    expect(taken.flat()[0]).toEqual({
      specversion: "1.0",
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/),
      source: "waybill/test",
      type: "user.deleted",
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      subject: userId,
      dataschema: "urn:waybill:message:user.deleted:1",
      data: { version: 1, userId },
    });
    await eventually(() => allSent(1));
    await broker.stop();
  });

  it("in a transaction that rolls back, publishes nothing", async () => {
    const { messageBus, taken } = recordingMessageBus();
    const { out, broker, db } = await bench.sender(messageBus);
    const failing = db.transact(async (trx) => {
      await out.add(trx, [userDeleted()]);
      throw new Error("changed my mind");
    });
    await expect(failing).rejects.toThrow("changed my mind");
    await db.transact((trx) => out.add(trx, [userDeleted("0190a5a0-0000-7000-8000-000000000001")]));
    await eventually(() => allSent(1));
    expect(taken.flat().map(({ subject }) => subject)).toEqual(["0190a5a0-0000-7000-8000-000000000001"]);
    await broker.stop();
  });

  it.each([
    ["data that is not as its contract says", { ...userDeleted(), data: { version: 0, userId: "me" } }],
    ["a field that the contract does not know", { ...userDeleted(), data: { ...userDeleted().data, x: 1 } }],
    ["a type that there is not", { ...userDeleted(), type: "user.eaten" }],
  ])("of %s, throws and rolls the change back", async (_what, wrong) => {
    const { messageBus } = recordingMessageBus();
    const { out, broker, db } = await bench.sender(messageBus);
    const adding = db.transact((trx) => out.add(trx, [userDeleted(), wrong as NewMessage]));
    await expect(adding).rejects.toThrow("cannot be sent");
    expect(await bench.outboxRows()).toEqual([]);
    await broker.stop();
  });

  it("of more than 256 KB, throws", async () => {
    const { messageBus } = recordingMessageBus();
    const { out, broker, db } = await bench.sender(messageBus);
    const values = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${i}`, "x".repeat(1_000)]));
    const data = { version: 1, email: "a@b.example", template: "code", language: "en", values };
    const adding = db.transact((trx) => out.add(trx, [message("notification.requested", newId(), data)]));
    await expect(adding).rejects.toThrow("too large");
    await broker.stop();
  });
});

describe("the relay", () => {
  const listeners = () =>
    rows<{ pid: number }>(
      bench.db.db,
      `SELECT pid FROM pg_stat_activity
       WHERE datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle'`,
    );
  const addMany = (sender: Awaited<ReturnType<typeof bench.sender>>, count: number) =>
    sender.db.transact((trx) =>
      sender.out.add(
        trx,
        Array.from({ length: count }, () => userDeleted()),
      ),
    );

  it("while the message bus refuses, keeps the messages with the reason and publishes them later", async () => {
    const { messageBus, state, ids } = recordingMessageBus();
    state.refuses = () => true;
    const sender = await bench.sender(messageBus);
    await addMany(sender, 3);
    await eventually(async () => {
      const found = await bench.outboxRows();
      expect(found.every(({ attempts, error }) => attempts >= 2 && error?.includes("refused"))).toBe(true);
    });
    expect(await sender.out.stats()).toEqual({ waiting: 3, oldestAgeMs: expect.any(Number) });
    state.refuses = () => false;
    await eventually(() => allSent(3));
    expect(new Set(ids()).size).toBe(3);
    expect(await sender.out.stats()).toEqual({ waiting: 0, oldestAgeMs: 0 });
    await sender.broker.stop();
  });

  it("of formerly refused messages, tries one while the message bus still refuses", async () => {
    const { messageBus } = recordingMessageBus();
    await insertMessages(
      bench.db.db,
      [1, 2, 3].map(() => envelope("waybill/test", userDeleted(), Date.now())),
    );
    await bench.db.db.query("UPDATE outbox SET attempts = 1");
    let tries = 0;
    const refusing = {
      ...messageBus,
      async publish() {
        tries += 1;
        throw new Error("refused");
      },
    };
    const logger = new ServiceBroker({ logger: false }).logger;
    const onMore = () => undefined;
    await relay({ db: () => bench.db.db, messageBus: refusing, limits: relayLimits, logger, onMore })(
      "sweep",
    );
    expect(tries).toBe(1);
  });

  it("with an unreadable row, raises one alert, and again only after it has dropped the row from its list", async () => {
    const logged: unknown[] = [];
    const { logger } = new ServiceBroker({ logger: false });
    const alerts = unreadableRowAlerts({
      ...{ postgres: bench.db, source: "waybill/test", clock: { now: () => Date.now() }, rowsMax: 2 },
      logger: { ...logger, error: (text) => void logged.push(text) } as Logger,
    });
    const [first = "", second = "", third = ""] = [newId(), newId(), newId()];
    for (const id of [first, second, first]) alerts({ id, columns: ["amount"] });
    expect(logged).toHaveLength(2);
    for (const id of [third, first]) alerts({ id, columns: ["amount"] });
    expect(logged).toHaveLength(4);
    await eventually(async () => expect(await bench.outboxRows()).toHaveLength(4));
  });

  it("while the message bus is not ready, claims nothing", async () => {
    const { messageBus, state } = recordingMessageBus();
    state.up = false;
    const sender = await bench.sender(messageBus, { sweepMs: 5 });
    await addMany(sender, 1);
    state.up = true;
    await eventually(() => allSent(1));
    expect((await bench.outboxRows())[0]?.attempts).toBe(0);
    await sender.broker.stop();
  });

  it("with one message that the message bus never accepts, publishes the hundred others", async () => {
    const { messageBus, state } = recordingMessageBus();
    const sender = await bench.sender(messageBus);
    let poison = "";
    state.refuses = async (messages) => {
      poison ||= messages[50]?.id ?? "";
      return messages.some(({ id }) => id === poison);
    };
    await addMany(sender, 101);
    await eventually(async () => {
      const waiting = (await bench.outboxRows()).filter(({ sentAt }) => !sentAt);
      expect(waiting.map(({ id }) => id)).toEqual([poison]);
    });
    state.refuses = () => false;
    await eventually(() => allSent(101));
    await sender.broker.stop();
  });

  it("in three replicas on one database, publishes each message once", async () => {
    const { messageBus, state, ids } = recordingMessageBus();
    // The first batches are taken when each replica has brought one.
    const all = Promise.withResolvers<void>();
    let brought = 0;
    state.refuses = async () => {
      brought += 1;
      if (brought === 3) all.resolve();
      await all.promise;
      return false;
    };
    const senders = await Promise.all([1, 2, 3].map(() => bench.sender(messageBus, { batch: 7 })));
    await Promise.all(senders.map((sender) => addMany(sender, 100)));
    await eventually(() => allSent(300));
    expect(ids()).toHaveLength(300);
    expect(new Set(ids()).size).toBe(300);
    await Promise.all(senders.map(({ broker }) => broker.stop()));
  });

  it("marks a message as sent only after the message bus has it", async () => {
    const { messageBus, state } = recordingMessageBus();
    let answer: (refuse: boolean) => void = () => undefined;
    let asked = 0;
    state.refuses = () => {
      asked += 1;
      return new Promise((resolve) => {
        answer = resolve;
      });
    };
    const sender = await bench.sender(messageBus);
    await addMany(sender, 1);
    await eventually(() => expect(asked).toBe(1));
    expect((await bench.outboxRows())[0]?.sentAt).toBeUndefined();
    answer(false);
    await eventually(() => allSent(1));
    await sender.broker.stop();
  });

  it("with its connections cut, continues to listen and to publish", async () => {
    const { messageBus } = recordingMessageBus();
    const sender = await bench.sender(messageBus, { sweepMs: 100 });
    const before = await eventually(async () => {
      const found = await listeners();
      expect(found).toHaveLength(1);
      return found;
    });
    await bench.db.db.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    await eventually(async () => {
      const after = await listeners();
      expect(after).toHaveLength(1);
      expect(after).not.toEqual(before);
    });
    await eventually(() => addMany(sender, 5));
    await eventually(() => allSent(5));
    await sender.broker.stop();
  });

  it("with more messages than a batch, wakes the other replicas", async () => {
    const NEVER_MS = 1_000_000;
    const [busy, idle] = [recordingMessageBus(), recordingMessageBus()];
    // A process that has taken a batch takes no other before its helper has started.
    const helped = Promise.withResolvers<boolean>();
    let batches = 0;
    busy.state.refuses = () => {
      batches += 1;
      return batches === 1 ? false : helped.promise;
    };
    idle.state.refuses = () => {
      helped.resolve(false);
      return false;
    };
    const sender = await bench.sender(busy.messageBus, { sweepMs: NEVER_MS, batch: 2 });
    const helper = await bench.sender(idle.messageBus, { sweepMs: NEVER_MS, batch: 2 });
    await eventually(async () => expect(await listeners()).toHaveLength(2));
    await addMany(sender, 60);
    await eventually(() => allSent(60));
    expect(idle.ids().length).toBeGreaterThan(0);
    expect(new Set([...busy.ids(), ...idle.ids()]).size).toBe(60);
    await Promise.all([sender.broker.stop(), helper.broker.stop()]);
  });

  it("at a stop of the service, publishes the messages of the last requests", async () => {
    const { messageBus, state, ids } = recordingMessageBus();
    state.up = false;
    const sender = await bench.sender(messageBus);
    await addMany(sender, 1_200);
    state.up = true;
    await sender.broker.stop();
    expect(ids()).toHaveLength(1_200);
    await allSent(1_200);
  });

  it("deletes messages published more than seven days ago, and no waiting ones", async () => {
    const { messageBus, state } = recordingMessageBus();
    state.up = false;
    const seeding = await bench.sender(messageBus);
    await addMany(seeding, 3);
    await seeding.broker.stop();
    const [old, young, waiting] = await bench.outboxRows();
    const sentAgo = (id: string | undefined, ageMs: number) =>
      bench.db.db.query("UPDATE outbox SET sent_at = now() - ? * interval '1 ms' WHERE id = ?", [
        ageMs,
        id ?? "",
      ]);
    await sentAgo(old?.id, 7.1 * DAY_MS);
    await sentAgo(young?.id, 6.9 * DAY_MS);
    await bench.db.db.query("UPDATE outbox SET created_at = now() - interval '90 days'");
    const sender = await bench.sender(messageBus);
    await eventually(async () => {
      expect((await bench.outboxRows()).map(({ id }) => id)).toEqual([young?.id, waiting?.id]);
    });
    await sender.broker.stop();
  });
});
