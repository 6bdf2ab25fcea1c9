import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import {
  AckPolicy,
  type ConsumerInfo,
  connect,
  createInbox,
  type JetStreamManager,
  type NatsConnection,
  nanos,
  type StoredMsg,
} from "nats";
import type { Message } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { messageBusConformance } from "../../providers/message-bus/conformance.ts";
import { jetStreamMessageBus } from "../../providers/message-bus/jetstream.ts";
import { natsOptions } from "../../providers/message-bus/nats-options.ts";
import { type NatsServer, startNats } from "../servers/nats.ts";
import { eventually } from "../support/eventually.ts";
import { incoming, userDeleted } from "../support/messaging.ts";
import { messageBuses } from "../support/nats.ts";

const GROUP = "kitchen";
const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/** Within this time another member receives the messages of a killed one. */
const TAKEN_OVER_MS = 15_000;

let server: NatsServer;
let net: ReturnType<typeof messageBuses>;
let admin: NatsConnection;
let manager: JetStreamManager;
beforeAll(async () => {
  server = await startNats();
});
beforeEach(async () => {
  net = messageBuses(server);
  admin = await connect({ servers: server.url });
  manager = await admin.jetstreamManager();
});
afterEach(async () => {
  await net.close();
  await admin.close();
});
afterAll(() => server.remove());

const some = (count: number): Message[] => Array.from({ length: count }, () => incoming(userDeleted()));
const stream = async () => (await manager.streams.info(net.stream)).state;
const cursor = (): Promise<ConsumerInfo> => manager.consumers.info(net.stream, GROUP);

/** A member of the group whose inbox is a list. */
async function member(before: () => Promise<void> | void = () => undefined, messageBus = net.connect()) {
  const inbox: unknown[] = [];
  const unsubscribe = await messageBus.subscribe(GROUP, ["user.deleted"], async (messages) => {
    await before();
    inbox.push(...messages);
  });
  const ids = () => inbox.map((message) => (message as Message).id);
  return { messageBus, inbox, ids, unsubscribe };
}

