import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Database, type Db, rows, type Transaction } from "../../lib/sql/database.ts";
import * as letters from "../../mixins/consumer/dead-letters.repository.ts";
import * as inbox from "../../mixins/consumer/inbox.repository.ts";
import * as outbox from "../../mixins/outbox/outbox.repository.ts";
import * as replays from "../../mixins/outbox/replay.repository.ts";
import * as keys from "../../mixins/postgres/idempotency.repository.ts";
import { eventually } from "../support/eventually.ts";
import { incoming, userDeleted } from "../support/messaging.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";
import { at, inStillTransaction } from "../support/still-transaction.ts";

/* The statements of the messages by themselves: what stands beside a row that they mean, and times to the moment. */

const GROUP = "orders";
const LEASE = { token: newId(), leaseMs: 60_000 };
let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await createDatabase("orders");
  db = openPool(database, 20);
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const still = (work: (trx: Transaction) => Promise<void>) => inStillTransaction(db, work);
const messages = (count: number) => Array.from({ length: count }, () => incoming(userDeleted()));
/** Ascending, so that the first is the oldest. */
const byId = (count: number) => messages(count).sort((a, b) => (a.id < b.id ? -1 : 1));
const received = async (trx: Db, count: number, group = GROUP) => {
  const made = byId(count);
  const accepted = await inbox.acceptMessages(
    trx,
    group,
    made.map((one) => ({ ...one, state: "waiting" })),
    LEASE,
  );
  expect(accepted.size).toBe(count);
  return made.map(({ id }) => id);
};
const set = (trx: Db, table: "inbox" | "outbox", id: string | undefined, values: string) =>
  rows(trx, `UPDATE ${table} SET ${values} WHERE ${table === "inbox" ? "message_id" : "id"} = ?`, [id]);
const dead = (trx: Db, id: string | undefined, letter: string, state = "dead") =>
  set(trx, "inbox", id, `state = '${state}', error = 'broken', dead_letter_id = '${letter}'`);

