import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { type Database, rows } from "../../lib/sql/database.ts";
import { insertPartner } from "../../services/partners/store/partners.repository.ts";
import {
  insertWebhooks,
  makeDue,
  pruneWebhooks,
  stopPreparation,
} from "../../services/partners/store/webhook-deliveries.repository.ts";
import {
  type ClaimedAttempt,
  claimAttempts,
  endAttempt,
  insertNextAttempt,
  parkAttempt,
} from "../../services/partners/store/webhook-queue.repository.ts";
import { eventually } from "../support/eventually.ts";
import { samplePartner } from "../support/partners.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

const failed = { state: "failed", durationMs: 1, statusCode: 500 } as const;

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await createDatabase("partners");
  db = openPool(database, 8);
});
beforeEach(() => db.query("TRUNCATE webhook_messages CASCADE"));
afterAll(async () => {
  await db.close();
  await database.drop();
});

/** A partner with so many calls that are due; answers the orders that they are about. */
async function due(count: number): Promise<{ partnerId: string; orderIds: string[] }> {
  const partnerId = newId();
  await insertPartner(db, { id: partnerId, ...samplePartner() });
  const orderIds = Array.from({ length: count }, () => newId());
  for (const orderId of orderIds) {
    await insertWebhooks(db, [
      {
        ...{ id: newId(), deliveryId: newId(), messageId: newId(), partnerId, orderId },
        ...{ type: "order.paid", urgency: "preparation", body: "{}" },
      },
    ]);
  }
  return { partnerId, orderIds };
}

const claim = (perPartner: number, limit = 100, furtherLimit = limit): Promise<ClaimedAttempt[]> =>
  db.transaction((trx) =>
    claimAttempts(trx, { leaseId: newId(), leaseMs: 60_000, perPartner, limit, furtherLimit }),
  );

async function statesOf(orderId: string): Promise<string[]> {
  const found = await rows<{ state: string }>(
    db,
    `SELECT d.state FROM webhook_deliveries d JOIN webhook_messages m ON m.id = d.webhook_message_id
     WHERE m.order_id = ? ORDER BY d.attempt`,
    [orderId],
  );
  return found.map(({ state }) => state);
}