/** A member of a group that acknowledges nothing. @returns the subjects of what it is handed, from then on */
async function silentMember(group: string, batch: number, connection = admin): Promise<string[]> {
  const handed: string[] = [];
  const reply = createInbox();
  connection.subscribe(reply, { callback: (_, { subject }) => void handed.push(subject) });
  const wish = JSON.stringify({ batch, expires: nanos(60_000) });
  connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${net.stream}.${group}`, wish, { reply });
  await connection.flush();
  return handed;
}

describe("message bus on JetStream", () => {
  messageBusConformance(async () => {
    const namespace = `t-${newId()}`; // a stream of its own for each test
    return {
      connect: async () => jetStreamMessageBus({ nats: natsOptions({ NATS_URL: server.url }), namespace }),
      stop: async () => undefined,
    };
  });

  it("creates the stream with the settings that the promises need", async () => {
    const messageBus = net.connect({ limits: { maxBytes: 64_000_000 } });
    await eventually(async () => expect(await messageBus.ready()).toBe(true));
    const { config } = await manager.streams.info(net.stream);
    expect(config).toMatchObject({
      subjects: [`${net.namespace}.>`],
      storage: "file",
      retention: "limits",
      discard: "new",
      max_bytes: 64_000_000,
      num_replicas: 1,
      max_msgs: -1,
      max_consumers: -1,
    });
    expect(config.duplicate_window).toBeGreaterThan(600 * 1e9); // longer than what is repeated after a reconnect
  });

  it("publish, of one message twice, stores it once, with id and trace in the headers", async () => {
    const messageBus = net.connect();
    const message = { ...incoming(userDeleted()), traceparent: TRACEPARENT };
    await eventually(() => messageBus.publish([message]));
    await messageBus.publish([message, message]);
    expect((await stream()).messages).toBe(1);
    const stored: StoredMsg = await manager.streams.getMessage(net.stream, { seq: 1 });
    expect(stored.subject).toBe(`${net.namespace}.user.deleted`);
    expect(stored.header.get("Nats-Msg-Id")).toBe(message.id);
    expect(stored.header.get("traceparent")).toBe(TRACEPARENT);
    expect(stored.json()).toEqual(message);
  });

  it("publish, of a message from before a purge of the stream, stores it again", async () => {
    const messageBus = net.connect();
    const messages = some(3);
    await eventually(() => messageBus.publish(messages));
    await manager.streams.purge(net.stream);
    expect((await stream()).messages).toBe(0);
    await messageBus.publish(messages);
    expect((await stream()).messages).toBe(3);
  });

  it("delivers an invalid message unchanged, without a delay for others", async () => {
    const { inbox, messageBus } = await member();
    await eventually(async () => expect(await messageBus.ready()).toBe(true));
    const subject = `${net.namespace}.user.deleted`;
    const poison = ["not JSON", "", "\u0000", '{"half":', "[1,2]", '"text"', "null"];
    for (const text of poison) admin.publish(subject, text);
    admin.publish(subject, Uint8Array.from([0xff, 0xfe, 0x00]));
    const [good] = some(1);
    await admin.flush();
    await messageBus.publish([good as Message]);
    await eventually(() => expect(inbox).toContainEqual(good));
    expect(inbox).toHaveLength(poison.length + 2);
    expect(inbox.slice(0, 3)).toEqual(poison.slice(0, 3));
    await eventually(async () => expect((await cursor()).num_ack_pending).toBe(0));
  });

  it("with a message that an inbox never accepts, delivers all others", async () => {
    let poison = "";
    const { ids, messageBus } = await (async () => {
      const known: string[] = [];
      const own = net.connect();
      await own.subscribe(GROUP, ["user.deleted"], async (messages) => {
        const arrived = messages.map((message) => (message as Message).id);
        if (arrived.includes(poison)) throw new Error("this one is refused");
        known.push(...arrived);
      });
      return { ids: () => known, messageBus: own };
    })();
    const messages = some(100);
    poison = messages[50]?.id ?? "";
    await eventually(() => messageBus.publish(messages));
    await eventually(() => expect(new Set(ids()).size).toBe(99));
    expect((await cursor()).num_ack_pending).toBe(1);
    poison = "";
    await eventually(() => expect(new Set(ids()).size).toBe(100));
  });

  it(
    "during a long delivery, does not deliver the message to another member",
    async () => {
      const done = Promise.withResolvers<void>();
      const one = await member(() => done.promise);
      await eventually(() => one.messageBus.publish(some(1)));
      await eventually(async () => expect((await cursor()).num_ack_pending).toBe(1));
      const other = await member();
      try {
        // A later member that does not acknowledge loses the message after the same wait.
        const { ack_wait } = (await cursor()).config;
        const durable_name = "silent";
        await manager.consumers.add(net.stream, { durable_name, ack_policy: AckPolicy.Explicit, ack_wait });
        const silent = await silentMember(durable_name, 2);
        await eventually(() => expect(silent).toHaveLength(2), { timeoutMs: TAKEN_OVER_MS });
        expect(other.ids()).toEqual([]);
        expect((await cursor()).num_redelivered).toBe(0);
      } finally {
        done.resolve();
      }
      await eventually(() => expect(one.ids()).toHaveLength(1));
      expect(other.ids()).toEqual([]);
    },
    TAKEN_OVER_MS * 3,
  );

  it(
    "after the death of a member, delivers its messages to another within fifteen seconds",
    async () => {
      // It is silent from the moment that it has them, as a process is whose machine was switched off.
      const dying = await connect({ servers: server.url });
      const sender = net.connect();
      const first = await member();
      await eventually(async () => expect((await cursor()).num_waiting).toBe(1));
      await first.messageBus.close();
      const held = await silentMember(GROUP, 10, dying);
      const messages = some(5);
      await sender.publish(messages);
      await eventually(() => expect(held).toHaveLength(5));
      await dying.close();
      const heir = await member();
      await eventually(() => expect(heir.ids().sort()).toEqual(messages.map(({ id }) => id).sort()), {
        timeoutMs: TAKEN_OVER_MS,
      });
    },
    TAKEN_OVER_MS * 2,
  );

  it("with a deleted consumer of a group, creates it again and delivers everything", async () => {
    const { ids, messageBus } = await member();
    const before = some(5);
    await eventually(() => messageBus.publish(before));
    await eventually(() => expect(ids()).toHaveLength(5));
    await manager.consumers.delete(net.stream, GROUP);
    const after = some(5);
    await messageBus.publish(after);
    await eventually(() => {
      expect(new Set(ids())).toEqual(new Set([...before, ...after].map(({ id }) => id)));
    });
  });

  it("with a consumer that delivers nothing, creates it again and delivers everything", async () => {
    const sender = net.connect();
    const messages = some(5);
    await eventually(() => sender.publish(messages));
    // A pull from a push consumer is refused each time.
    await manager.consumers.add(net.stream, {
      durable_name: GROUP,
      ack_policy: AckPolicy.Explicit,
      deliver_subject: "nobody.listens",
      filter_subjects: [`${net.namespace}.user.deleted`],
    });
    const { ids } = await member();
    await eventually(() => expect(ids().sort()).toEqual(messages.map(({ id }) => id).sort()));
    expect(net.reports).toContain(`the consumer of ${GROUP} does not answer and is created again`);
  });

  it("with an added type of a group, delivers it from then on", async () => {
    const { unsubscribe, messageBus } = await member();
    await eventually(async () => expect((await cursor()).config.filter_subjects).toHaveLength(1));
    await unsubscribe();
    const types: string[] = [];
    await messageBus.subscribe(GROUP, ["user.deleted", "user.updated"], async (messages) => {
      types.push(...messages.map((message) => (message as Message).type));
    });
    await eventually(async () => expect((await cursor()).config.filter_subjects).toHaveLength(2));
    await messageBus.publish([{ ...incoming(userDeleted()), type: "user.updated" } as Message, ...some(1)]);
    await eventually(() => expect(types.sort()).toEqual(["user.deleted", "user.updated"]));
  });

  it("close, during a delivery, acknowledges it and returns unstarted messages", async () => {
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const leaving = await member(() => gate);
    await eventually(() => leaving.messageBus.publish(some(1)));
    await eventually(async () => expect((await cursor()).num_ack_pending).toBe(1));
    const later = some(20);
    await leaving.messageBus.publish(later);
    await eventually(async () => expect((await cursor()).num_ack_pending).toBe(21));
    const closing = leaving.messageBus.close();
    open();
    await closing;
    expect(leaving.ids()).toHaveLength(1);
    const staying = await member();
    await eventually(() => expect(staying.ids()).toHaveLength(20), { timeoutMs: 3_000 });
    expect(staying.ids().sort()).toEqual(later.map(({ id }) => id).sort());
  });

  it("with a server that hangs, is not ready, and publish rejects before the relay's time limit", async () => {
    const own = await startNats();
    const hung = messageBuses(own);
    const messageBus = hung.connect();
    await eventually(async () => expect(await messageBus.ready()).toBe(true));
    own.freeze();
    // The signal needs a moment to reach every thread of the server: what it was asked just before is answered.
    await eventually(async () => expect(await messageBus.ready()).toBe(false));
    const startedMs = performance.now();
    expect(await messageBus.ready()).toBe(false);
    expect(performance.now() - startedMs).toBeLessThan(1_900); // a check of readiness waits for two seconds
    await expect(messageBus.publish(some(1))).rejects.toMatchObject({ kind: "unreachable" });
    expect(performance.now() - startedMs).toBeLessThan(5_500);
    own.thaw();
    await eventually(async () => expect(await messageBus.ready()).toBe(true));
    await messageBus.publish(some(1));
    await hung.close();
    await own.remove();
  });

  it("with a server that starts later, waits for it and refuses messages meanwhile", async () => {
    const own = await startNats();
    await own.stop();
    const early = messageBuses(own);
    const { messageBus, ids } = await member(undefined, early.connect());
    expect(await messageBus.ready()).toBe(false);
    const startedMs = performance.now();
    await expect(messageBus.publish(some(1))).rejects.toMatchObject({ kind: "unreachable" });
    expect(performance.now() - startedMs).toBeLessThan(200);
    await own.start();
    const messages = some(2);
    await eventually(() => messageBus.publish(messages));
    await eventually(() => expect(ids().sort()).toEqual(messages.map(({ id }) => id).sort()));
    await early.close();
    await own.remove();
  });
});