/** So many statements wait for a lock. */
const waiting = (count: number) =>
  eventually(async () => {
    const [found] = await rows<{ count: number }>(
      db,
      `SELECT count(DISTINCT pid)::integer AS count FROM pg_locks
       WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    );
    expect(found?.count).toBe(count);
  });

describe("a dead letter", () => {
  it("is listed, the latest first, without waiting, handled and dropped messages", async () => {
    await still(async (trx) => {
      const ids = await received(trx, 5);
      const [one, two, three] = [newId(), newId(), newId()].sort() as [string, string, string];
      await dead(trx, ids[0], two);
      await dead(trx, ids[1], three, "quarantined");
      await dead(trx, ids[2], one, "dropped");
      await set(trx, "inbox", ids[3], "state = 'done'");
      const listed = await letters.listDeadLetters(trx, 9);
      expect(listed).toMatchObject([
        { id: three, messageId: ids[1] },
        { id: two, messageId: ids[0], consumer: GROUP, error: "broken" },
      ]);
      expect(await letters.listDeadLetters(trx, 1)).toHaveLength(1);
    });
  });

  it("is locked, requeued and dropped alone, and only while it is one", async () => {
    await still(async (trx) => {
      const ids = await received(trx, 3);
      const [one, other, third] = [newId(), newId(), newId()];
      await dead(trx, ids[0], one);
      await dead(trx, ids[1], other, "quarantined");
      await dead(trx, ids[2], third);
      expect(await letters.lockDeadLetter(trx, newId())).toBeUndefined();
      const found = await letters.lockDeadLetter(trx, one);
      expect(found).toMatchObject({ messageId: ids[0], state: "dead" });
      const content = { ...incoming(userDeleted()), subject: "s", state: "waiting" as const };
      await letters.requeue(trx, one, content);
      const [revived] = await rows(
        trx,
        "SELECT state, attempts, subject, error FROM inbox WHERE dead_letter_id = ?",
        [one],
      );
      expect(revived).toEqual({ state: "waiting", attempts: 0, subject: "s" });
      expect(await letters.lockDeadLetter(trx, one)).toBeUndefined();
      expect(await letters.drop(trx, one)).toBe(false);
      expect(await letters.wasDeadLetter(trx, one)).toBe(true);
      expect(await letters.wasDeadLetter(trx, newId())).toBe(false);
      await letters.requeue(trx, one, { ...content, subject: "t" });
      const subjects = "SELECT subject FROM inbox WHERE subject IN ('s', 't')";
      expect(await rows(trx, subjects)).toEqual([{ subject: "s" }]);
      expect([await letters.drop(trx, other), await letters.drop(trx, other)]).toEqual([true, false]);
      expect(await letters.lockDeadLetter(trx, third)).toMatchObject({ messageId: ids[2] });
    });
  });

  it("is deleted at its age, the oldest first", async () => {
    await still(async (trx) => {
      const ids = await received(trx, 5);
      const [one, two, three, four, five] = Array.from({ length: 5 }, () => newId()).sort() as string[] &
        [string, string, string, string, string];
      await dead(trx, ids[0], two);
      await dead(trx, ids[1], one);
      await dead(trx, ids[2], three, "quarantined");
      await dead(trx, ids[3], four);
      await dead(trx, ids[4], five);
      await set(trx, "inbox", ids[1], "state = 'waiting'");
      const left = async () => (await letters.listDeadLetters(trx, 9)).map(({ id }) => id).sort();
      expect(await letters.pruneDeadLetters(trx, four, 1)).toBe(1);
      expect(await left()).toEqual([three, four, five]);
      expect(await letters.pruneDeadLetters(trx, four, 9)).toBe(1);
      expect(await left()).toEqual([four, five]);
      expect(await letters.wasDeadLetter(trx, one)).toBe(true);
    });
  });

  it("counts as undelivered of its subject, as do waiting and unsent messages", async () => {
    await still(async (trx) => {
      const ids = await received(trx, 5);
      for (const id of ids.slice(0, 4)) await set(trx, "inbox", id, "subject = 's'");
      await dead(trx, ids[0], newId());
      await dead(trx, ids[1], newId(), "dropped");
      await set(trx, "inbox", ids[2], "state = 'done'");
      const sent = messages(3).map((one) => ({ ...one, subject: "s" }));
      const [unsent, gone, other] = sent as [(typeof sent)[0], (typeof sent)[0], (typeof sent)[0]];
      await outbox.insertMessages(trx, [unsent, gone, { ...other, subject: "t" }]);
      await outbox.markSent(trx, [gone.id]);
      const found = await letters.listUndelivered(trx, "s", 9);
      expect(found.map(({ messageId }) => messageId).sort()).toEqual([ids[0], ids[3], unsent.id].sort());
      expect(found.find(({ messageId }) => messageId === ids[0])).toMatchObject({ error: "broken" });
      expect(await letters.listUndelivered(trx, "s", 2)).toHaveLength(2);
    });
  });
});

describe("an inbox", () => {
  it("identifies a message by id and group, and keeps the first copy", async () => {
    await still(async (trx) => {
      const [message] = messages(1).map((one) => ({ ...one, state: "waiting" as const }));
      const accept = async (group: string) =>
        (await inbox.acceptMessages(trx, group, message ? [message] : [], LEASE)).size;
      expect([await accept("a"), await accept("a"), await accept("b")]).toEqual([1, 0, 1]);
    });
  });

  it("of new messages, leases those that are claimed on arrival, and no known ones", async () => {
    await still(async (trx) => {
      const [known, claimed, waiting] = byId(3).map((one) => ({ ...one, state: "waiting" as const }));
      if (!known || !claimed || !waiting) throw new Error("three messages are made");
      await inbox.acceptMessages(trx, GROUP, [known], LEASE);
      const arrived = [{ ...known, claim: true }, { ...claimed, claim: true }, waiting];
      const fresh = await inbox.acceptMessages(trx, GROUP, arrived, LEASE);
      expect(fresh).toEqual(new Set([claimed.id, waiting.id]));
      const stored = await rows(
        trx,
        `SELECT message_id, attempts, lease_token, extract(epoch FROM next_at - now())::integer AS due_in
         FROM inbox ORDER BY message_id`,
      );
      expect(stored).toEqual([
        { messageId: known.id, attempts: 0, dueIn: 0 },
        { messageId: claimed.id, attempts: 1, leaseToken: LEASE.token, dueIn: LEASE.leaseMs / 1_000 },
        { messageId: waiting.id, attempts: 0, dueIn: 0 },
      ]);
    });
  });

  it("counts waiting and dead messages of its group, and the age of the oldest waiting one of its types", async () => {
    await still(async (trx) => {
      const ids = await received(trx, 5);
      await received(trx, 2, "partners");
      await set(trx, "inbox", ids[0], `created_at = ${at(-100)}, type = 'other'`);
      await set(trx, "inbox", ids[1], `created_at = ${at(-20)}`);
      await set(trx, "inbox", ids[2], `created_at = ${at(-50)}, state = 'done'`);
      await dead(trx, ids[3], newId());
      await rows(trx, `UPDATE inbox SET created_at = ${at(-70)} WHERE consumer = 'partners'`);
      expect(await inbox.inboxStats(trx, GROUP, ["user.deleted"])).toEqual({
        ...{ waiting: 3, deadLetters: 1, oldestAgeMs: 20_000 },
      });
      expect(await inbox.oldestWaitingMs(trx, GROUP, ["other", "user.deleted"])).toBe(100_000);
      expect(await inbox.oldestWaitingMs(trx, GROUP, ["none"])).toBe(0);
      await rows(trx, `UPDATE inbox SET created_at = ${at(5)}`);
      expect(await inbox.oldestWaitingMs(trx, GROUP, ["user.deleted"])).toBe(0);
    });
  });

  it("finds the oldest of many waiting messages among those that are due first", async () => {
    await still(async (trx) => {
      const [oldest] = await received(trx, 150);
      await rows(trx, `UPDATE inbox SET next_at = ${at(10)}`);
      await set(trx, "inbox", oldest, `created_at = ${at(-60)}, next_at = ${at(1)}`);
      expect(await inbox.oldestWaitingMs(trx, GROUP, ["user.deleted"])).toBe(60_000);
    });
  });

  it("gives due messages, to the moment, to a claim of their type", async () => {
    await still(async (trx) => {
      const ids = await received(trx, 4);
      await set(trx, "inbox", ids[0], `next_at = ${at(0.001)}`);
      await set(trx, "inbox", ids[1], "next_at = now()");
      await set(trx, "inbox", ids[2], "type = 'other'");
      await set(trx, "inbox", ids[3], "consumer = 'partners'");
      const claim = (types: string[]) =>
        inbox.claimDue(trx, { group: GROUP, types, limit: 9, isolated: 1, token: newId(), leaseMs: 1_000 });
      expect((await claim(["user.deleted"])).map(({ messageId }) => messageId)).toEqual([ids[1]]);
      const [other] = await claim(["other"]);
      expect(other).toMatchObject({ messageId: ids[2], attempts: 1, suspect: false, replayed: false });
    });
  });

  it("gives suspects separately, one at a time", async () => {
    await still(async (trx) => {
      const ids = await received(trx, 4);
      const vanished = (attempts: number) => `attempts = ${attempts}, lease_token = '${newId()}'`;
      await set(trx, "inbox", ids[0], `${vanished(2)}, next_at = ${at(-5)}`);
      await set(trx, "inbox", ids[1], `${vanished(2)}, next_at = ${at(-6)}`);
      await set(trx, "inbox", ids[2], `${vanished(1)}, next_at = ${at(-4)}`);
      await set(trx, "inbox", ids[3], `attempts = 3, next_at = ${at(-3)}`);
      const claim = async (isolated: number) =>
        (
          await inbox.claimDue(trx, {
            ...{ group: GROUP, types: ["user.deleted"], limit: 9, isolated, token: newId(), leaseMs: 60_000 },
          })
        )
          .sort((a, b) => ids.indexOf(a.messageId) - ids.indexOf(b.messageId))
          .map((one) => [ids.indexOf(one.messageId), one.suspect, inbox.isIsolated(one)]);
      expect(await claim(0)).toEqual([
        [2, true, false],
        [3, false, false],
      ]);
      expect(await claim(1)).toEqual([[1, true, true]]);
      expect(await claim(1)).toEqual([[0, true, true]]);
      expect(await claim(1)).toEqual([]);
    });
  });

  it("deletes handled messages of a given age, the oldest first", async () => {
    await still(async (trx) => {
      const ids = await received(trx, 6);
      for (const id of [ids[0], ids[2], ids[4], ids[5]]) await set(trx, "inbox", id, "state = 'done'");
      await dead(trx, ids[1], newId(), "dropped");
      const left = async () =>
        (await rows<{ messageId: string }>(trx, "SELECT message_id FROM inbox ORDER BY 1")).map(
          ({ messageId }) => messageId,
        );
      expect(await inbox.pruneInbox(trx, ids[4] as string, 2)).toBe(2);
      expect(await left()).toEqual(ids.slice(2));
      expect(await inbox.pruneInbox(trx, ids[4] as string, 9)).toBe(1);
      expect(await left()).toEqual(ids.slice(3));
    });
  });

  it("extends and ends leases of its own group and token only", async () => {
    await still(async (trx) => {
      const [id = "", other = ""] = await received(trx, 2);
      const token = newId();
      await inbox.claimDue(trx, {
        ...{ group: GROUP, types: ["user.deleted"], limit: 9, isolated: 0, token, leaseMs: 1_000 },
      });
      const fence = { group: GROUP, messageId: id, token };
      expect(await inbox.renewLeases(trx, GROUP, [fence], 60_000)).toEqual(new Set([id]));
      const lasts =
        "SELECT extract(epoch FROM next_at - now())::integer AS seconds FROM inbox WHERE message_id = ?";
      expect(await rows(trx, lasts, [id])).toEqual([{ seconds: 60 }]);
      expect(await rows(trx, lasts, [other])).toEqual([{ seconds: 1 }]);
      expect(await inbox.reschedule(trx, fence, 5_000, 0, "away")).toBe(true);
      const [back] = await rows(trx, "SELECT attempts, error FROM inbox WHERE message_id = ?", [id]);
      expect(back).toEqual({ attempts: 0, error: "away" });
      expect(await rows(trx, lasts, [id])).toEqual([{ seconds: 5 }]);
    });
  });
});

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
      await set(trx, "outbox", fresh, `next_at = ${at(0.001)}`);
      expect(await outbox.dueMessages(trx)).toEqual({ fresh: false, retried: false });
      await set(trx, "outbox", fresh, "attempts = 1");
      expect(await outbox.dueMessages(trx)).toEqual({ fresh: false, retried: false });
      await set(trx, "outbox", fresh, "next_at = now()");
      expect(await outbox.dueMessages(trx)).toEqual({ fresh: false, retried: true });
      await outbox.markSent(trx, [fresh]);
      expect(await outbox.dueMessages(trx)).toEqual({ fresh: false, retried: false });
    });
  });

  it("gives due messages, the longest due first, and no sent or later ones", async () => {
    await still(async (trx) => {
      const ids = await filled(trx, 5);
      await set(trx, "outbox", ids[0], `next_at = ${at(-1)}`);
      await set(trx, "outbox", ids[1], `next_at = ${at(-2)}`);
      await set(trx, "outbox", ids[2], `next_at = ${at(0.001)}`);
      await set(trx, "outbox", ids[3], "attempts = 2");
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
      await set(trx, "outbox", ids[0], `created_at = ${at(-9)}`);
      await set(trx, "outbox", ids[1], `created_at = ${at(-5)}, attempts = 1`);
      await set(trx, "outbox", ids[2], `created_at = ${at(-2)}`);
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
        await set(trx, "outbox", ids[index], `sent_at = ${at(seconds)}`);
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
        await set(trx, "outbox", ids[index], `sent_at = ${at(seconds)}`);
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
    revive: () => letters.requeue(db, newId(), content),
    insertMessages: () => outbox.insertMessages(db, [incoming(userDeleted())]),
    markSent: () => outbox.markSent(db, [newId()]),
    markFailed: () => outbox.markFailed(db, [{ id: newId(), delayMs: 1 }], "x"),
    advanceReplay: () => replays.advanceReplay(db, "2026-01-01", newId()),
    endReplay: () => replays.endReplay(db),
    storeAnswer: () => keys.storeAnswer(db, key, 1),
    releaseKey: () => keys.releaseKey(db, key, newId()),
    reschedule: () => inbox.reschedule(db, lease, 0, 0),
  };

  it("ends when the database has it, not before", async () => {
    const blocker = await db.begin();
    await blocker.query("LOCK TABLE inbox, outbox, carrier_marks, idempotency_keys IN ACCESS EXCLUSIVE MODE");
    const ended: string[] = [];
    const all = Object.entries(writes).map(async ([name, write]) => {
      await write();
      ended.push(name);
    });
    await waiting(Object.keys(writes).length);
    expect(ended).toEqual([]);
    await blocker.rollback();
    await Promise.all(all);
  });
});

describe("a pruner", () => {
  it("skips rows of another transaction, without waiting", async () => {
    await db.query("TRUNCATE inbox, outbox, carrier_marks, idempotency_keys");
    const [done = "", gone = ""] = await received(db, 2);
    await set(db, "inbox", done, "state = 'done'");
    const letter = newId();
    await dead(db, gone, letter);
    const [sent] = messages(1);
    await outbox.insertMessages(db, sent ? [sent] : []);
    await outbox.markSent(db, [sent?.id ?? ""]);
    const key = { userId: newId(), scope: "s", key: "k", bodyHash: "h" };
    await keys.storeAnswer(db, key, 1);
    await replays.saveCheckpoint(db, "one", undefined, 1_000);
    const other = await db.begin();
    for (const table of ["inbox", "outbox", "idempotency_keys", "carrier_marks"]) {
      await other.query(`SELECT FROM ${table} FOR UPDATE`);
    }
    const later = "2100-01-01";
    const highest = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    const pruned = async () => [
      await inbox.pruneInbox(db, highest, 9),
      await letters.pruneDeadLetters(db, highest, 9),
      await outbox.pruneOutbox(db, -1_000_000, 9),
      await keys.pruneKeys(db, later, 9),
    ];
    expect(await pruned()).toEqual([0, 0, 0, 0]);
    expect(await replays.claimReplay(db)).toBeUndefined();
    await other.rollback();
    expect(await replays.claimReplay(db)).toBeDefined();
    expect(await pruned()).toEqual([1, 1, 1, 1]);
  });
});