describe("the queue of webhooks", () => {
  it("claimed by many processes at once, gives each attempt to one process and each partner its places", async () => {
    const partners = [await due(9), await due(2), await due(5)];
    const claims = await Promise.all(Array.from({ length: 8 }, () => claim(3)));
    const claimed = claims.flat();
    expect(new Set(claimed.map(({ id }) => id)).size).toBe(claimed.length);
    const taken = partners.map(
      ({ partnerId }) => claimed.filter((one) => one.partnerId === partnerId).length,
    );
    expect(taken).toEqual([3, 2, 3]);
    expect(await claim(3)).toEqual([]);
    await endAttempt(db, claimed[0] as ClaimedAttempt, failed);
    expect(await claim(3)).toMatchObject([{ partnerId: claimed[0]?.partnerId }]);
  });

  it("claimed with a small limit, returns the longest waiting attempts", async () => {
    const { orderIds } = await due(4);
    expect((await claim(10, 2)).map(({ orderId }) => orderId).sort()).toEqual(orderIds.slice(0, 2).sort());
  });

  it("claimed with a small limit, gives each partner one place before any gets a second", async () => {
    const partners = [await due(4), await due(4), await due(1)];
    const firsts = await claim(4, 3);
    expect(firsts.map(({ partnerId }) => partnerId).sort()).toEqual(
      partners.map(({ partnerId }) => partnerId).sort(),
    );
    const late = await due(1);
    expect((await claim(4, 1)).map(({ partnerId }) => partnerId)).toEqual([late.partnerId]);
  });

  it("with partners that hang, leaves places for the first attempts of others", async () => {
    await due(4);
    await due(4);
    expect(await claim(4, 8, 3)).toHaveLength(5);
    expect(await claim(4, 3, 0)).toEqual([]);
    const late = await due(2);
    expect(await claim(4, 3, 0)).toMatchObject([{ partnerId: late.partnerId }]);
  });

  it("after the end of a lease, gives the attempt to another worker, and the first can no longer record its outcome", async () => {
    const { orderIds } = await due(1);
    const [first] = await claim(1);
    await db.query("UPDATE webhook_deliveries SET due_at = now()");
    const [second] = await claim(1);
    expect(second).toMatchObject({ id: first?.id, attempt: 1 });
    expect(await endAttempt(db, first as ClaimedAttempt, { ...failed, state: "accepted" })).toBeUndefined();
    expect(await endAttempt(db, second as ClaimedAttempt, failed)).toBe("failed");
    expect(await statesOf(orderIds[0] as string)).toEqual(["failed"]);
  });

  it("gives a partner's places to waiting attempts, independent of ended ones", async () => {
    await due(2);
    const [first] = await claim(1);
    await endAttempt(db, first as ClaimedAttempt, { ...failed, state: "accepted" });
    await db.query("UPDATE webhook_deliveries SET due_at = now() - interval '1 hour' WHERE id = ?", [
      first?.id ?? "",
    ]);
    expect(await claim(1)).toHaveLength(1);
  });

  it("makes a waiting attempt due at once, but not one in progress or one that has ended", async () => {
    await due(3);
    const [underWay, ended] = await claim(2);
    await endAttempt(db, ended as ClaimedAttempt, failed);
    const [waiting] = await rows<{ id: string }>(
      db,
      "SELECT id FROM webhook_deliveries WHERE attempt = 1 AND lease_id IS NULL AND state = 'pending'",
    );
    await db.query("UPDATE webhook_deliveries SET due_at = now() + interval '1 hour'");
    const all = [underWay?.id, ended?.id, waiting?.id];
    for (const id of all) await makeDue(db, id ?? "");
    const madeDue = await rows<{ id: string }>(db, "SELECT id FROM webhook_deliveries WHERE due_at <= now()");
    expect(madeDue).toEqual([{ id: waiting?.id }]);
  });

  it("parks a try only while the endpoint of its partner is gone", async () => {
    const { partnerId } = await due(1);
    const [claimed] = await claim(1);
    const park = () => db.transaction((trx) => parkAttempt(trx, claimed as ClaimedAttempt, 60_000));
    expect(await park()).toBe(false);
    await rows(db, "UPDATE partners SET webhook_gone_at = now() WHERE id = ?", [partnerId]);
    expect(await park()).toBe(true);
  });

  it("is pruned of old messages without a try that waits or is dead", async () => {
    const { orderIds } = await due(4);
    const [accepted, dead, stopped] = await claim(3);
    await endAttempt(db, accepted as ClaimedAttempt, { ...failed, state: "accepted" });
    await endAttempt(db, dead as ClaimedAttempt, { ...failed, state: "dead" });
    await stopPreparation(db, stopped?.orderId ?? "");
    await endAttempt(db, stopped as ClaimedAttempt, failed);
    expect(await pruneWebhooks(db, isoTime(Date.now() - 3_600_000), 10)).toBe(0);
    expect(await pruneWebhooks(db, isoTime(Date.now() + 3_600_000), 10)).toBe(2);
    const left = await rows<{ orderId: string }>(db, "SELECT order_id FROM webhook_messages");
    const gone = [accepted?.orderId, stopped?.orderId];
    expect(left.map(({ orderId }) => orderId).sort()).toEqual(
      orderIds.filter((id) => !gone.includes(id)).sort(),
    );
  });

  it("has no attempt left for an order that is cancelled while an outcome is written", async () => {
    const { orderIds } = await due(1);
    const orderId = orderIds[0] as string;
    const [claimed] = await claim(1);
    const ending = await db.begin();
    expect(await endAttempt(ending, claimed as ClaimedAttempt, failed)).toBe("failed");
    const stopping = db.transaction((trx) => stopPreparation(trx, orderId));
    await eventually(async () => {
      const waiting = await rows(
        db,
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
      );
      expect(waiting).toHaveLength(1);
    });
    await insertNextAttempt(ending, claimed as ClaimedAttempt, newId(), 0);
    await ending.commit();
    await stopping;
    expect(await statesOf(orderId)).toEqual(["failed", "stopped"]);
  });

  it.each(["failed", "accepted"] as const)(
    "records the outcome of an attempt that is %s after the order was cancelled, and makes no further attempt",
    async (state) => {
      const { orderIds } = await due(1);
      const orderId = orderIds[0] as string;
      const [claimed] = await claim(1);
      await stopPreparation(db, orderId);
      const ended = await endAttempt(db, claimed as ClaimedAttempt, { ...failed, state });
      expect(ended).toBe(state === "accepted" ? "accepted" : "stopped");
      expect(await claim(1)).toEqual([]);
    },
  );
});
