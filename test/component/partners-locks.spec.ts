import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import type { Database } from "../../lib/sql/database.ts";
import { insertWebhooks } from "../../services/partners/store/webhook-deliveries.repository.ts";
import {
  type ClaimedAttempt,
  claimAttempts,
  deferAttempt,
} from "../../services/partners/store/webhook-queue.repository.ts";
import { type OtherTransaction, whileLocked } from "../support/locks.ts";
import { lineOf, type PartnersHarness, reservationOf, startPartners } from "../support/partners.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

let shop: PartnersHarness;
/** Without a service, whose sender would claim the attempts of the test. */
let queue: { database: TestDatabase; db: Database; partnerId: string };
beforeAll(async () => {
  shop = await startPartners();
  const { id: partnerId } = await shop.openPartner();
  const database = await createDatabase("partners");
  const db = openPool(database, 4);
  const [partner] = await shop.sql("SELECT to_jsonb(p) AS json FROM partners p WHERE id = $1", [partnerId]);
  await db.query("INSERT INTO partners SELECT * FROM jsonb_populate_record(NULL::partners, ?)", [
    JSON.stringify(partner?.json),
  ]);
  queue = { database, db, partnerId };
});
afterAll(async () => {
  await shop.stop();
  await queue.db.close();
  await queue.database.drop();
});

/** A preparation webhook whose first attempt is due. */
async function dueWebhook(): Promise<string> {
  const id = newId();
  await insertWebhooks(queue.db, [
    {
      ...{ id, deliveryId: newId(), messageId: newId(), partnerId: queue.partnerId, orderId: newId() },
      ...{ type: "order.paid", urgency: "preparation", body: "{}" },
    },
  ]);
  return id;
}

const claim = (): Promise<ClaimedAttempt[]> =>
  queue.db.transaction((trx) =>
    claimAttempts(trx, { leaseId: newId(), leaseMs: 60_000, perPartner: 9, limit: 9, furtherLimit: 9 }),
  );
const lockMessage = (other: OtherTransaction, id: string) =>
  other.query("UPDATE webhook_messages SET stopped_at = now() WHERE id = $1", [id]);
const lockAttempts = (other: OtherTransaction, id: string) =>
  other.query("UPDATE webhook_deliveries SET state = 'stopped' WHERE webhook_message_id = $1", [id]);

/* Locks in another order than that of the other transactions let two of them wait for each other, for a second at least. */
describe("the locks of the partners service", () => {
  it("a claim of webhooks waits for no message that is being stopped, and holds no attempt of it", async () => {
    const [stopped, due] = [await dueWebhook(), await dueWebhook()];
    const trx = await queue.db.begin();
    try {
      const other: OtherTransaction = {
        query: (sql, values) => trx.query(sql.replaceAll(/\$\d/g, "?"), values),
      };
      await lockMessage(other, stopped);
      expect((await claim()).map(({ webhookMessageId }) => webhookMessageId)).toEqual([due]);
      await lockAttempts(other, stopped);
    } finally {
      await trx.rollback();
    }
    expect((await claim()).map(({ webhookMessageId }) => webhookMessageId)).toEqual([stopped]);
  });

  it("an attempt that is deferred waits for its message and holds nothing", async () => {
    const id = await dueWebhook();
    const attempt = (await claim()).find(({ webhookMessageId }) => webhookMessageId === id) as ClaimedAttempt;
    const deferred = await whileLocked(
      queue.database.url,
      (other) => lockMessage(other, id),
      () => queue.db.transaction((trx) => deferAttempt(trx, attempt, 1_000, "no secret")),
      (other) => lockAttempts(other, id),
    );
    expect(deferred).toBe(true);
  });

  it("a change of the endpoint does not wait for inserts that refer to the partner", async () => {
    const partner = await shop.openPartner();
    const { id: partnerId } = partner;
    const set = () =>
      shop.asAdmin("partners.setWebhook", { partnerId, url: "https://shop.example/hook", enabled: true });
    await set();
    const other = openPool(shop, 1);
    const inserting = await other.begin();
    try {
      await inserting.query("SELECT FROM partners WHERE id = ? FOR KEY SHARE", [partnerId]);
      await expect(set()).resolves.toMatchObject({ enabled: true });
    } finally {
      await inserting.rollback();
      await other.close();
    }
  });

  it("a repeated reservation waits for the order's own and holds no stock", async () => {
    const partner = await shop.openPartner();
    const offer = await shop.product(partner.id, { stock: 9 });
    const wanted = reservationOf(partner, [lineOf(offer, 2)]);
    await shop.bare("partners.reserve", wanted);
    await whileLocked(
      shop.url,
      (other) =>
        other.query("UPDATE stock_reservations SET updated_at = now() WHERE order_id = $1", [wanted.orderId]),
      () => shop.bare("partners.reserve", wanted),
      (other) => other.query("SELECT FROM availability WHERE product_id = $1 FOR UPDATE", [offer.productId]),
    );
    expect(await shop.sql("SELECT stock FROM availability WHERE product_id = $1", [offer.productId])).toEqual(
      [{ stock: 7 }],
    );
  });
});
