import { ServiceBroker, type ServiceSchema } from "moleculer";
import { type Message, type MessageType, message } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { type Db, rows } from "../../lib/sql/database.ts";
import { type ConsumerOptions, consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import { type OutboxOptions, outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { ACQUIRE_TIMEOUT_MS, createDatabase, REQUEST_TIMEOUT_MS, type TestDatabase } from "./postgres.ts";

export const GROUP = "orders";

/** Everything that takes seconds in earnest, in fractions of one. */
export const quickRelay = {
  sweepMs: 50,
  backoff: { firstMs: 20, factor: 2, maxMs: 100, jitter: 0.5 },
};
export const quickConsumer = {
  sweepMs: 50,
  leaseMs: 600,
  renewMs: 150,
  backoff: { firstMs: 20, factor: 2, maxMs: 100, jitter: 0.5 },
};

/** A broker of its own, without a transporter, that runs one service. */
export async function startService(
  schema: Partial<ServiceSchema>,
  options: { middlewares?: ReturnType<ServiceBroker["middlewares"]["add"]>[] } = {},
): Promise<ServiceBroker> {
  const broker = new ServiceBroker({
    nodeID: `test-${newId()}`,
    namespace: newId(),
    logger: false,
    skipProcessEventRegistration: true,
    ...options,
  } as ConstructorParameters<typeof ServiceBroker>[0]);
  broker.createService({ name: GROUP, ...schema } as ServiceSchema);
  await broker.start();
  return broker;
}

/** A database with a ledger of effects, and services on it that a test starts and stops. */
export async function messagingBench() {
  const database: TestDatabase = await createDatabase("orders");
  const brokers: ServiceBroker[] = [];
  const open = () =>
    postgres({
      ...{ url: database.url, poolSize: 10, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS },
      ...{ requestTimeoutMs: REQUEST_TIMEOUT_MS, name: "test" },
    });
  const db = open();
  brokers.push(await startService({ name: "observer", mixins: [db.mixin] }));
  await db.db.query("CREATE TABLE ledger (message_id uuid, subject text, made_by text)");

  const run = async (schema: Partial<ServiceSchema>) => {
    const broker = await startService(schema);
    brokers.push(broker);
    return broker;
  };

  return {
    database,
    /** A pool of the test's own. */
    db,
    run,
    /** Starts a service with an outbox. */
    async sender(messageBus: MessageBus, limits: OutboxOptions["limits"] = {}) {
      const own = open();
      const out = outbox({
        postgres: own,
        messageBus,
        source: "waybill/test",
        limits: { ...quickRelay, ...limits },
      });
      const broker = await run({ mixins: [own.mixin, out.mixin] });
      return { out, broker, db: own };
    },
    /** Starts a service with an inbox. */
    async receiver(
      messageBus: MessageBus,
      handlers: ConsumerOptions["handlers"],
      limits: ConsumerOptions["limits"] = {},
    ) {
      const own = open();
      const con = consumer({
        postgres: own,
        messageBus,
        group: GROUP,
        handlers,
        limits: { ...quickConsumer, ...limits },
      });
      const broker = await run({ mixins: [own.mixin, con.mixin] });
      return { con, broker, db: own };
    },
    outboxRows: () =>
      rows<{ id: string; subject: string; attempts: number; sentAt?: string; error?: string }>(
        db.db,
        "SELECT * FROM outbox ORDER BY id",
      ),
    inboxRows: () =>
      rows<{
        messageId: string;
        consumer: string;
        type: string;
        subject: string;
        state: string;
        attempts: number;
        error?: string;
        leaseToken?: string;
        deadLetterId?: string;
        data: unknown;
      }>(db.db, "SELECT * FROM inbox ORDER BY message_id, consumer"),
    /** The outbox's records of its message bus. */
    marks: () => rows<{ mark: string; againUntil?: string }>(db.db, "SELECT * FROM carrier_marks"),
    ledger: () =>
      rows<{ messageId: string; subject: string; madeBy?: string }>(db.db, "SELECT * FROM ledger"),
    async stop() {
      for (const broker of brokers.reverse()) await broker.stop();
      await database.drop();
    },
  };
}

export type MessagingBench = Awaited<ReturnType<typeof messagingBench>>;

/** The effect that tests count. */
export async function enter(trx: Db, { id, subject }: Message, madeBy = "") {
  await trx.query("INSERT INTO ledger (message_id, subject, made_by) VALUES (?, ?, ?)", [
    id,
    subject,
    madeBy,
  ]);
}

/** A small message of a type that stands for "an effect in the database". */
export function userDeleted(subject: string = newId()) {
  return message("user.deleted", subject, { version: 1, userId: subject });
}

/** A small message of a type that stands for "an effect outside". */
export function notificationSent(subject: string = newId()) {
  return message("notification.sent", subject, { version: 1, notificationId: subject, event: "test" });
}

/** A message as a message bus brings it. */
export function incoming<T extends MessageType>(
  what: { type: T } & ReturnType<typeof message<T>>,
  nowMs = Date.now(),
): Message {
  return envelope("waybill/test", what, nowMs);
}

/** A message bus whose far end is the test: it keeps what it took and refuses what `refuses` says. */
export function recordingMessageBus() {
  const taken: Message[][] = [];
  const state: { refuses: (messages: readonly Message[]) => boolean | Promise<boolean>; up: boolean } = {
    refuses: () => false,
    up: true,
  };
  const messageBus: MessageBus = {
    async publish(messages) {
      if (await state.refuses(messages)) throw new Error("refused by the test");
      taken.push([...messages]);
    },
    subscribe: async () => async () => undefined,
    ready: async () => state.up,
    close: async () => undefined,
  };
  return { messageBus, taken, state, ids: () => taken.flat().map(({ id }) => id) };
}
