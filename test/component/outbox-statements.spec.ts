import { describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Db, rows } from "../../lib/sql/database.ts";
import * as letters from "../../mixins/consumer/dead-letters.repository.ts";
import * as inbox from "../../mixins/consumer/inbox.repository.ts";
import * as outbox from "../../mixins/outbox/outbox.repository.ts";
import * as replays from "../../mixins/outbox/replay.repository.ts";
import * as keys from "../../mixins/postgres/idempotency.repository.ts";
import { byId, setRow } from "../support/message-rows.ts";
import { incoming, userDeleted } from "../support/messaging.ts";
import { at, statementDatabase } from "../support/still-transaction.ts";

/*
 * The statements of the outbox and of idempotency keys by themselves: other rows beside the ones that they name,
 * and times to the moment.
 */

const statements = statementDatabase("orders", 20);
const { still } = statements;
const GROUP = "orders";

describe("an outbox", () => {
  const filled = async (trx: Db, count: number) => {
    const made = byId(count);
    await outbox.insertMessages(trx, made);
    return made.map(({ id }) => id) as string[] & [string, string, string, string, string];
  };
  const idsOf = (found: outbox.Waiting[]) => found.map(({ message }) => message.id);

  it("lists due messages, fresh and formerly refused, to the moment", async () => {
    await still(async (trx) => {
      expect(await outbox.dueMessages(trx)).toEqual({ fresh: false, retried: false });
      const [fresh] = await filled(trx, 1);
      expect(await outbox.dueMessages(trx)).toEqual({ fresh: true, retried: false });
      await setRow(trx, "outbox", fresh, `next_at = ${at(0.001)}`);
      expect(await outbox.dueMessages(trx)).toEqual({ fresh: false, retried: false });
      await setRow(trx, "outbox", fresh, "attempts = 1");
      expect(await outbox.dueMessages(trx)).toEqual({ fresh: false, retried: false });
      await setRow(trx, "outbox", fresh, "next_at = now()");
      expect(await outbox.dueMessages(trx)).toEqual({ fresh: false, retried: true });
      await outbox.markSent(trx, [fresh]);
      expect(await outbox.dueMessages(trx)).toEqual({ fresh: false, retried: false });
    });
  });

  it("gives due messages, the longest due first, and no sent or later ones", async () => {
    await still(async (trx) => {
      const ids = await filled(trx, 5);
      await setRow(trx, "outbox", ids[0], `next_at = ${at(-1)}`);
      await setRow(trx, "outbox", ids[1], `next_at = ${at(-2)}`);
      await setRow(trx, "outbox", ids[2], `next_at = ${at(0.001)}`);
      await setRow(trx, "outbox", ids[3], "attempts = 2");
      await outbox.markSent(trx, [ids[4]]);
      expect(idsOf(await outbox.claimMessages(trx, false, 9))).toEqual([ids[1], ids[0]]);
      expect(idsOf(await outbox.claimMessages(trx, false, 1))).toEqual([ids[1]]);
      expect(await outbox.claimMessages(trx, true, 9)).toMatchObject([
        { attempts: 2, message: { id: ids[3] } },
      ]);
    });
  });

  it("records the result of a message, and of no other", async () => {
    await still(async (trx) => {
      const ids = await filled(trx, 3);
      await outbox.markFailed(trx, [{ id: ids[0], delayMs: 60_000 }], "refused");
      await outbox.markSent(trx, [ids[1]]);
      const found = await rows(
        trx,
        `SELECT id, attempts, error, sent_at IS NOT NULL AS sent, next_at > now() + interval '50 seconds' AS later
         FROM outbox ORDER BY id`,
      );
      expect(found).toEqual([
        { id: ids[0], attempts: 1, error: "refused", sent: false, later: true },
        { id: ids[1], attempts: 0, sent: true, later: false },
        { id: ids[2], attempts: 0, sent: false, later: false },
      ]);
      await outbox.markSent(trx, [ids[0]]);
      expect(await rows(trx, "SELECT error FROM outbox WHERE id = ?", [ids[0]])).toEqual([{}]);
    });
  });

  it("counts waiting messages and their age", async () => {
    await still(async (trx) => {
      expect(await outbox.outboxStats(trx)).toEqual({ waiting: 0, oldestAgeMs: 0 });
      const ids = await filled(trx, 3);
      await setRow(trx, "outbox", ids[0], `created_at = ${at(-9)}`);
      await setRow(trx, "outbox", ids[1], `created_at = ${at(-5)}, attempts = 1`);
      await setRow(trx, "outbox", ids[2], `created_at = ${at(-2)}`);
      expect(await outbox.outboxStats(trx)).toEqual({ waiting: 3, oldestAgeMs: 9_000 });
      await outbox.markSent(trx, [ids[0]]);
      expect(await outbox.outboxStats(trx)).toEqual({ waiting: 2, oldestAgeMs: 5_000 });
      await outbox.markSent(trx, [ids[1]]);
      expect(await outbox.outboxStats(trx)).toEqual({ waiting: 1, oldestAgeMs: 2_000 });
    });
  });

  it("deletes messages sent before a given age, the oldest first", async () => {
    await still(async (trx) => {
      const ids = await filled(trx, 5);
      for (const [index, seconds] of [-11, -13, -10, -12].entries()) {
        await setRow(trx, "outbox", ids[index], `sent_at = ${at(seconds)}`);
      }
      const left = async () =>
        (await rows<{ id: string }>(trx, "SELECT id FROM outbox ORDER BY id")).map(({ id }) =>
          ids.indexOf(id),
        );
      expect(await outbox.pruneOutbox(trx, 10_000, 2)).toBe(2);
      expect(await left()).toEqual([0, 2, 4]);
      expect(await outbox.pruneOutbox(trx, 10_000, 9)).toBe(1);
      expect(await left()).toEqual([2, 4]);
    });
  });

  it("replaces its checkpoint if it is the one that was read", async () => {
    await still(async (trx) => {
      expect(await replays.findCheckpoint(trx)).toBeUndefined();
      expect(await replays.saveCheckpoint(trx, "one", undefined, undefined)).toBe(true);
      expect(await replays.saveCheckpoint(trx, "two", undefined, undefined)).toBe(false);
      expect(await replays.saveCheckpoint(trx, "two", "zero", undefined)).toBe(false);
      expect([await replays.findCheckpoint(trx), await replays.isReplaying(trx)]).toEqual(["one", false]);
      expect(await replays.claimReplay(trx)).toBeUndefined();
      expect(await replays.saveCheckpoint(trx, "two", "one", 5_000)).toBe(true);
      expect([await replays.findCheckpoint(trx), await replays.isReplaying(trx)]).toEqual(["two", true]);
      await replays.endReplay(trx);
      expect(await replays.isReplaying(trx)).toBe(false);
    });
  });

  it("repeats messages sent in a time before the last one, newest first, in batches", async () => {
    await still(async (trx) => {
      const ids = await filled(trx, 5);
      for (const [index, seconds] of [-30, -20, -10, -10].entries()) {
        await setRow(trx, "outbox", ids[index], `sent_at = ${at(seconds)}`);
      }
      await replays.saveCheckpoint(trx, "one", undefined, 10_000);
      const found = async (limit: number) => {
        const claimed = await replays.claimReplay(trx);
        return claimed ? await replays.replayedMessages(trx, claimed, limit) : [];
      };
      const order = (batch: Awaited<ReturnType<typeof found>>) =>
        batch.map(({ message }) => ids.indexOf(message.id));
      expect(order(await found(9))).toEqual([3, 2, 1]);
      const [first] = await found(1);
      await replays.advanceReplay(trx, first?.sentAt ?? "", first?.message.id ?? "");
      expect(order(await found(9))).toEqual([2, 1]);
      // Asked for more while it is under way: it begins anew and goes further back.
      await replays.saveCheckpoint(trx, "two", "one", Number.POSITIVE_INFINITY);
      expect(order(await found(9))).toEqual([3, 2, 1, 0]);
      await replays.saveCheckpoint(trx, "three", "two", 1_000);
      expect(order(await found(9))).toEqual([3, 2, 1, 0]);
    });
  });

  it("is recent if few messages are left, or they are as new as the last one", async () => {
    await still(async (trx) => {
      const [id] = await filled(trx, 1);
      await rows(trx, "UPDATE outbox SET sent_at = '2026-01-01T00:01:40Z' WHERE id = ?", [id]);
      const recent = (newest: string, since: string) =>
        replays.isRecent(trx, `2026-01-01T00:${newest}Z`, `2026-01-01T00:${since}Z`, 10_000);
      expect(await recent("00:10", "00:00")).toBe(true);
      expect(await recent("00:11", "00:00")).toBe(false);
      expect(await recent("01:30", "00:00")).toBe(true);
      expect(await recent("01:29", "00:00")).toBe(false);
    });
  });
});

