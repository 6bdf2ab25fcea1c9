import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { call } from "../../contracts/actions.ts";
import {
  type DeadLetterDrop,
  type DeadLetterReplay,
  DROP_MAX,
  DROP_SCANNED_MAX,
  REPLAY_MAX,
} from "../../contracts/dead-letters.ts";
import type { Message, NewMessage } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { type Consumer, consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";
import { type PlantedLetters, plantedLetters } from "../support/dead-letters.ts";
import { eventually } from "../support/eventually.ts";
import {
  enter,
  GROUP,
  incoming,
  type MessagingBench,
  messagingBench,
  quickConsumer,
  userDeleted,
} from "../support/messaging.ts";
import { ACQUIRE_TIMEOUT_MS } from "../support/postgres.ts";
import { type TestClaims, testIdentity } from "../support/tokens.ts";

const DAY_MS = 86_400_000;
const identity = testIdentity();
const messageBus = inProcessMessageBus({ groups: [GROUP] });
const broken = new Set<string>();
const told: NewMessage[] = [];

let bench: MessagingBench;
let broker: ServiceBroker;
let con: Consumer;

beforeAll(async () => {
  bench = await messagingBench();
  const db = postgres({
    url: bench.database.url,
    poolSize: 5,
    acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
    name: "test",
  });
  con = consumer({
    postgres: db,
    messageBus,
    group: GROUP,
    limits: quickConsumer,
    outbox: { add: async (_trx, messages) => void told.push(...messages) },
    handlers: {
      "user.deleted": {
        schedule: [],
        async inTransaction(trx, message) {
          if (broken.has(message.id)) throw new Error("broken");
          await enter(trx, message);
        },
      },
    },
  });
  broker = new ServiceBroker({
    nodeID: newId(),
    namespace: newId(),
    logger: false,
    skipProcessEventRegistration: true,
    middlewares: [identity.middleware()],
  });
  broker.createService(identity.service);
  broker.createService({ name: GROUP, mixins: [db.mixin, con.mixin] });
  await broker.start();
});
afterAll(async () => {
  await broker.stop();
  await bench.stop();
});
beforeEach(async () => {
  await bench.db.db.query("TRUNCATE inbox, ledger");
  broken.clear();
  told.length = 0;
});

const as = async (claims: TestClaims = { role: "admin" }) => ({
  meta: { token: await identity.token(claims) },
});
const list = async (limit?: number) =>
  (await call(broker, "orders.deadLetters", limit === undefined ? {} : { limit }, await as())).items;

/** Publishes a message whose handler fails, and waits for its death. */
async function deadLetter(): Promise<{ message: Message; id: string }> {
  const message = incoming(userDeleted());
  broken.add(message.id);
  await messageBus.publish([message]);
  return await eventually(async () => {
    const letter = (await list()).find(({ messageId }) => messageId === message.id);
    if (!letter) throw new Error("not dead yet");
    return { message, id: letter.id };
  });
}

async function quarantine(incomingMessage: unknown): Promise<string> {
  await messageBus.publish([incomingMessage as Message]);
  const [letter] = await list();
  return letter?.id ?? "";
}

describe("deadLetters", () => {
  it("lists dead letters and quarantined messages, the latest first", async () => {
    const { message, id } = await deadLetter();
    const aside = { ...incoming(userDeleted()), dataschema: "urn:waybill:message:user.deleted:9" };
    await quarantine(aside);
    const found = await list();
    expect(found).toEqual([
      expect.objectContaining({
        messageId: aside.id,
        attempts: 0,
        error: expect.stringContaining("unknown version"),
      }),
      {
        id,
        service: GROUP,
        consumer: GROUP,
        messageId: message.id,
        type: "user.deleted",
        subject: message.subject,
        attempts: 1,
        error: "broken",
        at: expect.stringMatching(/Z$/),
      },
    ]);
    expect(await list(1)).toEqual(found.slice(0, 1));
    const { items } = await call(broker, "orders.undelivered", { subject: message.subject }, await as());
    expect(items).toEqual([
      {
        ...{ messageId: message.id, type: "user.deleted", attempts: 1, error: "broken" },
        ...{ service: "orders", place: "inbox", consumer: GROUP, state: "dead", deadLetterId: id },
        since: expect.stringMatching(/Z$/),
      },
    ]);
  });

  it.each([
    "deadLetters",
    "replayDeadLetter",
    "replayDeadLetters",
    "dropDeadLetter",
    "dropDeadLetters",
  ] as const)("%s, without a token or as any other role than admin, is refused", async (name) => {
    const { id } = await deadLetter();
    const ask = (options: object) =>
      name === "deadLetters" || name === "dropDeadLetters" || name === "replayDeadLetters"
        ? call(broker, `orders.${name}`, {}, options)
        : call(broker, `orders.${name}`, { id }, options);
    await expect(ask({})).rejects.toMatchObject({ type: "UNAUTHENTICATED" });
    for (const role of ["customer", "deliverer", "partner"] as const) {
      await expect(ask(await as({ role, partnerId: newId() }))).rejects.toMatchObject({
        type: "FORBIDDEN",
      });
    }
    expect(await list()).toHaveLength(1);
  });
});

describe("replayDeadLetter", () => {
  it("of a message with a repaired handler, has its effect once, and a repeat changes nothing", async () => {
    const { message, id } = await deadLetter();
    broken.clear();
    await call(broker, "orders.replayDeadLetter", { id }, await as());
    await eventually(async () => expect(await bench.ledger()).toMatchObject([{ messageId: message.id }]));
    await call(broker, "orders.replayDeadLetter", { id }, await as());
    expect(await list()).toEqual([]);
    expect(await bench.ledger()).toHaveLength(1);
    expect((await bench.inboxRows())[0]).toMatchObject({ state: "done", attempts: 1 });
  });

  it("of a message that fails again, leaves the same dead letter", async () => {
    const { id } = await deadLetter();
    await bench.db.db.query("UPDATE inbox SET error = 'earlier'");
    await call(broker, "orders.replayDeadLetter", { id }, await as());
    await eventually(async () => expect(await list()).toMatchObject([{ id, error: "broken" }]));
  });

  it("of a message that was quarantined for its age, is handled", async () => {
    const old = incoming(userDeleted(), Date.now() - 30 * DAY_MS);
    const id = await quarantine(old);
    await call(broker, "orders.replayDeadLetter", { id }, await as());
    await eventually(async () => expect(await bench.ledger()).toMatchObject([{ messageId: old.id }]));
  });

  it("of a message that is still unreadable, is refused and keeps it", async () => {
    const id = await quarantine({ ...incoming(userDeleted()), data: { version: 1 } });
    const replaying = call(broker, "orders.replayDeadLetter", { id }, await as());
    await expect(replaying).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    expect(await list()).toMatchObject([{ id }]);
  });

  it("of an unknown id, is NOT_FOUND", async () => {
    const asking = call(broker, "orders.replayDeadLetter", { id: newId() }, await as());
    await expect(asking).rejects.toMatchObject({ type: "NOT_FOUND" });
  });
});

describe("dropDeadLetter", () => {
  it("removes it from the list without its effect, and a repeat of the message is not handled", async () => {
    const { message, id } = await deadLetter();
    broken.clear();
    await call(broker, "orders.dropDeadLetter", { id }, await as());
    await call(broker, "orders.dropDeadLetter", { id }, await as());
    await messageBus.publish([message]);
    const other = incoming(userDeleted());
    await messageBus.publish([other]);
    await eventually(async () => expect(await bench.ledger()).toMatchObject([{ messageId: other.id }]));
    expect(await list()).toEqual([]);
    expect((await bench.inboxRows()).map(({ state }) => state).sort()).toEqual(["done", "dropped"]);
  });

  it("and a replay are recorded in the audit log with the admin, and a refusal is not", async () => {
    const { id } = await deadLetter();
    const operator = newId();
    const meta = await as({ role: "admin", id: operator });
    await expect(call(broker, "orders.dropDeadLetter", { id: newId() }, meta)).rejects.toBeDefined();
    await call(broker, "orders.replayDeadLetter", { id }, meta);
    await call(broker, "orders.dropDeadLetter", { id }, meta);
    expect(told.map(({ type, subject, data }) => ({ type, subject, data }))).toEqual(
      ["orders.replayDeadLetter", "orders.dropDeadLetter"].map((action) => ({
        type: "audit.recorded",
        subject: id,
        data: { version: 1, actorId: operator, action, subject: id },
      })),
    );
  });

  it("of an unknown id, is NOT_FOUND", async () => {
    const asking = call(broker, "orders.dropDeadLetter", { id: newId() }, await as());
    await expect(asking).rejects.toMatchObject({ type: "NOT_FOUND" });
  });
});

describe("dropDeadLetters", () => {
  const plant = (planted: Partial<PlantedLetters>) =>
    bench.db.db.query(plantedLetters({ consumer: GROUP, ...planted }));
  const drop = async (filter: DeadLetterDrop = {}) =>
    await call(broker, "orders.dropDeadLetters", filter, await as());
  const states = async () => Object.groupBy(await bench.inboxRows(), ({ state }) => state);

  it("by an invalid time, is refused by its field; the 30th of February is the 2nd of March", async () => {
    await plant({ type: "user.deleted", at: "'2026-03-01T12:00:00Z'" });
    for (const before of ["0000-00-00T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T25:61:00Z"]) {
      await expect(drop({ before })).rejects.toMatchObject({
        type: "VALIDATION_ERROR",
        data: { errors: [{ field: "before", rule: "time" }] },
      });
    }
    expect(await drop({ before: "2026-02-30T00:00:00Z" })).toEqual({ dropped: 1, left: 0 });
  });

  it.each<[what: string, filter: DeadLetterDrop]>([
    ["a type", { type: "user.deleted" }],
    ["a consumer", { consumer: "gone" }],
    ["a part of the error", { reason: "smtp 100%_away" }],
    ["an age", { before: "2026-01-01T00:00:00Z" }],
    [
      "all of them at once",
      { type: "order.paid", consumer: GROUP, reason: "off", before: "2026-01-02T00:00:00Z" },
    ],
  ])("by %s, drops what matches and nothing else", async (_, filter) => {
    await plant({ type: "user.deleted" });
    await plant({ type: "user.updated", consumer: "gone" });
    await plant({ type: "user.updated", error: "the smtp 100%_away again" });
    await plant({ type: "user.updated", at: "'2025-12-31T23:59:59Z'" });
    await plant({
      type: "order.paid",
      error: "switched off",
      at: "'2026-01-01T12:00:00Z'",
      state: "quarantined",
    });
    expect(await drop({ ...filter, limit: 0 })).toEqual({ dropped: 0, left: 1 });
    expect(await list()).toHaveLength(5);
    expect(await drop(filter)).toEqual({ dropped: 1, left: 0 });
    expect(await list()).toHaveLength(4);
    expect(await drop(filter)).toEqual({ dropped: 0, left: 0 });
  });

  it("by a partner, drops no message of an inbox, which has no partner", async () => {
    await plant({});
    expect(await drop({ partnerId: newId() })).toEqual({ dropped: 0, left: 0 });
  });

  it("drops no message that waits or has been handled", async () => {
    for (const state of ["waiting", "done", "dropped"] as const) await plant({ state, type: "held.back" });
    await plant({});
    expect(await drop()).toEqual({ dropped: 1, left: 0 });
    const now = await states();
    expect([now.waiting?.length, now.done?.length, now.dropped?.length]).toEqual([1, 1, 2]);
  });

  it("skips a dead letter that is being replayed, without waiting for it", async () => {
    await plant({ count: 2 });
    const [{ id } = { id: "" }] = await list(1);
    const replaying = await bench.db.db.begin();
    await replaying.query(
      "UPDATE inbox SET state = 'waiting', next_at = now() + interval '1 hour' WHERE dead_letter_id = ?",
      [id],
    );
    expect(await drop()).toEqual({ dropped: 1, left: 1 });
    await replaying.commit();
    expect(await drop()).toEqual({ dropped: 0, left: 0 });
    expect((await states()).waiting).toMatchObject([{ deadLetterId: id }]);
  });

  it(`drops ${DROP_MAX} at most with one call, the oldest first, and reports the rest to the caller and the audit log`, async () => {
    await plant({ count: DROP_MAX + 2, type: "order.paid" });
    const newest = (await list(1))[0]?.id ?? "";
    const operator = newId();
    const meta = await as({ role: "admin", id: operator });
    const filter = { type: "order.paid", reason: "broken" };
    const dropping = (limit?: number) =>
      call(broker, "orders.dropDeadLetters", { ...filter, ...(limit !== undefined && { limit }) }, meta);
    expect(await dropping()).toEqual({ dropped: DROP_MAX, left: 2 });
    expect(await dropping(1)).toEqual({ dropped: 1, left: 1 });
    expect(await list()).toMatchObject([{ id: newest }]);
    expect(await dropping()).toEqual({ dropped: 1, left: 0 });
    expect(await dropping()).toEqual({ dropped: 0, left: 0 });
    await expect(dropping(DROP_MAX + 1)).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    const said = [`${DROP_MAX} dropped, 2 left`, "1 dropped, 1 left", "1 dropped, 0 left"];
    expect(told.map(({ type, data }) => ({ type, data }))).toEqual(
      said.map((count) => ({
        type: "audit.recorded",
        data: {
          ...{ version: 1, actorId: operator, action: "orders.dropDeadLetters", subject: GROUP },
          detail: `${count} of type=order.paid, reason=broken`,
        },
      })),
    );
    await plant({ count: 1, type: "order.paid" });
    await call(broker, "orders.dropDeadLetters", {}, meta);
    expect(told.at(-1)).toMatchObject({ data: { detail: "1 dropped, 0 left of all" } });
  });

  it(`reads ${DROP_SCANNED_MAX} dead letters with one call, and continues where it ended`, async () => {
    const parts = 10; // each within the time limit of a statement on a busy machine
    for (let part = 0; part < parts; part++) await plant({ count: DROP_SCANNED_MAX / parts });
    await plant({ type: "order.paid" });
    const first = await drop({ type: "order.paid" });
    expect(first).toEqual({ dropped: 0, left: 0, nextCursor: expect.any(String) });
    const counted = { dropped: 0, left: DROP_SCANNED_MAX, nextCursor: first.nextCursor };
    expect(await drop({ limit: 0 })).toEqual(counted);
    const rest = { type: "order.paid", cursor: first.nextCursor as string };
    expect(await drop(rest)).toEqual({ dropped: 1, left: 0 });
  });
});

describe("replayDeadLetters", () => {
  const plant = (planted: Partial<PlantedLetters>) =>
    bench.db.db.query(plantedLetters({ consumer: "other", ...planted }));
  const replay = async (filter: DeadLetterReplay = {}, claims?: TestClaims) =>
    await call(broker, "orders.replayDeadLetters", filter, await as(claims));
  const waiting = async () => (await bench.inboxRows()).filter(({ state }) => state === "waiting");

  it("delivers all that match again, and the effect happens", async () => {
    const [first, second] = [await deadLetter(), await deadLetter()];
    await plant({ count: 1 });
    broken.clear();
    expect(await replay({ consumer: GROUP })).toEqual({ replayed: 2, refused: [], left: 0 });
    await eventually(async () => {
      const done = (await bench.ledger()).map(({ messageId }) => messageId);
      expect(done.sort()).toEqual([first.message.id, second.message.id].sort());
    });
    expect(await list()).toMatchObject([{ consumer: "other" }]);
  });

  it("replays the oldest first, up to the limit, and continues at the cursor; 0 only counts", async () => {
    await plant({ count: 5, type: "order.paid" });
    const ids = (await list()).map(({ id }) => id).reverse();
    const filter = { type: "order.paid", reason: "broken" };
    expect(await replay({ ...filter, limit: 0 })).toEqual({ replayed: 0, refused: [], left: 5 });
    const first = await replay({ ...filter, limit: 2 });
    expect(first).toEqual({ replayed: 2, refused: [], left: 3, nextCursor: ids[1] });
    expect((await waiting()).map(({ deadLetterId }) => deadLetterId).sort()).toEqual(ids.slice(0, 2));
    expect(await replay({ ...filter, cursor: ids[1] as string })).toEqual({
      ...{ replayed: 3, refused: [], left: 0 },
    });
    for (const limit of [REPLAY_MAX + 1, -1]) {
      await expect(replay({ limit })).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    }
  });

  it("names those that cannot be replayed, replays the others, and does not try them again", async () => {
    const id = await quarantine({
      ...incoming(userDeleted()),
      dataschema: "urn:waybill:message:user.deleted:9",
    });
    await plant({ count: 2 });
    const first = await replay({ limit: 1 });
    const refused = [{ id, reason: expect.stringContaining("cannot be understood") }];
    expect(first).toEqual({ replayed: 0, refused, left: 2, nextCursor: id });
    expect(await replay({ cursor: id })).toEqual({ replayed: 2, refused: [], left: 0 });
    expect(await list()).toMatchObject([{ id }]);
  });

  it("records the filter and the numbers in the audit log, once for each call that replayed any", async () => {
    await plant({ count: 3, type: "order.paid" });
    const id = newId();
    await replay({ type: "order.ready" }, { role: "admin", id });
    await replay({ type: "order.paid", limit: 2 }, { role: "admin", id });
    expect(told).toMatchObject([
      {
        data: {
          ...{ actorId: id, action: "orders.replayDeadLetters", subject: GROUP },
          detail: "2 replayed, 0 refused, 1 left of type=order.paid",
        },
      },
    ]);
  });
});
