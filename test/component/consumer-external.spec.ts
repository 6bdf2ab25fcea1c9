import { describe, expect, it } from "@jest/globals";
import { message } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { rows } from "../../lib/sql/database.ts";
import type { Handlers } from "../../mixins/consumer/consumer.mixin.ts";
import { CUT, consumerStage, entering } from "../support/consuming.ts";
import { eventually } from "../support/eventually.ts";
import { enter, incoming, notificationSent, quickConsumer, userDeleted } from "../support/messaging.ts";

const stage = consumerStage();
const { receiver, publish, oneRow, effectsOnce } = stage;
const LEASE_MS = quickConsumer.leaseMs;

/** The time until which no other worker may claim a message, in Unix milliseconds. */
async function leasedUntil({ id }: { id: string }): Promise<number> {
  const [found] = await rows<{ ms: number }>(
    stage.bench.db.db,
    "SELECT extract(epoch FROM next_at)::float * 1000 AS ms FROM inbox WHERE message_id = ?",
    [id],
  );
  return found?.ms ?? 0;
}

describe("a consumer's external handler", () => {
  it("runs outside any transaction, and what it returns is committed with the row's state", async () => {
    const { broker, db } = await receiver({
      "notification.sent": {
        async external(message, lease) {
          const open = await rows(
            db.db,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in tr%'",
          );
          expect(open).toEqual([]);
          expect(lease).toMatchObject({ attempt: 1, last: false });
          return (trx) => enter(trx, message);
        },
      },
    });
    const message = incoming(notificationSent());
    await publish(message);
    await eventually(async () => expect(await oneRow()).toMatchObject({ state: "done" }));
    await effectsOnce([message]);
    await broker.stop();
  });

  it("with workers of its own, is called while all other places are taken by what does not end", async () => {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    let hanging = 0;
    const { broker } = await receiver(
      {
        "notification.sent": {
          async external() {
            hanging += 1;
            await ended;
            return undefined;
          },
        },
        "notification.failed": {
          workers: "others",
          external: async (message) => (trx) => enter(trx, message),
        },
      },
      { externalConcurrency: 2 },
    );
    await publish(...Array.from({ length: 6 }, () => incoming(notificationSent())));
    await eventually(() => expect(hanging).toBe(2));
    const { notificationId } = notificationSent().data;
    const other = incoming(
      message("notification.failed", newId(), { version: 1, notificationId, event: "x" }),
    );
    await publish(other);
    await eventually(() => effectsOnce([other]));
    expect(hanging).toBe(2);
    end();
    await broker.stop();
  });

  it("whose database is away when the outside has answered, commits when it is back, without a second call", async () => {
    let calls = 0;
    const { broker } = await receiver(
      {
        "notification.sent": {
          async external(message) {
            calls += 1;
            await stage.bench.db.db.query(CUT);
            return (trx) => enter(trx, message);
          },
        },
      },
      { sweepMs: 1_000_000, renewMs: 1_000_000, leaseMs: 60_000 },
    );
    const message = incoming(notificationSent());
    await publish(message);
    await eventually(() => effectsOnce([message]));
    expect(calls).toBe(1);
    expect(await oneRow()).toMatchObject({ state: "done", attempts: 1 });
    await broker.stop();
  });

  it("that takes longer than its lease, keeps it, so that no other replica begins the work", async () => {
    const begun: string[] = [];
    const slow = incoming(notificationSent());
    const work = Promise.withResolvers<void>();
    const handlers: Handlers = {
      "notification.sent": {
        async external(message) {
          begun.push(message.id);
          if (message.id === slow.id) await work.promise;
          return (trx) => enter(trx, message);
        },
      },
    };
    const replicas = [await receiver(handlers), await receiver(handlers)];
    await publish(slow);
    await eventually(() => expect(begun).toEqual([slow.id]));
    const first = await leasedUntil(slow);
    await eventually(async () => expect(await leasedUntil(slow)).toBeGreaterThan(first + 2 * LEASE_MS));
    // A claim of later messages would also have claimed an earlier one whose lease had expired.
    const later = incoming(notificationSent());
    await publish(later);
    await eventually(() => effectsOnce([later]));
    expect(begun).toEqual([slow.id, later.id]);
    work.resolve();
    await eventually(() => effectsOnce([slow, later]));
    expect(begun).toHaveLength(2);
    await Promise.all(replicas.map(({ broker }) => broker.stop()));
  });

  it("whose lease was lost, is aborted and commits nothing", async () => {
    let begun = 0;
    let aborted = 0;
    const { broker } = await receiver({
      "notification.sent": {
        async external(message, { signal }) {
          begun += 1;
          const mine = `try ${begun}`;
          if (begun === 1) {
            await stage.bench.db.db.query(
              "UPDATE inbox SET lease_token = ?, next_at = now() + interval '300 ms'",
              [newId()],
            );
            await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
            aborted += 1;
          }
          return (trx) => enter(trx, message, mine);
        },
      },
    });
    await publish(incoming(notificationSent()));
    await eventually(async () => expect(await oneRow()).toMatchObject({ state: "done" }));
    expect(await stage.bench.ledger()).toMatchObject([{ madeBy: "try 2" }]);
    await eventually(() => expect({ begun, aborted }).toEqual({ begun: 2, aborted: 1 }));
    await broker.stop();
  });

  it("that never ends, is aborted and counts as failed", async () => {
    let told: unknown;
    const { broker } = await receiver(
      {
        "notification.sent": {
          schedule: [],
          external: (_message, { signal }) =>
            new Promise((_resolve) => {
              signal.addEventListener("abort", () => {
                told = signal.reason;
              });
            }),
        },
      },
      { deliveryMs: 100 },
    );
    await publish(incoming(notificationSent()));
    await eventually(async () =>
      expect(await oneRow()).toMatchObject({ state: "dead", error: expect.stringContaining("100 ms") }),
    );
    expect(String(told)).toContain("100 ms");
    await broker.stop();
  });

  it("that hangs on every slot, delays no effect in the database", async () => {
    const { broker } = await receiver(
      {
        ...entering,
        "notification.sent": { external: () => new Promise(() => undefined) },
      },
      { externalConcurrency: 2, deliveryMs: 600_000, drainMs: 50 },
    );
    await publish(...[1, 2, 3, 4].map(() => incoming(notificationSent())));
    const message = incoming(userDeleted());
    await publish(message);
    await eventually(() => effectsOnce([message]));
    await broker.stop();
    const given = (await stage.bench.inboxRows()).filter(({ type }) => type === "notification.sent");
    expect(given.map(({ state, leaseToken }) => [state, leaseToken])).toEqual(
      Array.from({ length: 4 }, () => ["waiting", undefined]),
    );
  });
});