describe("an idempotency key", () => {
  const of = (more: Partial<keys.RequestKey> = {}): keys.RequestKey => ({
    userId: "",
    scope: "s",
    key: "k",
    bodyHash: "h",
    ...more,
  });
  const user = newId();
  const mine = (more: Partial<keys.RequestKey> = {}) => of({ userId: user, ...more });
  const others = [mine({ scope: "t" }), mine({ key: "l" }), of({ userId: newId() })];
  const age = (trx: Db, seconds: number) =>
    rows(trx, `UPDATE idempotency_keys SET created_at = ${at(seconds)} WHERE user_id = ?`, [user]);
  const DAY_SECONDS = 86_400;

  it("stores its answer for a day, to the moment, for no other key", async () => {
    await still(async (trx) => {
      await keys.storeAnswer(trx, mine(), { id: 1 });
      expect(await keys.findKey(trx, mine())).toEqual({ bodyHash: "h", answer: { value: { id: 1 } } });
      for (const other of others) expect(await keys.findKey(trx, other)).toBeUndefined();
      await age(trx, -DAY_SECONDS + 1);
      expect(await keys.findKey(trx, mine())).toBeDefined();
      await age(trx, -DAY_SECONDS);
      expect(await keys.findKey(trx, mine())).toBeUndefined();
      await keys.storeAnswer(trx, mine({ bodyHash: "i" }), 2);
      expect(await keys.findKey(trx, mine())).toEqual({ bodyHash: "i", answer: { value: 2 } });
    });
  });

  it("is locked by one transaction at a time", async () => {
    await still(async (trx) => {
      expect(await keys.tryLock(trx, mine())).toBe(true);
      await still(async (second) => {
        expect(await keys.tryLock(second, mine())).toBe(false);
        for (const other of others) expect(await keys.tryLock(second, other)).toBe(true);
      });
    });
  });

  it("is claimed under a lease, by the same body again after it, and never after its answer", async () => {
    await still(async (trx) => {
      const claim = (more?: Partial<keys.RequestKey>) => keys.claimKey(trx, mine(more), newId(), 1_000);
      const lease = (seconds: number) =>
        rows(trx, `UPDATE idempotency_keys SET lease_until = ${at(seconds)}`);
      expect([await claim(), await claim()]).toEqual([true, false]);
      await lease(0);
      expect(await claim()).toBe(false);
      await lease(-0.001);
      expect([await claim({ bodyHash: "i" }), await claim()]).toEqual([false, true]);
      const token = newId();
      await lease(-1);
      expect(await keys.claimKey(trx, mine(), token, 1_000)).toBe(true);
      for (const other of others) expect(await keys.finishKey(trx, other, token, 1)).toBe(false);
      expect(await keys.finishKey(trx, mine(), newId(), 1)).toBe(false);
      expect(await keys.finishKey(trx, mine(), token, 1)).toBe(true);
      expect(await keys.finishKey(trx, mine(), token, 1)).toBe(false);
      await age(trx, -DAY_SECONDS + 1);
      expect(await claim()).toBe(false);
      await age(trx, -DAY_SECONDS);
      expect(await claim({ bodyHash: "i" })).toBe(true);
      expect(await keys.findKey(trx, mine())).toEqual({ bodyHash: "i" });
    });
  });

  it("keeps its day when it is claimed again after a lease", async () => {
    await still(async (trx) => {
      await keys.claimKey(trx, mine(), newId(), 1_000);
      await age(trx, -DAY_SECONDS + 60);
      await rows(trx, `UPDATE idempotency_keys SET lease_until = ${at(-1)}`);
      expect(await keys.claimKey(trx, mine(), newId(), 1_000)).toBe(true);
      const old = "SELECT extract(epoch FROM now() - created_at)::integer AS seconds FROM idempotency_keys";
      expect(await rows(trx, old)).toEqual([{ seconds: DAY_SECONDS - 60 }]);
    });
  });

  it("is released by its own lease alone", async () => {
    await still(async (trx) => {
      const token = newId();
      for (const one of [mine(), ...others]) await keys.claimKey(trx, one, token, 1_000);
      const left = async () => (await rows(trx, "SELECT FROM idempotency_keys")).length;
      await keys.releaseKey(trx, mine(), newId());
      expect(await left()).toBe(4);
      await keys.releaseKey(trx, mine(), token);
      expect(await left()).toBe(3);
      for (const other of others) expect(await keys.claimKey(trx, other, newId(), 1)).toBe(false);
    });
  });

  it("is deleted if its last use was before a moment, the oldest first", async () => {
    await still(async (trx) => {
      const all = ["a", "b", "c", "d"];
      for (const [index, key] of all.entries()) {
        await keys.storeAnswer(trx, mine({ key }), 1);
        const second = [2, 1, 4, 3][index];
        await rows(trx, "UPDATE idempotency_keys SET created_at = ? WHERE key = ?", [
          `2026-01-01T00:00:0${second}Z`,
          key,
        ]);
      }
      const left = async () =>
        (await rows<{ key: string }>(trx, "SELECT key FROM idempotency_keys ORDER BY key")).map(
          ({ key }) => key,
        );
      expect(await keys.pruneKeys(trx, "2026-01-01T00:00:04Z", 2)).toBe(2);
      expect(await left()).toEqual(["c", "d"]);
      expect(await keys.pruneKeys(trx, "2026-01-01T00:00:04Z", 9)).toBe(1);
      expect(await left()).toEqual(["c"]);
    });
  });
});

describe("a write", () => {
  const lease = { group: GROUP, messageId: newId(), token: newId() };
  const key = { userId: newId(), scope: "s", key: "k", bodyHash: "h" };
  const content = { ...incoming(userDeleted()), state: "waiting" as const };
  const writes: Record<string, () => Promise<unknown>> = {
    revive: () => letters.requeue(statements.db, newId(), content),
    insertMessages: () => outbox.insertMessages(statements.db, [incoming(userDeleted())]),
    markSent: () => outbox.markSent(statements.db, [newId()]),
    markFailed: () => outbox.markFailed(statements.db, [{ id: newId(), delayMs: 1 }], "x"),
    advanceReplay: () => replays.advanceReplay(statements.db, "2026-01-01", newId()),
    endReplay: () => replays.endReplay(statements.db),
    storeAnswer: () => keys.storeAnswer(statements.db, key, 1),
    releaseKey: () => keys.releaseKey(statements.db, key, newId()),
    reschedule: () => inbox.reschedule(statements.db, lease, 0, 0),
  };

  it("ends when the database has it, not before", async () => {
    await statements.expectToWaitFor("inbox, outbox, carrier_marks, idempotency_keys", writes);
  });
});
