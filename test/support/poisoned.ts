import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";
import { enter, GROUP, startService } from "./messaging.ts";
import { ACQUIRE_TIMEOUT_MS } from "./postgres.ts";

/** A process with an inbox that ends when it meets one message, as a program does that runs out of memory on it. */
const { POSTGRES_URL = "", POISON, LEASE_MS } = process.env;
const db = postgres({
  url: POSTGRES_URL,
  poolSize: 5,
  acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
  name: "poisoned",
});
const leaseMs = Number(LEASE_MS);
const inbox = consumer({
  ...{ postgres: db, messageBus: inProcessMessageBus({ groups: [GROUP] }), group: GROUP },
  limits: { leaseMs, renewMs: leaseMs / 3, sweepMs: 100 },
  handlers: {
    "user.deleted": {
      async inTransaction(trx, message) {
        if (message.subject === POISON) process.exit(1);
        await enter(trx, message);
      },
    },
  },
});
await startService({ mixins: [db.mixin, inbox.mixin] });
process.send?.("started");
