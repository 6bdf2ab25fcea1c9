import type { Agent } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { message } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";
import { drive, median } from "../lib/load.ts";
import { newDatabase, startService } from "../lib/messaging.ts";
import type { Row } from "../lib/report.ts";
import { onStage, type Stage } from "../lib/stage.ts";
import { oneLife } from "./order-life.ts";

const CLIENTS = 16;
const SIZES = { partners: 10, products: 4, customers: CLIENTS };
const WARM_UP_LIVES = 200;
const LIVES = 400;
const ROUNDS = 3;
const MESSAGES = 10_000;
const INSERT_BATCH = 1_000;
const POLL_MS = 5;

/** How fast a relay drains an outbox, against the messages that order lives make at full rate. */
export const outboxDrain = (): Promise<Row[]> => onStage(SIZES, measure);

async function measure({ platform, world, database }: Stage): Promise<Row[]> {
  const lives = async (units: number) => {
    const life = (client: number, agent: Agent) => oneLife(platform, world, client, agent);
    const measured = await drive(CLIENTS, { units }, life);
    if (measured.errors > 0) throw new Error(`${measured.errors} order lives failed`);
    await database.drained();
    return measured;
  };
  const warmUp = (client: number, agent: Agent) => oneLife(platform, world, client, agent);
  await drive(CLIENTS, { units: WARM_UP_LIVES }, warmUp); // a process that has just started may refuse some
  await database.drained();
  const before = await database.messages();
  const { perSecond } = await lives(LIVES);
  const perLife = ((await database.messages()) - before) / LIVES;

  const postgres = await newDatabase(database, "bench_outbox");
  const out = outbox({ postgres, messageBus: inProcessMessageBus({ groups: [] }), source: "waybill/bench" });
  const broker = await startService({ mixins: [postgres.mixin, out.mixin] });
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    // One commit, so that the relay finds all of them at once.
    await postgres.transact(async (trx) => {
      for (let n = 0; n < MESSAGES; n += INSERT_BATCH) {
        await out.add(trx, Array.from({ length: INSERT_BATCH }, smallMessage));
      }
    });
    const started = performance.now();
    while ((await out.stats()).waiting > 0) await delay(POLL_MS);
    rates.push((MESSAGES / (performance.now() - started)) * 1000);
  }
  await broker.stop();
  const [measured, baseline] = [median(rates), perSecond * perLife];
  return [
    { what: "messages an order life sends", measured: perLife },
    {
      what: "outbox drain, messages/s, against those of lives",
      measured,
      baseline,
      ratio: measured / baseline,
    },
  ];
}

function smallMessage() {
  const userId = newId();
  return message("user.deleted", userId, { version: 1, userId });
}
