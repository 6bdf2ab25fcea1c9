import type { Context, Middleware } from "moleculer";
import { ServiceBroker } from "moleculer";
import type { Ctx, Locals } from "../../contracts/meta.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { derivedId } from "../../lib/ids.ts";
import { row } from "../../lib/sql/database.ts";
import { consumer, type Handlers } from "../../mixins/consumer/consumer.mixin.ts";
import { outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { idempotent, idempotentLeased } from "../../mixins/postgres/idempotency.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { inProcessMessageBus, type MessageBus } from "../../providers/message-bus/index.ts";
import { enter, notificationSent, quickConsumer, quickRelay, userDeleted } from "../support/messaging.ts";
import { ACQUIRE_TIMEOUT_MS } from "../support/postgres.ts";

/**
 * The process that the crash tests kill: a shop that makes changes and publishes messages, a kitchen that handles them, each
 * with its database, and a client that repeats its requests with their keys. It ends with 0 when all that was
 * asked is done and nothing waits any more.
 *
 * FAULT plants a mistake that the tests must find: `early-ack` acknowledges before the inbox has committed,
 * `no-inbox` has the effect straight from the message bus.
 */
const {
  SHOP_URL = "",
  KITCHEN_URL = "",
  RECORDER_URL = "",
  COUNT = "0",
  DELIVERIES,
  POISON,
  FAULT,
} = process.env;
const CALLER = { id: "tester", role: "customer", sessionId: "s" } as const;
const POLL_MS = 20;

const messageBus =
  FAULT === "early-ack" ? acknowledgingEarly(["kitchen"]) : inProcessMessageBus({ groups: ["kitchen"] });
const shopDb = postgres({ url: SHOP_URL, poolSize: 10, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS, name: "shop" });
const kitchenDb = postgres({
  url: KITCHEN_URL,
  poolSize: 10,
  acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
  name: "kitchen",
});
const out = outbox({
  postgres: shopDb,
  messageBus,
  source: "waybill/shop",
  limits: { ...quickRelay, batch: 10 },
});

const handlers: Handlers = {
  "user.deleted": {
    async inTransaction(trx, message) {
      await enter(trx, message);
      if (message.subject === POISON) failpoint("test.poison");
    },
  },
  "notification.sent": {
    async external(message) {
      await record(message.id);
      return (trx) => enter(trx, message);
    },
  },
};
const kitchen = consumer({
  postgres: kitchenDb,
  messageBus,
  group: "kitchen",
  handlers,
  limits: {
    ...quickConsumer,
    leaseMs: 10_000, // the test ends leases, so that none expires on a busy machine
    renewMs: 100,
    ...(DELIVERIES && { deliveries: Number(DELIVERIES) }),
  },
});

const broker = new ServiceBroker({
  logger: false,
  skipProcessEventRegistration: true,
  middlewares: [signedIn()],
});
broker.createService({
  name: "shop",
  mixins: [shopDb.mixin, out.mixin],
  actions: {
    /** One transaction: the change, its message and the answer to its key. */
    change: (ctx: Ctx<{ n: number }>) =>
      idempotent(shopDb, ctx, "shop.change", async (trx) => {
        await enterChange(trx, "change", ctx.params.n);
        await out.add(trx, [userDeleted(subjectOf("change", ctx.params.n))]);
        failpoint("test.uncommitted");
        return { n: ctx.params.n };
      }),
    /** A call to the outside before the transaction. */
    open: (ctx: Ctx<{ n: number }>) =>
      idempotentLeased(shopDb, ctx, "shop.open", async (finish) => {
        await record(subjectOf("open", ctx.params.n));
        failpoint("test.called");
        return await shopDb.transact(async (trx) => {
          await enterChange(trx, "open", ctx.params.n);
          await out.add(trx, [notificationSent(subjectOf("open", ctx.params.n))]);
          return await finish(trx, { n: ctx.params.n });
        });
      }),
  },
});
broker.createService({
  name: "kitchen",
  mixins: FAULT === "no-inbox" ? [kitchenDb.mixin] : [kitchenDb.mixin, kitchen.mixin],
  async started() {
    if (FAULT !== "no-inbox") return;
    await messageBus.subscribe("kitchen", ["user.deleted", "notification.sent"], async (messages) => {
      for (const message of messages) await enter(kitchenDb.db, message as Parameters<typeof enter>[1]);
    });
  },
});
await broker.start();

for (let n = 0; n < Number(COUNT); n += 1) {
  await Promise.all(["change", "open"].map((what) => repeatedly(what, n)));
  failpoint("test.committed");
}
while (!(await quiet())) await pause();
await broker.stop();

/** As a client: again with the same key, until there is an answer. */
async function repeatedly(what: string, n: number): Promise<void> {
  for (;;) {
    try {
      const meta = { idempotency: { key: `key ${n}`, bodyHash: String(n) } };
      await broker.call(`shop.${what}`, { n }, { meta });
      return;
    } catch {
      await pause();
    }
  }
}

async function quiet(): Promise<boolean> {
  const [said, heard] = await Promise.all([out.stats(), kitchen.stats()]);
  return said.waiting === 0 && heard.waiting === 0;
}

async function enterChange(trx: Parameters<typeof enter>[0], what: string, n: number) {
  await row(trx, "INSERT INTO changes (subject) VALUES (?)", [subjectOf(what, n)]);
}

function subjectOf(what: string, n: number): string {
  return derivedId(what, String(n));
}

async function record(id: string): Promise<void> {
  const answer = await fetch(RECORDER_URL, { method: "POST", body: id });
  if (!answer.ok) throw new Error(`the recorder answered ${answer.status}`);
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

function signedIn(): Middleware {
  return {
    name: "SignedIn",
    localAction(next) {
      const run = next as (ctx: Context) => Promise<unknown>;
      return (ctx: Context) => {
        (ctx.locals as Locals).caller = CALLER;
        return run(ctx);
      };
    },
  };
}

/** The planted fault: what a broker does that confirms what it has in memory. */
function acknowledgingEarly(groups: readonly string[]): MessageBus {
  const honest = inProcessMessageBus({ groups });
  return {
    ...honest,
    async publish(messages) {
      setTimeout(() => honest.publish(messages).catch(() => undefined), 200);
    },
  };
}
