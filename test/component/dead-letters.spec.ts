import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { call } from "../../contracts/actions.ts";
import type { Message, NewMessage } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { type Consumer, consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { inProcessCarrier } from "../../providers/carrier/index.ts";
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
const carrier = inProcessCarrier({ groups: [GROUP] });
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
    carrier,
    group: GROUP,
    limits: quickConsumer,
    outbox: { add: async (_trx, messages) => void told.push(...messages) },
    handlers: {
      "user.deleted": {
        schedule: [],
        async apply(trx, message) {
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
  await bench.db.db.raw("TRUNCATE inbox, ledger");
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
  await carrier.publish([message]);
  return await eventually(async () => {
    const letter = (await list()).find(({ messageId }) => messageId === message.id);
    if (!letter) throw new Error("not dead yet");
    return { message, id: letter.id };
  });
}

async function quarantine(incomingMessage: unknown): Promise<string> {
  await carrier.publish([incomingMessage as Message]);
  const [letter] = await list();
  return letter?.id ?? "";
}

describe("deadLetters", () => {
  it("lists what died and what was put aside, the latest first", async () => {
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
    expect(await con.undelivered(message.subject)).toEqual([
      { messageId: message.id, type: "user.deleted", attempts: 1, error: "broken" },
    ]);
  });

  it.each(["deadLetters", "replayDeadLetter", "dropDeadLetter"] as const)(
    "%s, without a token or as anybody but an admin, is refused",
    async (name) => {
      const { id } = await deadLetter();
      const ask = (options: object) =>
        name === "deadLetters"
          ? call(broker, "orders.deadLetters", {}, options)
          : call(broker, `orders.${name}`, { id }, options);
      await expect(ask({})).rejects.toMatchObject({ type: "UNAUTHENTICATED" });
      for (const role of ["customer", "deliverer", "partner"] as const) {
        await expect(ask(await as({ role, partnerId: newId() }))).rejects.toMatchObject({
          type: "FORBIDDEN",
        });
      }
      expect(await list()).toHaveLength(1);
    },
  );
});

describe("replayDeadLetter", () => {
  it("of a message whose handler is mended, has its effect once, and a repeat changes nothing", async () => {
    const { message, id } = await deadLetter();
    broken.clear();
    await call(broker, "orders.replayDeadLetter", { id }, await as());
    await eventually(async () => expect(await bench.ledger()).toMatchObject([{ messageId: message.id }]));
    await call(broker, "orders.replayDeadLetter", { id }, await as());
    expect(await list()).toEqual([]);
    expect(await bench.ledger()).toHaveLength(1);
    expect((await bench.inboxRows())[0]).toMatchObject({ state: "done", attempts: 1 });
  });

  it("of a message that fails again, is the same dead letter again", async () => {
    const { id } = await deadLetter();
    await bench.db.db.raw("UPDATE inbox SET error = 'earlier'");
    await call(broker, "orders.replayDeadLetter", { id }, await as());
    await eventually(async () => expect(await list()).toMatchObject([{ id, error: "broken" }]));
  });

  it("of a message that was put aside for its age, believes the human", async () => {
    const old = incoming(userDeleted(), Date.now() - 30 * DAY_MS);
    const id = await quarantine(old);
    await call(broker, "orders.replayDeadLetter", { id }, await as());
    await eventually(async () => expect(await bench.ledger()).toMatchObject([{ messageId: old.id }]));
  });

  it("of a message that still cannot be understood, is refused and keeps it", async () => {
    const id = await quarantine({ ...incoming(userDeleted()), data: { version: 1 } });
    const replaying = call(broker, "orders.replayDeadLetter", { id }, await as());
    await expect(replaying).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    expect(await list()).toMatchObject([{ id }]);
  });

  it("of what is no dead letter, is not found", async () => {
    const asking = call(broker, "orders.replayDeadLetter", { id: newId() }, await as());
    await expect(asking).rejects.toMatchObject({ type: "NOT_FOUND" });
  });
});

describe("dropDeadLetter", () => {
  it("takes it off the list without its effect, and remembers it, so that a repeat is not handled", async () => {
    const { message, id } = await deadLetter();
    broken.clear();
    await call(broker, "orders.dropDeadLetter", { id }, await as());
    await call(broker, "orders.dropDeadLetter", { id }, await as());
    await carrier.publish([message]);
    const other = incoming(userDeleted());
    await carrier.publish([other]);
    await eventually(async () => expect(await bench.ledger()).toMatchObject([{ messageId: other.id }]));
    expect(await list()).toEqual([]);
    expect((await bench.inboxRows()).map(({ state }) => state).sort()).toEqual(["done", "dropped"]);
  });

  it("and a replay are told to the audit log with who did it, and a refusal is not", async () => {
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

  it("of what is no dead letter, is not found", async () => {
    const asking = call(broker, "orders.dropDeadLetter", { id: newId() }, await as());
    await expect(asking).rejects.toMatchObject({ type: "NOT_FOUND" });
  });
});
