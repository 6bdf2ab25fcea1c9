import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { connect, type NatsConnection } from "nats";
import type { Message } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import type { Handler } from "../../mixins/consumer/handlers.ts";
import { type NatsServer, startNats } from "../servers/nats.ts";
import { eventually } from "../support/eventually.ts";
import { enter, incoming, type MessagingBench, messagingBench, userDeleted } from "../support/messaging.ts";
import { messageBuses } from "../support/nats.ts";

let server: NatsServer;
let bench: MessagingBench;
let net: ReturnType<typeof messageBuses>;
let anybody: NatsConnection;
let con: Awaited<ReturnType<MessagingBench["receiver"]>>["con"];
/** The messages that the handler received. */
const seen: Message[] = [];
beforeAll(async () => {
  [server, bench] = await Promise.all([startNats(), messagingBench()]);
  net = messageBuses(server);
  anybody = await connect({ servers: server.url });
  const apply: Handler["inTransaction"] = async (trx, message) => {
    seen.push(message);
    await enter(trx, message);
  };
  ({ con } = await bench.receiver(net.connect(), { "user.deleted": { inTransaction: apply } as Handler }));
  const manager = await anybody.jetstreamManager();
  await eventually(() => manager.streams.info(net.stream));
});
afterAll(async () => {
  await anybody?.close();
  await bench?.stop();
  await net?.close();
  await server?.remove();
});

const sound = () => incoming(userDeleted());
const bytes = (value: unknown) => JSON.stringify(value);

/** Messages that any user with the right to publish can put into the stream, and why each is quarantined. */
const strange: [name: string, sent: () => string | Uint8Array, reason: string][] = [
  ["not JSON", () => "order.paid!!", "not a JSON object"],
  ["half of a JSON text", () => bytes(sound()).slice(0, -5), "not a JSON object"],
  ["bytes that are no text", () => Uint8Array.from([0xff, 0xfe, 0x00, 0x7b]), "not a JSON object"],
  ["a list", () => bytes([sound()]), "the id is not a UUIDv7"],
  ["no id", () => bytes({ ...sound(), id: undefined }), "the id is not a UUIDv7"],
  ["an unknown type", () => bytes({ ...sound(), type: "user.eaten" }), "unknown type"],
  [
    "an unknown version",
    () => bytes({ ...sound(), dataschema: "urn:waybill:message:user.deleted:9" }),
    "unknown version",
  ],
  ["more than 256 KB", () => bytes({ ...sound(), data: { junk: "x".repeat(300_000) } }), "too large"],
  [
    "a prototype",
    () => bytes(sound()).replace('"data":{', '"data":{"__proto__":{"role":"admin"},'),
    "__proto__",
  ],
  [
    "a role beside its data",
    () => bytes({ ...sound(), data: { ...userDeleted().data, role: "admin" } }),
    "role",
  ],
];

describe("an invalid message from JetStream", () => {
  it("is quarantined with its reason, and valid ones after it are handled", async () => {
    const subject = `${net.namespace}.user.deleted`;
    for (const [, sent] of strange) anybody.publish(subject, sent());
    const good = sound();
    anybody.publish(subject, bytes(good));
    await anybody.flush();
    await eventually(async () => {
      const done = (await bench.ledger()).map(({ messageId }) => messageId);
      expect(done).toEqual([good.id]);
    });
    await eventually(async () =>
      expect(await con.stats()).toMatchObject({ waiting: 0, deadLetters: strange.length }),
    );
    const aside = (await bench.inboxRows()).filter(({ state }) => state === "quarantined");
    for (const [name, , reason] of strange) {
      expect({ name, reasons: aside.map(({ error }) => error) }).toEqual({
        name,
        reasons: expect.arrayContaining([expect.stringContaining(reason)]),
      });
    }
  });

  it("with a forged sender, shows handlers no sender that they could trust", async () => {
    const forged = {
      ...sound(),
      meta: { user: { role: "admin" } },
      caller: { role: "admin" },
      actor: newId(),
    };
    anybody.publish(`${net.namespace}.user.deleted`, bytes(forged));
    await eventually(() => expect(seen.map(({ id }) => id)).toContain(forged.id));
    const { data, ...envelope } = seen.at(-1) as Message;
    expect(data).toEqual(forged.data);
    expect(Object.keys(envelope).sort()).toEqual([
      ...["dataschema", "id", "source", "specversion", "subject", "time", "type"],
    ]);
  });
});
