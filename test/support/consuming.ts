import { afterAll, beforeAll, beforeEach, expect } from "@jest/globals";
import type { Message } from "../../contracts/messages.ts";
import type { ConsumerOptions, Handlers } from "../../mixins/consumer/consumer.mixin.ts";
import { inProcessMessageBus, type MessageBus } from "../../providers/message-bus/index.ts";
import { enter, GROUP, incoming, type MessagingBench, messagingBench, userDeleted } from "./messaging.ts";

export const DAY_MS = 86_400_000;
/** How long the effect of a message may take, at most, because another one is poison. */
const OTHERS_MS = 1_000;
/** Cuts every connection to this database but the one that says it. */
export const CUT = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid()`;

/** A handler that runs only the given work. */
export const entering: Handlers = {
  "user.deleted": { inTransaction: (trx, message) => enter(trx, message) },
};
export const many = (count: number) => Array.from({ length: count }, () => incoming(userDeleted()));

/**
 * Holds what was measured against the promise. Another program of the machine can make one measurement late, so late is
 * what is late twice.
 */
export async function expectInTime(measureMs: () => Promise<number>): Promise<void> {
  const firstMs = await measureMs();
  if (firstMs <= OTHERS_MS) return;
  const againMs = await measureMs();
  expect({ firstMs, againMs, late: againMs > OTHERS_MS }).toMatchObject({ late: false });
}

/** For a file of tests of the consumer: one database, emptied before each test, and for each test a message bus. */
export function consumerStage() {
  let bench: MessagingBench;
  let messageBus: MessageBus;
  const empty = () => bench.db.db.query("TRUNCATE inbox, ledger");
  beforeAll(async () => {
    bench = await messagingBench();
  });
  afterAll(() => bench.stop());
  beforeEach(async () => {
    messageBus = inProcessMessageBus({ groups: [GROUP] });
    await empty();
  });
  return {
    get bench() {
      return bench;
    },
    get messageBus() {
      return messageBus;
    },
    /** Starts a service with an inbox behind this test's message bus. */
    receiver: (handlers: Handlers, limits?: ConsumerOptions["limits"]) =>
      bench.receiver(messageBus, handlers, limits),
    publish: (...messages: unknown[]) => messageBus.publish(messages as Message[]),
    empty,
    oneRow: async () => (await bench.inboxRows())[0],
    /** Each of the messages had its effect, once, and no other had. */
    async effectsOnce(messages: readonly Message[]) {
      const effects = (await bench.ledger()).map(({ messageId }) => messageId).sort();
      expect(effects).toEqual(messages.map(({ id }) => id).sort());
    },
  };
}
