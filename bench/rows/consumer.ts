import { setTimeout as delay } from "node:timers/promises";
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import type { Message } from "../../contracts/messages.ts";
import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";
import type { BenchDatabase } from "../lib/database.ts";
import { median } from "../lib/load.ts";
import { inParts, newDatabase, smallMessages, startService } from "../lib/messaging.ts";
import { cpuMicros } from "../lib/process.ts";
import type { Row } from "../lib/report.ts";
import { onStage, type Stage } from "../lib/stage.ts";

const ROUNDS = 3;
const MESSAGES = 2_000;
/** As a relay hands messages over, and as graphile-worker adds jobs by its batch call. */
const HAND_OVER = 100;
/** The transactions that a consumer runs at once by default, and the pool of both. */
const CONCURRENCY = 4;
const POOL_SIZE = 10;
const POLL_MS = 5;
const TIMEOUT_MS = 120_000;
const SIZES = { partners: 1, products: 1, customers: 1 };
const LEDGER = "CREATE TABLE ledger (id uuid PRIMARY KEY, subject text NOT NULL)";
const EFFECT = "INSERT INTO ledger (id, subject) VALUES";

interface Measured {
  perSecond: number;
  /** CPU time of this process and of PostgreSQL for each message, in microseconds. */
  cpu: number;
}

/**
 * Messages through one consumer whose effect is one insert, from the hand-over to the last effect, against jobs of
 * graphile-worker with the same effect, from their insert.
 */
export const consumerAgainstGraphile = (): Promise<Row[]> => onStage(SIZES, measure);

async function measure({ database }: Stage): Promise<Row[]> {
  const ours = await consumerRounds(database);
  const theirs = await graphileRounds(database);
  const rounds: { ours: Measured; theirs: Measured }[] = [];
  await ours.round();
  await theirs.round();
  for (let n = 0; n < ROUNDS; n++) rounds.push({ ours: await ours.round(), theirs: await theirs.round() });
  await ours.stop();
  await theirs.stop();
  const row = (what: string, figure: keyof Measured): Row => ({
    what,
    measured: median(rounds.map((one) => one.ours[figure])),
    baseline: median(rounds.map((one) => one.theirs[figure])),
    ratio: median(rounds.map((one) => one.ours[figure] / one.theirs[figure])),
  });
  return [
    row("messages/s of a consumer, against graphile-worker", "perSecond"),
    row("the same, CPU us a message", "cpu"),
  ];
}

async function consumerRounds(database: BenchDatabase) {
  const postgres = await newDatabase(database, "bench_consumer");
  const messageBus = inProcessMessageBus({ groups: ["orders"] });
  const inbox = consumer({
    ...{ postgres, messageBus, group: "orders" },
    handlers: {
      "user.deleted": {
        batch: true,
        inTransaction: async (trx, { id, subject }: Message) => {
          await trx.query(`${EFFECT} (?, ?)`, [id, subject], true);
        },
      },
    },
  });
  const broker = await startService({ mixins: [postgres.mixin, inbox.mixin] });
  await postgres.db.query(LEDGER);
  return {
    round: () =>
      timed(database, countedIn(postgres), async () => {
        for (const part of inParts(smallMessages(MESSAGES), HAND_OVER)) await messageBus.publish(part);
      }),
    stop: () => broker.stop(),
  };
}

async function graphileRounds(database: BenchDatabase) {
  const postgres = await newDatabase(database, "bench_graphile");
  const broker = await startService({ mixins: [postgres.mixin] });
  await postgres.db.query(LEDGER);
  // A line for each job would be a part of what is measured.
  const logger = new Logger(() => () => undefined);
  const options = { connectionString: postgres.url, noHandleSignals: true, maxPoolSize: POOL_SIZE, logger };
  const utils = await makeWorkerUtils(options);
  await utils.migrate();
  const runner = await run({
    ...options,
    concurrency: CONCURRENCY,
    taskList: {
      enter: async (payload, { query }) => {
        const { id, subject } = payload as Pick<Message, "id" | "subject">;
        await query(`${EFFECT} ($1, $2)`, [id, subject]);
      },
    },
  });
  return {
    round: () =>
      timed(database, countedIn(postgres), async () => {
        for (const part of inParts(smallMessages(MESSAGES), HAND_OVER)) {
          await utils.addJobs(
            part.map(({ id, subject }) => ({ identifier: "enter", payload: { id, subject } })),
          );
        }
      }),
    async stop() {
      await runner.stop();
      await utils.release();
      await broker.stop();
    },
  };
}

const countedIn = (postgres: Postgres) => async () =>
  Number((await postgres.db.query("SELECT count(*) AS count FROM ledger")).rows[0].count);

async function timed(
  database: BenchDatabase,
  count: () => Promise<number>,
  enqueue: () => Promise<void>,
): Promise<Measured> {
  const wanted = (await count()) + MESSAGES;
  const cpu = () => database.cpuMicros() + cpuMicros(process.pid);
  const [startedMs, before] = [performance.now(), cpu()];
  await enqueue();
  while ((await count()) < wanted) {
    if (performance.now() - startedMs > TIMEOUT_MS) throw new Error("not all messages had their effect");
    await delay(POLL_MS);
  }
  return { perSecond: (MESSAGES / (performance.now() - startedMs)) * 1000, cpu: (cpu() - before) / MESSAGES };
}
