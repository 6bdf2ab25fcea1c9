import { afterEach, beforeEach, expect, it } from "@jest/globals";
import { type Message, type MessageType, message } from "../../contracts/messages.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import type { MessageBus } from "./port.ts";

const WAIT_MAX_MS = 8_000;
const POLL_MS = 10;

/** The broker between the sender and the consumers, for one test. */
export interface MessageBusMedium {
  /** A message bus for the sender or a group. The in-process message bus returns the same one each time. */
  connect(name: string): Promise<MessageBus>;
  stop(): Promise<void>;
}

/**
 * The conformance suite of every message bus; call it inside a `describe`. As with the relay, the sender repeats what
 * was rejected; as with the inbox, a group drops duplicates. So a message bus may reject messages and deliver them
 * twice, but it must deliver what it accepted.
 * @param start creates an empty medium to which these groups subscribe
 * @param names of the sender and of the two groups, for a medium that knows its users by name
 */
export function messageBusConformance(
  start: (groups: readonly string[]) => Promise<MessageBusMedium>,
  names = { sender: "notifications", groups: ["kitchen", "courier"] as [string, string] },
): void {
  const [KITCHEN, COURIER] = names.groups;
  let medium: MessageBusMedium;
  let sender: MessageBus;
  const open: MessageBus[] = [];

  const connect = async (name: string) => {
    const messageBus = await medium.connect(name);
    if (!open.includes(messageBus)) open.push(messageBus);
    return messageBus;
  };
  beforeEach(async () => {
    medium = await start([KITCHEN, COURIER]);
    sender = await connect(names.sender);
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((messageBus) => messageBus.close()));
    await medium.stop();
  });

  /** A group whose inbox is a list. */
  const group = async (name: string, types: readonly MessageType[] = ["notification.sent"]) => {
    const inbox: Message[] = [];
    const state: { before: (messages: readonly Message[]) => Promise<void> | void } = { before: () => {} };
    const messageBus = await connect(name);
    const unsubscribe = await messageBus.subscribe(name, types, async (messages) => {
      await state.before(messages as Message[]);
      inbox.push(...(messages as Message[]));
    });
    return {
      messageBus,
      inbox,
      state,
      unsubscribe,
      async has(messages: readonly Message[]) {
        await until(() => messages.every(({ id }) => inbox.some((known) => known.id === id)));
      },
    };
  };

  it("publish, to two groups, resolves and delivers every message unchanged to both", async () => {
    const groups = [await group(KITCHEN), await group(COURIER)];
    const messages = some(25);
    await publishUntilAccepted(sender, messages);
    for (const { inbox, has } of groups) {
      await has(messages);
      const byId = new Map(inbox.map((one) => [one.id, one]));
      expect(messages.map(({ id }) => byId.get(id))).toEqual(messages);
    }
  });

  it("subscribe, to some types, delivers these and no others", async () => {
    const sent = await group(KITCHEN, ["notification.sent"]);
    const both = await group(COURIER, ["notification.sent", "notification.failed"]);
    const messages = [...some(2), ...some(2, "notification.failed")];
    await publishUntilAccepted(sender, messages);
    await both.has(messages);
    await sent.has(messages.slice(0, 2));
    expect(new Set(sent.inbox.map(({ type }) => type))).toEqual(new Set(["notification.sent"]));
  });

  it("publish, before a group has subscribed, loses nothing for that group", async () => {
    const kitchen = await group(KITCHEN);
    const messages = some(3);
    const publishing = publishUntilAccepted(sender, messages);
    const courier = await group(COURIER);
    await publishing;
    await kitchen.has(messages);
    await courier.has(messages);
  });

  it("subscribe, after an unsubscribe, delivers what the group missed", async () => {
    const kitchen = await group(KITCHEN);
    const courier = await group(COURIER);
    const [before, missed, after] = [some(3), some(3), some(3)];
    await publishUntilAccepted(sender, before);
    await courier.has(before);
    await courier.unsubscribe();
    const publishing = publishUntilAccepted(sender, missed);
    const again = await group(COURIER);
    await publishing;
    await publishUntilAccepted(sender, after);
    await again.has([...missed, ...after]);
    await kitchen.has([...before, ...missed, ...after]);
  });

  it("accept, while it rejects, is called again until it commits", async () => {
    const kitchen = await group(KITCHEN);
    const courier = await group(COURIER);
    let refusals = 0;
    courier.state.before = () => {
      refusals += 1;
      if (refusals <= 3) throw new Error("the database is unreachable");
    };
    const messages = some(3);
    await publishUntilAccepted(sender, messages);
    await courier.has(messages);
    await kitchen.has(messages);
    expect(refusals).toBeGreaterThan(3);
  });

  it("publish, of messages that were published before, resolves and adds no message", async () => {
    const [kitchen] = [await group(KITCHEN), await group(COURIER)];
    const messages = some(3);
    await publishUntilAccepted(sender, messages);
    await publishUntilAccepted(sender, messages);
    const last = some(1);
    await publishUntilAccepted(sender, last);
    await kitchen.has([...messages, ...last]);
    expect(new Set(kitchen.inbox.map(({ id }) => id)).size).toBe(4);
  });

  it("subscribe, by two members of a group, delivers each message to one, and all to the last one", async () => {
    await group(COURIER);
    const members = [await group(KITCHEN), await group(KITCHEN)];
    const messages = some(20);
    for (const message of messages) await publishUntilAccepted(sender, [message]);
    const ids = () => members.flatMap(({ inbox }) => inbox.map(({ id }) => id));
    await until(() => ids().length >= messages.length);
    expect(ids().sort()).toEqual(messages.map(({ id }) => id).sort());
    await members[0]?.unsubscribe();
    const later = some(5);
    await publishUntilAccepted(sender, later);
    await members[1]?.has(later);
  });

  it("publish, of the largest message with characters of every kind, delivers it unchanged", async () => {
    const [kitchen] = [await group(KITCHEN), await group(COURIER)];
    const messages = some(2, "notification.sent", '\u00e9\u4e2d\u{1f355}\\"\n'.repeat(20_000));
    await publishUntilAccepted(sender, messages);
    await kitchen.has(messages);
    expect(kitchen.inbox).toEqual(expect.arrayContaining(messages));
  });

  it("publish, of no messages, resolves", async () => {
    await group(KITCHEN);
    await group(COURIER);
    await until(() => sender.ready());
    await sender.publish([]);
  });

  it("unsubscribe and close, during a delivery, wait for its commit", async () => {
    const kitchen = await group(KITCHEN);
    const courier = await group(COURIER);
    const { promise: gate, resolve: openGate } = Promise.withResolvers<void>();
    let inside = 0;
    for (const { state } of [kitchen, courier]) {
      state.before = async () => {
        inside += 1;
        await gate;
      };
    }
    const messages = some(1);
    const publishing = publishUntilAccepted(sender, messages);
    await until(() => inside === 2);
    const ended: string[] = [];
    const ending = [
      kitchen.unsubscribe().then(() => ended.push("kitchen")),
      ...[...new Set([kitchen.messageBus, courier.messageBus])].map((messageBus) =>
        messageBus.close().then(() => ended.push("message bus")),
      ),
    ];
    await new Promise(setImmediate);
    expect(ended).toEqual([]);
    openGate();
    await Promise.all(ending);
    expect(kitchen.inbox).toEqual(messages);
    expect(courier.inbox).toEqual(messages);
    await publishing.catch(() => undefined);
  });

  it("ready, once the message bus is closed, is false, and publish rejects", async () => {
    await group(KITCHEN);
    await group(COURIER);
    await until(() => sender.ready());
    await sender.close();
    expect(await sender.ready()).toBe(false);
    await expect(sender.publish(some(1))).rejects.toThrow();
  });
}

/** Publishes as the relay does: again, until it resolves. */
async function publishUntilAccepted(messageBus: MessageBus, messages: readonly Message[]): Promise<void> {
  await until(() =>
    messageBus.publish(messages).then(
      () => true,
      () => false,
    ),
  );
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + WAIT_MAX_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`the condition did not hold within ${WAIT_MAX_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function some(
  count: number,
  type: "notification.sent" | "notification.failed" = "notification.sent",
  event = "test",
): Message[] {
  return Array.from({ length: count }, () => {
    const subject = newId();
    return {
      specversion: "1.0",
      id: newId(),
      source: "waybill/test",
      time: isoTime(Date.now()),
      dataschema: `urn:waybill:message:${type}:1`,
      ...message(type, subject, { version: 1, notificationId: subject, event }),
    } as Message;
  });
}
