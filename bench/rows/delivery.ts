import { setTimeout as delay } from "node:timers/promises";
import { message } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { inProcessMessageBus, type MessageBus } from "../../providers/message-bus/index.ts";
import { jetStreamMessageBus } from "../../providers/message-bus/jetstream.ts";
import { natsOptions } from "../../providers/message-bus/nats-options.ts";
import { startNats } from "../../test/servers/nats.ts";
import type { BenchDatabase } from "../lib/database.ts";
import { percentile } from "../lib/load.ts";
import { newDatabase, startService } from "../lib/messaging.ts";
import type { Row } from "../lib/report.ts";
import { onStage, type Stage } from "../lib/stage.ts";

const SIZES = { partners: 1, products: 1, customers: 1 };
const WARM_UP = 20;
const MESSAGES = 300;
const INTERVAL_MS = 20;
const TIMEOUT_MS = 30_000;

/** The time from the commit of a message to its handler over JetStream at light load, against the bus in one process. */
export const deliveryOverJetStream = (): Promise<Row[]> => onStage(SIZES, measure);

async function measure({ database }: Stage): Promise<Row[]> {
  const nats = await startNats();
  try {
    const bus = jetStreamMessageBus({ nats: natsOptions({ NATS_URL: nats.url }), namespace: "bench" });
    const ours = await latencies(database, "jetstream", bus);
    const theirs = await latencies(database, "in_process", inProcessMessageBus({ groups: ["orders"] }));
    const row = (what: string, share: number): Row => {
      const [measured, baseline] = [percentile(ours, share), percentile(theirs, share)];
      return { what, measured, baseline, ratio: measured / baseline };
    };
    return [row("commit to handler over JetStream, p99 in ms", 0.99), row("the same, median in ms", 0.5)];
  } finally {
    await nats.remove();
  }
}

/** Sorted, in milliseconds. */
async function latencies(database: BenchDatabase, name: string, messageBus: MessageBus): Promise<number[]> {
  const [from, to] = [
    await newDatabase(database, `bench_from_${name}`),
    await newDatabase(database, `bench_to_${name}`),
  ];
  const committedMs = new Map<string, number>();
  const found: number[] = [];
  const out = outbox({ postgres: from, messageBus, source: "waybill/bench" });
  const inbox = consumer({
    ...{ postgres: to, messageBus, group: "orders" },
    handlers: {
      "user.deleted": {
        inTransaction: async (_trx, { subject }) => {
          found.push(performance.now() - (committedMs.get(subject) ?? Number.NaN));
        },
      },
    },
  });
  const receiver = await startService({ mixins: [to.mixin, inbox.mixin] });
  const sender = await startService({ mixins: [from.mixin, out.mixin] });
  const send = async (count: number) => {
    const wanted = found.length + count;
    for (let n = 0; n < count; n++) {
      const userId = newId();
      await from.transact((trx) => {
        committedMs.set(userId, performance.now());
        return out.add(trx, [message("user.deleted", userId, { version: 1, userId })]);
      });
      await delay(INTERVAL_MS);
    }
    const deadlineMs = performance.now() + TIMEOUT_MS;
    while (found.length < wanted) {
      if (performance.now() > deadlineMs) throw new Error(`${wanted - found.length} messages did not arrive`);
      await delay(INTERVAL_MS);
    }
  };
  await send(WARM_UP);
  found.length = 0;
  await send(MESSAGES);
  await sender.stop();
  await receiver.stop();
  await messageBus.close();
  return found.sort((a, b) => a - b);
}
