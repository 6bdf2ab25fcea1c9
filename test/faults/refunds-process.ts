import { setTimeout as delay } from "node:timers/promises";
import { ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";
import { ordersService } from "../../services/orders/orders.service.ts";
import { ordersSettings } from "../support/orders-service.ts";
import { query } from "../support/sql.ts";

/**
 * The orders service that the crash tests of refunds kill: it does the refunds that stand in its database, and ends with
 * 0 when none is open any more.
 */
const { DATABASE_URL = "", DATA_DIR = "" } = process.env;
const POLL_MS = 20;

const broker = new ServiceBroker(
  brokerOptions({
    ...{ nodeID: "orders", namespace: newId(), transporter: { type: "Fake" } },
    ...{ logLevel: "fatal", json: false, middlewares: [], requestTimeoutMs: 1_800 },
  }),
);
broker.createService(
  ordersService({
    config: { ...ordersSettings(DATABASE_URL), DATA_DIR },
    messageBus: inProcessMessageBus({ groups: ["orders"] }),
    sweepIntervalMs: 50,
  }),
);
await broker.start();
const open = "SELECT 1 FROM refunds WHERE state NOT IN ('completed', 'failed') LIMIT 1";
while ((await query(DATABASE_URL, open)).length > 0) await delay(POLL_MS);
await broker.stop();
