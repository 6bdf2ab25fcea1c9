import { describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Db, rows } from "../../lib/sql/database.ts";
import * as letters from "../../mixins/consumer/dead-letters.repository.ts";
import * as inbox from "../../mixins/consumer/inbox.repository.ts";
import * as outbox from "../../mixins/outbox/outbox.repository.ts";
import * as replays from "../../mixins/outbox/replay.repository.ts";
import * as keys from "../../mixins/postgres/idempotency.repository.ts";
import { byId, messages, setRow } from "../support/message-rows.ts";
import { incoming, userDeleted } from "../support/messaging.ts";
import { at, statementDatabase } from "../support/still-transaction.ts";

/*
 * The statements of the inbox and its dead letters by themselves: other rows beside the ones that they name, and
 * times to the moment.
 */

const statements = statementDatabase("orders", 4);
const { still } = statements;
const GROUP = "orders";
const LEASE = { token: newId(), leaseMs: 60_000 };
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
const dead = (trx: Db, id: string | undefined, letter: string, state = "dead") =>
  setRow(trx, "inbox", id, `state = '${state}', error = 'broken', dead_letter_id = '${letter}'`);

describe("a dead letter", () => {
  it("is listed, the latest first, without waiting, handled and dropped messages", async () => {
    await still(async (trx) => {
      const ids = await received(trx, 5);
      const [one, two, three] = [newId(), newId(), newId()].sort() as [string, string, string];
      await dead(trx, ids[0], two);
      await dead(trx, ids[1], three, "quarantined");
      await dead(trx, ids[2], one, "dropped");
      await setRow(trx, "inbox", ids[3], "state = 'done'");
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
      await setRow(trx, "inbox", ids[1], "state = 'waiting'");
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
      for (const id of ids.slice(0, 4)) await setRow(trx, "inbox", id, "subject = 's'");
      await dead(trx, ids[0], newId());
      await dead(trx, ids[1], newId(), "dropped");
      await setRow(trx, "inbox", ids[2], "state = 'done'");
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
      await setRow(trx, "inbox", ids[0], `created_at = ${at(-100)}, type = 'other'`);
      await setRow(trx, "inbox", ids[1], `created_at = ${at(-20)}`);
      await setRow(trx, "inbox", ids[2], `created_at = ${at(-50)}, state = 'done'`);
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
      await setRow(trx, "inbox", oldest, `created_at = ${at(-60)}, next_at = ${at(1)}`);
      expect(await inbox.oldestWaitingMs(trx, GROUP, ["user.deleted"])).toBe(60_000);
    });
  });

  it("gives due messages, to the moment, to a claim of their type", async () => {
    await still(async (trx) => {
      const ids = await received(trx, 4);
      await setRow(trx, "inbox", ids[0], `next_at = ${at(0.001)}`);
      await setRow(trx, "inbox", ids[1], "next_at = now()");
      await setRow(trx, "inbox", ids[2], "type = 'other'");
      await setRow(trx, "inbox", ids[3], "consumer = 'partners'");
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
      await setRow(trx, "inbox", ids[0], `${vanished(2)}, next_at = ${at(-5)}`);
      await setRow(trx, "inbox", ids[1], `${vanished(2)}, next_at = ${at(-6)}`);
      await setRow(trx, "inbox", ids[2], `${vanished(1)}, next_at = ${at(-4)}`);
      await setRow(trx, "inbox", ids[3], `attempts = 3, next_at = ${at(-3)}`);
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
      for (const id of [ids[0], ids[2], ids[4], ids[5]]) await setRow(trx, "inbox", id, "state = 'done'");
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

describe("a pruner", () => {
  it("skips rows of another transaction, without waiting", async () => {
    await statements.db.query("TRUNCATE inbox, outbox, carrier_marks, idempotency_keys");
    const [done = "", gone = ""] = await received(statements.db, 2);
    await setRow(statements.db, "inbox", done, "state = 'done'");
    const letter = newId();
    await dead(statements.db, gone, letter);
    const [sent] = messages(1);
    await outbox.insertMessages(statements.db, sent ? [sent] : []);
    await outbox.markSent(statements.db, [sent?.id ?? ""]);
    const key = { userId: newId(), scope: "s", key: "k", bodyHash: "h" };
    await keys.storeAnswer(statements.db, key, 1);
    await replays.saveCheckpoint(statements.db, "one", undefined, 1_000);
    const other = await statements.db.begin();
    for (const table of ["inbox", "outbox", "idempotency_keys", "carrier_marks"]) {
      await other.query(`SELECT FROM ${table} FOR UPDATE`);
    }
    const later = "2100-01-01";
    const highest = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    const pruned = async () => [
      await inbox.pruneInbox(statements.db, highest, 9),
      await letters.pruneDeadLetters(statements.db, highest, 9),
      await outbox.pruneOutbox(statements.db, -1_000_000, 9),
      await keys.pruneKeys(statements.db, later, 9),
    ];
    expect(await pruned()).toEqual([0, 0, 0, 0]);
    expect(await replays.claimReplay(statements.db)).toBeUndefined();
    await other.rollback();
    expect(await replays.claimReplay(statements.db)).toBeDefined();
    expect(await pruned()).toEqual([1, 1, 1, 1]);
  });
});
