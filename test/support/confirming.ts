import { startOrders } from "./orders-service.ts";

/**
 * A process that confirms one order under an Idempotency-Key, and is killed on the way where FAILPOINTS says so.
 * CONFIRMATION holds what is asked, by whom and under which key.
 */
const { POSTGRES_URL = "", BANK_URL = "", CONFIRMATION = "" } = process.env;
const { who, params, key } = JSON.parse(CONFIRMATION);
const shop = await startOrders({ url: POSTGRES_URL, bankUrl: BANK_URL });
await shop.as(who, "orders.confirm", params, key);
await shop.stop();
