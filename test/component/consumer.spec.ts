import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { Message } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { consumer, type HandlerError, type Handlers } from "../../mixins/consumer/consumer.mixin.ts";
import { rows } from "../../mixins/postgres/database.ts";
import { type Carrier, inProcessCarrier } from "../../providers/carrier/index.ts";
import { eventually } from "../support/eventually.ts";
import {
  enter,
  GROUP,
  incoming,
  type MessagingBench,
  messagingBench,
  notificationSent,
  userDeleted,
} from "../support/messaging.ts";

const DAY_MS = 86_400_000;
/** A second is promised; another is for a machine that runs other tests beside this one. */
const OTHERS_MS = 2_000;
/** Cuts every connection to this database but the one that says it. */
const CUT = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid()`;

let bench: MessagingBench;
let carrier: Carrier;
beforeAll(async () => {
  bench = await messagingBench();
});
afterAll(() => bench.stop());
beforeEach(async () => {
  carrier = inProcessCarrier({ groups: [GROUP] });
  await bench.db.db.raw("TRUNCATE inbox, ledger");
});

const entering: Handlers = { "user.deleted": { apply: (trx, message) => enter(trx, message) } };
const many = (count: number) => Array.from({ length: count }, () => incoming(userDeleted()));
const publish = (...messages: unknown[]) => carrier.publish(messages as Message[]);
const oneRow = async () => (await bench.inboxRows())[0];
const effectsOnce = async (messages: readonly Message[]) => {
  const effects = (await bench.ledger()).map(({ messageId }) => messageId).sort();
  expect(effects).toEqual(messages.map(({ id }) => id).sort());
};

describe("a consumer's apply", () => {
  it("commits its effect with the row's state, and the row is what the carrier's accept wrote", async () => {
    const { broker } = await bench.receiver(carrier, entering);
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

  it("of a message that comes again and again, has its effect once", async () => {
    const { broker } = await bench.receiver(carrier, entering);
    const message = incoming(userDeleted());
    await Promise.all([publish(message, message), publish(message), publish(message)]);
    await eventually(() => effectsOnce([message]));
    await publish(message);
    const last = incoming(userDeleted());
    await publish(last);
    await eventually(() => effectsOnce([message, last]));
    await broker.stop();
  });

  it("that fails, leaves no effect, comes again and is dead after five deliveries with its error", async () => {
    let deliveries = 0;
    const { broker, con } = await bench.receiver(carrier, {
      "user.deleted": {
        async apply(trx, message) {
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
    expect(await bench.ledger()).toEqual([]);
    expect(await con.stats()).toEqual({ waiting: 0, deadLetters: 1, oldestAgeMs: 0 });
    await broker.stop();
  });

  it("that fails and then succeeds, is done and keeps no error", async () => {
    let deliveries = 0;
    const { broker } = await bench.receiver(carrier, {
      "user.deleted": {
        async apply(trx, message) {
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

  it("that says `permanent`, is dead at once", async () => {
    const { broker } = await bench.receiver(carrier, {
      "user.deleted": {
        apply: () => Promise.reject(Object.assign(new Error("gone for good"), { permanent: true })),
      },
    });
    await publish(incoming(userDeleted()));
    await eventually(async () => expect(await oneRow()).toMatchObject({ state: "dead", attempts: 1 }));
    await broker.stop();
  });

  it("with a schedule of its own, is delivered once more than there are waits", async () => {
    let deliveries = 0;
    const { broker } = await bench.receiver(carrier, {
      "user.deleted": {
        schedule: [10, 10],
        async apply() {
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

  it("whose error says when to come again, waits at least so long", async () => {
    const error: HandlerError = Object.assign(new Error("busy"), { retryAfterMs: 3_600_000 });
    const { broker } = await bench.receiver(carrier, {
      "user.deleted": { apply: () => Promise.reject(error) },
    });
    await publish(incoming(userDeleted()));
    await eventually(async () => expect(await oneRow()).toMatchObject({ attempts: 1, error: "busy" }));
    const [{ waitMs } = { waitMs: 0 }] = await rows<{ waitMs: number }>(
      bench.db.db,
      "SELECT extract(epoch FROM next_at - now())::integer * 1000 AS wait_ms FROM inbox",
    );
    expect(waitMs).toBeGreaterThan(3_500_000);
    await broker.stop();
  });

  it("that gives up, commits what its `dead` does with the death, and tries that again when it fails", async () => {
    let asked = 0;
    const { broker } = await bench.receiver(carrier, {
      "user.deleted": {
        schedule: [],
        apply: () => Promise.reject(new Error("no")),
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
    expect(await bench.ledger()).toEqual([{ messageId: message.id, subject: message.subject, madeBy: "no" }]);
    expect(asked).toBe(2);
    await broker.stop();
  });

  it("marked `together`, of a thousand messages with a bad one among them, has every other effect once", async () => {
    const messages = many(1_000);
    const bad = messages[500]?.id;
    const { broker } = await bench.receiver(carrier, {
      "user.deleted": {
        together: true,
        schedule: [],
        async apply(trx, message) {
          await enter(trx, message);
          if (message.id === bad) throw new Error("bad apple");
        },
      },
    });
    await publish(...messages);
    await eventually(() => effectsOnce(messages.filter(({ id }) => id !== bad)));
    const states = (await bench.inboxRows()).filter(({ state }) => state !== "done");
    expect(states).toMatchObject([{ messageId: bad, state: "dead", error: "bad apple" }]);
    await broker.stop();
  });
});

describe("a consumer's perform", () => {
  it("runs outside any transaction, and what it returns is committed with the row's state", async () => {
    const { broker, db } = await bench.receiver(carrier, {
      "notification.sent": {
        async perform(message, lease) {
          const open = await rows(
            db.db,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in tr%'",
          );
          expect(open).toEqual([]);
          expect(lease).toMatchObject({ attempt: 1, last: false });
          return (trx) => enter(trx, message);
        },
      },
    });
    const message = incoming(notificationSent());
    await publish(message);
    await eventually(async () => expect(await oneRow()).toMatchObject({ state: "done" }));
    await effectsOnce([message]);
    await broker.stop();
  });

  it("whose database is away when the outside has answered, commits when it is back, without a second call", async () => {
    let calls = 0;
    const { broker } = await bench.receiver(
      carrier,
      {
        "notification.sent": {
          async perform(message) {
            calls += 1;
            await bench.db.db.raw(CUT);
            return (trx) => enter(trx, message);
          },
        },
      },
      { sweepMs: 1_000_000, renewMs: 1_000_000, leaseMs: 60_000 },
    );
    const message = incoming(notificationSent());
    await publish(message);
    await eventually(() => effectsOnce([message]));
    expect(calls).toBe(1);
    expect(await oneRow()).toMatchObject({ state: "done", attempts: 1 });
    await broker.stop();
  });

  it("that takes longer than its lease, keeps it, so that no other replica begins the work", async () => {
    let begun = 0;
    const handlers: Handlers = {
      "notification.sent": {
        async perform(message) {
          begun += 1;
          await new Promise((resolve) => setTimeout(resolve, 1_500)); // the work of this test is to be slow
          return (trx) => enter(trx, message);
        },
      },
    };
    const replicas = [await bench.receiver(carrier, handlers), await bench.receiver(carrier, handlers)];
    const message = incoming(notificationSent());
    await publish(message);
    await eventually(() => effectsOnce([message]));
    expect(begun).toBe(1);
    await Promise.all(replicas.map(({ broker }) => broker.stop()));
  });

  it("whose lease was lost, hears of it and commits nothing", async () => {
    let begun = 0;
    let aborted = 0;
    const { broker } = await bench.receiver(carrier, {
      "notification.sent": {
        async perform(message, { signal }) {
          begun += 1;
          const mine = `try ${begun}`;
          if (begun === 1) {
            await bench.db.db.raw("UPDATE inbox SET lease_token = ?, next_at = now() + interval '300 ms'", [
              newId(),
            ]);
            await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
            aborted += 1;
          }
          return (trx) => enter(trx, message, mine);
        },
      },
    });
    await publish(incoming(notificationSent()));
    await eventually(async () => expect(await oneRow()).toMatchObject({ state: "done" }));
    expect(await bench.ledger()).toMatchObject([{ madeBy: "try 2" }]);
    expect({ begun, aborted }).toEqual({ begun: 2, aborted: 1 });
    await broker.stop();
  });

  it("that never ends, is told to stop and counts as failed", async () => {
    let told: unknown;
    const { broker } = await bench.receiver(
      carrier,
      {
        "notification.sent": {
          schedule: [],
          perform: (_message, { signal }) =>
            new Promise((_resolve) => {
              signal.addEventListener("abort", () => {
                told = signal.reason;
              });
            }),
        },
      },
      { deliveryMs: 100 },
    );
    await publish(incoming(notificationSent()));
    await eventually(async () =>
      expect(await oneRow()).toMatchObject({ state: "dead", error: expect.stringContaining("100 ms") }),
    );
    expect(String(told)).toContain("100 ms");
    await broker.stop();
  });

  it("that hangs on every slot, holds up no effect in the database", async () => {
    const { broker } = await bench.receiver(
      carrier,
      {
        ...entering,
        "notification.sent": { perform: () => new Promise(() => undefined) },
      },
      { performConcurrency: 2, drainMs: 50 },
    );
    await publish(...[1, 2, 3, 4].map(() => incoming(notificationSent())));
    const message = incoming(userDeleted());
    await publish(message);
    await eventually(() => effectsOnce([message]), { timeoutMs: OTHERS_MS });
    await broker.stop();
    const given = (await bench.inboxRows()).filter(({ type }) => type === "notification.sent");
    expect(given.map(({ state, leaseToken }) => [state, leaseToken])).toEqual(
      Array.from({ length: 4 }, () => ["waiting", undefined]),
    );
  });
});

describe("an inbox", () => {
  it("with poison among a hundred messages, has the others' effects without delay", async () => {
    const messages = many(100);
    const poison = new Set(messages.filter((_, i) => i % 10 === 0).map(({ id }) => id));
    const { broker } = await bench.receiver(carrier, {
      "user.deleted": {
        async apply(trx, message) {
          if (poison.has(message.id)) throw new Error("poison");
          await enter(trx, message);
        },
      },
    });
    await publish(...messages);
    await eventually(() => effectsOnce(messages.filter(({ id }) => !poison.has(id))), {
      timeoutMs: OTHERS_MS,
    });
    await eventually(async () => {
      const dead = (await bench.inboxRows()).filter(({ state }) => state === "dead");
      expect(new Set(dead.map(({ messageId }) => messageId))).toEqual(poison);
    });
    await broker.stop();
  });

  it("told what it cannot read, puts that aside with the reason and takes the rest", async () => {
    const { broker, con } = await bench.receiver(carrier, entering);
    const sound = many(2);
    const strange = [
      { ...incoming(userDeleted()), dataschema: "urn:waybill:message:user.deleted:2" },
      { ...incoming(userDeleted()), data: { version: 1, userId: "\0" } },
      { ...incoming(userDeleted()), data: { junk: "x".repeat(300_000) } },
      incoming(userDeleted(), Date.now() - 20 * DAY_MS),
    ];
    await publish(sound[0], ...strange, sound[1]);
    await publish(...strange);
    await eventually(() => effectsOnce(sound));
    const aside = (await bench.inboxRows()).filter(({ state }) => state === "quarantined");
    expect(aside.map(({ error }) => error).sort()).toEqual([
      "contains a NUL or a lone surrogate",
      "older than the inbox remembers",
      expect.stringContaining("too large"),
      expect.stringContaining("unknown version"),
    ]);
    expect(await con.stats()).toMatchObject({ waiting: 0, deadLetters: 4 });
    await broker.stop();
  });

  it("worked on by three replicas, has each effect once, and more than one of them worked", async () => {
    const replicas = await Promise.all(
      ["a", "b", "c"].map((name) =>
        bench.receiver(
          carrier,
          { "user.deleted": { apply: (trx, message) => enter(trx, message, name) } },
          { applyClaims: 8 },
        ),
      ),
    );
    const messages = many(300);
    await Promise.all([publish(...messages.slice(0, 200)), publish(...messages.slice(100))]);
    await eventually(() => effectsOnce(messages));
    expect(new Set((await bench.ledger()).map(({ madeBy }) => madeBy)).size).toBeGreaterThan(1);
    await Promise.all(replicas.map(({ broker }) => broker.stop()));
  });

  it("with more than it claims at once, calls the other replicas", async () => {
    const slow = (name: string): Handlers => ({
      "user.deleted": {
        async apply(trx, message) {
          await trx.raw("SELECT pg_sleep(0.01)");
          await enter(trx, message, name);
        },
      },
    });
    const limits = { sweepMs: 1_000_000, applyClaims: 4 };
    const replicas = [
      await bench.receiver(carrier, slow("a"), limits),
      await bench.receiver(carrier, slow("b"), limits),
    ];
    await eventually(async () => {
      const listening = await rows(
        bench.db.db,
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'",
      );
      expect(listening).toHaveLength(2);
    });
    const messages = many(60);
    await publish(...messages);
    await eventually(() => effectsOnce(messages));
    expect(new Set((await bench.ledger()).map(({ madeBy }) => madeBy)).size).toBe(2);
    await Promise.all(replicas.map(({ broker }) => broker.stop()));
  });

  it("while its database refuses, makes the carrier refuse too, so that the sender keeps the message", async () => {
    const { broker } = await bench.receiver(carrier, entering);
    await bench.db.db.raw("ALTER TABLE inbox RENAME TO inbox_away");
    const message = incoming(userDeleted());
    await expect(publish(message)).rejects.toThrow(GROUP);
    await bench.db.db.raw("ALTER TABLE inbox_away RENAME TO inbox");
    await publish(message);
    await eventually(() => effectsOnce([message]));
    await broker.stop();
  });

  it("whose every connection is cut in the middle of the work, has each effect once", async () => {
    let entered = 0;
    const { broker } = await bench.receiver(carrier, {
      "user.deleted": {
        async apply(trx, message) {
          await enter(trx, message);
          entered += 1;
          if (entered === 20) {
            await bench.db.db.raw(CUT);
          }
        },
      },
    });
    const messages = many(100);
    await publish(...messages);
    await eventually(() => effectsOnce(messages));
    await broker.stop();
  });

  it("whose service stops in the middle of a heap, gives back what it has not begun, uncounted", async () => {
    let begun = 0;
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const { broker } = await bench.receiver(carrier, {
      "user.deleted": {
        async apply(trx, message) {
          begun += 1;
          await gate;
          await enter(trx, message);
        },
      },
    });
    await publish(...many(20));
    await eventually(() => expect(begun).toBe(4));
    const stopping = broker.stop();
    await eventually(async () => {
      const back = (await bench.inboxRows()).filter(({ leaseToken }) => !leaseToken);
      expect(back).toHaveLength(16);
      expect(back.every(({ attempts, state }) => attempts === 0 && state === "waiting")).toBe(true);
    });
    open();
    await stopping;
    expect(await bench.ledger()).toHaveLength(4);
    expect((await bench.inboxRows()).filter(({ state }) => state === "done")).toHaveLength(4);
  });

  it("forgets what is over after fourteen days, and never a dead letter", async () => {
    const { broker } = await bench.receiver(carrier, {
      ...entering,
      "notification.sent": { schedule: [], perform: () => Promise.reject(new Error("no")) },
    });
    const [old, young] = many(2);
    await publish(old, young, incoming(notificationSent()));
    await eventually(async () => {
      const states = (await bench.inboxRows()).map(({ state }) => state).sort();
      expect(states).toEqual(["dead", "done", "done"]);
    });
    const ancient = newId(Date.now() - 14.1 * DAY_MS);
    await bench.db.db.raw("UPDATE inbox SET message_id = ? WHERE message_id = ?", [ancient, old?.id ?? ""]);
    await bench.db.db.raw("UPDATE inbox SET message_id = ? WHERE state = 'dead'", [
      newId(Date.now() - 90 * DAY_MS),
    ]);
    await broker.stop();
    const again = await bench.receiver(carrier, entering);
    await eventually(async () => {
      const left = (await bench.inboxRows()).map(({ state, messageId }) => [state, messageId]);
      expect(left).toEqual([
        ["dead", expect.any(String)],
        ["done", young?.id],
      ]);
    });
    await again.broker.stop();
  });

  it("that would forget before the outboxes do, refuses to be built", () => {
    const build = () =>
      consumer({
        postgres: bench.db,
        carrier,
        group: GROUP,
        handlers: entering,
        limits: { retentionMs: 7 * DAY_MS },
      });
    expect(build).toThrow("must outlast");
  });
});
