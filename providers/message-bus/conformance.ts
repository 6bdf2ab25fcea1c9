import { afterEach, beforeEach, expect, it } from "@jest/globals";
import { type Message, type MessageType, message } from "../../contracts/messages.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import type { MessageBus } from "./port.ts";

const PATIENCE_MS = 8_000;
const POLL_MS = 10;

/** What lies between the sender and the consumers, for one test. */
export interface MessageBusMedium {
  /**
   * A message bus on this medium, for the sender or a group. Where the medium is the message bus itself, it is the same one
   * each time.
   */
  connect(who: string): Promise<MessageBus>;
  stop(): Promise<void>;
}

/**
 * What every message bus keeps; called inside a `describe`. A sender repeats what was not taken, as the relay does,
 * and a consumer group remembers what it knows, as the inbox does: a message bus may say no and may say things
 * twice, but what it took it must bring.
 * @param start makes an empty medium on which these groups will listen
 * @param names of the two groups and of who sends, where the medium is particular about them
 */
export function messageBusConformance(
  start: (groups: readonly string[]) => Promise<MessageBusMedium>,
  names = { sender: "notifications", groups: ["kitchen", "courier"] as [string, string] },
): void {
  const [KITCHEN, COURIER] = names.groups;
  let medium: MessageBusMedium;
  let sender: MessageBus;
  const open: MessageBus[] = [];

  const connect = async (who: string) => {
    const messageBus = await medium.connect(who);
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

  it("publish, to two groups, resolves and brings every message to both as it was", async () => {
    const groups = [await group(KITCHEN), await group(COURIER)];
    const messages = some(25);
    await handOver(sender, messages);
    for (const { inbox, has } of groups) {
      await has(messages);
      const byId = new Map(inbox.map((one) => [one.id, one]));
      expect(messages.map(({ id }) => byId.get(id))).toEqual(messages);
    }
  });

  it("subscribe, to some types, brings these and no others", async () => {
    const sent = await group(KITCHEN, ["notification.sent"]);
    const both = await group(COURIER, ["notification.sent", "notification.failed"]);
    const messages = [...some(2), ...some(2, "notification.failed")];
    await handOver(sender, messages);
    await both.has(messages);
    await sent.has(messages.slice(0, 2));
    expect(new Set(sent.inbox.map(({ type }) => type))).toEqual(new Set(["notification.sent"]));
  });

  it("publish, before a group has subscribed, is not lost for it", async () => {
    const kitchen = await group(KITCHEN);
    const messages = some(3);
    const handing = handOver(sender, messages);
    const courier = await group(COURIER);
    await handing;
    await kitchen.has(messages);
    await courier.has(messages);
  });

  it("a group that goes and comes back gets what it missed", async () => {
    const kitchen = await group(KITCHEN);
    const courier = await group(COURIER);
    const [before, missed, after] = [some(3), some(3), some(3)];
    await handOver(sender, before);
    await courier.has(before);
    await courier.unsubscribe();
    const handing = handOver(sender, missed);
    const again = await group(COURIER);
    await handing;
    await handOver(sender, after);
    await again.has([...missed, ...after]);
    await kitchen.has([...before, ...missed, ...after]);
  });

  it("accept that rejects, is asked again until it commits", async () => {
    const kitchen = await group(KITCHEN);
    const courier = await group(COURIER);
    let refusals = 0;
    courier.state.before = () => {
      refusals += 1;
      if (refusals <= 3) throw new Error("the database is away");
    };
    const messages = some(3);
    await handOver(sender, messages);
    await courier.has(messages);
    await kitchen.has(messages);
    expect(refusals).toBeGreaterThan(3);
  });

  it("publish, of messages that were published before, resolves and brings nothing new", async () => {
    const [kitchen] = [await group(KITCHEN), await group(COURIER)];
    const messages = some(3);
    await handOver(sender, messages);
    await handOver(sender, messages);
    const last = some(1);
    await handOver(sender, last);
    await kitchen.has([...messages, ...last]);
    expect(new Set(kitchen.inbox.map(({ id }) => id)).size).toBe(4);
  });

  it("a group of two members, hands each message to one of them, and all to the one that stays", async () => {
    await group(COURIER);
    const members = [await group(KITCHEN), await group(KITCHEN)];
    const messages = some(20);
    for (const message of messages) await handOver(sender, [message]);
    const ids = () => members.flatMap(({ inbox }) => inbox.map(({ id }) => id));
    await until(() => ids().length >= messages.length);
    expect(ids().sort()).toEqual(messages.map(({ id }) => id).sort());
    await members[0]?.unsubscribe();
    const later = some(5);
    await handOver(sender, later);
    await members[1]?.has(later);
  });

  it("publish, of a message of the largest size in letters of every kind, brings it as it was", async () => {
    const [kitchen] = [await group(KITCHEN), await group(COURIER)];
    const messages = some(2, "notification.sent", '\u00e9\u4e2d\u{1f355}\\"\n'.repeat(20_000));
    await handOver(sender, messages);
    await kitchen.has(messages);
    expect(kitchen.inbox).toEqual(expect.arrayContaining(messages));
  });

  it("publish, of nothing, resolves", async () => {
    await group(KITCHEN);
    await group(COURIER);
    await until(() => sender.ready());
    await sender.publish([]);
  });

  it("unsubscribe and close, during a delivery, wait until it is committed", async () => {
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
    const handing = handOver(sender, messages);
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
    await handing.catch(() => undefined);
  });

  it("ready, tells whether it could take a message; closed, it takes none", async () => {
    await group(KITCHEN);
    await group(COURIER);
    await until(() => sender.ready());
    await sender.close();
    expect(await sender.ready()).toBe(false);
    await expect(sender.publish(some(1))).rejects.toThrow();
  });
}

/** Hands over as the relay does: again, until it was taken. */
async function handOver(messageBus: MessageBus, messages: readonly Message[]): Promise<void> {
  await until(() =>
    messageBus.publish(messages).then(
      () => true,
      () => false,
    ),
  );
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error("it did not come to pass");
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
