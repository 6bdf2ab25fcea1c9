import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { Params } from "../../contracts/actions.ts";
import { alert } from "../../contracts/alerts.ts";
import { newId } from "../../lib/ids.ts";
import { affected, type Db } from "../../lib/sql/database.ts";
import { markDueQueued } from "../../services/notifications/store/deferred.repository.ts";
import { countOverdueReminders } from "../../services/notifications/store/reminders.repository.ts";
import { eventually } from "../support/eventually.ts";
import { whileLocked } from "../support/locks.ts";
import {
  type NotificationsHarness,
  orderOf,
  type Person,
  sampleOrder,
  startNotifications,
} from "../support/notifications.ts";
import { openPool } from "../support/postgres.ts";
import { statementsOf } from "../support/statements.ts";

const admin = { role: "admin" } as const;
const DAY_MS = 86_400_000;
const midnightMs = Date.parse(new Date().toISOString().slice(0, 10));
const night = { fromMinute: 22 * 60, untilMinute: 7 * 60, timeZone: "UTC" };

let shiftMs = 0;
let platform: NotificationsHarness;
beforeAll(async () => {
  const clock = { now: () => Date.now() + shiftMs };
  platform = await startNotifications({}, { clock, dueSweepMs: 50 });
  await platform.sendBy("sandbox");
});
afterAll(() => platform.stop());

/** Has the service's clock show this hour in UTC, of today or of so many days later. */
function itIs(hour: number, days = 0): void {
  shiftMs = midnightMs + days * DAY_MS + hour * 3_600_000 - Date.now();
}

/** A user with a phone. */
async function reachable(change: Parameters<NotificationsHarness["person"]>[0] = {}) {
  const who = await platform.person(change);
  const phone = `phone-${newId()}`;
  await platform.device(who, "sandbox", phone);
  return { who, phone };
}

const wish = (who: Person, wishes: Params<"notifications.setPreferences">) =>
  platform.as({ id: who.id }, "notifications.setPreferences", wishes);
const atNight = { push: true, email: true, quietHours: night };
const statesOf = async (who: Person) =>
  (await platform.historyOf(who)).map(({ event, state }) => `${event} ${state}`).toSorted();
const becomes = (who: Person, ...states: string[]) =>
  eventually(async () => expect(await statesOf(who)).toEqual(states));
const heldFor = (who: Person) =>
  platform.rows("SELECT held_until, queued FROM held_notifications WHERE user_id = ?", [who.id]);

describe("quiet hours", () => {
  beforeEach(() => itIs(23));
  afterEach(() => {
    shiftMs = 0;
  });

  it("defer notifications until they end, and each is then sent once", async () => {
    const { who, phone } = await reachable();
    await wish(who, atNight);
    await platform.say("order.paid", orderOf(who));
    await becomes(who, "order.paid held");
    const end = new Date(midnightMs + DAY_MS + 7 * 3_600_000).toISOString();
    expect((await platform.historyOf(who))[0]?.attempts).toEqual([
      expect.objectContaining({ outcome: "skipped", detail: `quiet hours until ${end}` }),
    ]);
    expect(await heldFor(who)).toEqual([{ heldUntil: end, queued: false }]);
    expect(platform.shownTo(phone)).toEqual([]);
    itIs(7, 1);
    await becomes(who, "order.paid sent");
    expect(platform.shownTo(phone)).toEqual([
      expect.objectContaining({ title: "Payment received", times: 1 }),
    ]);
    const [told] = await platform.historyOf(who);
    expect(told?.attempts.map(({ outcome }) => outcome)).toEqual(["skipped", "accepted"]);
    const due = "SELECT 1 FROM outbox WHERE type = 'notification.due' AND subject = ?";
    expect(await platform.rows(due, [told?.id])).toHaveLength(1);
    expect(await heldFor(who)).toEqual([]);
    expect(platform.mails(who.email)).toEqual([]);
  });

  it("the result of a notification that is due, waits for the notification and holds no deferral", async () => {
    const { who } = await reachable();
    await wish(who, atNight);
    await platform.say("order.paid", orderOf(who));
    await becomes(who, "order.paid held");
    await whileLocked(
      platform.database.url,
      (other) => other.query("UPDATE notifications SET updated_at = now() WHERE user_id = $1", [who.id]),
      async () => itIs(7, 1),
      (other) => other.query("DELETE FROM held_notifications WHERE user_id = $1", [who.id]),
    );
    await becomes(who, "order.paid sent");
  });

  it("do not defer a courier on the way and a code", async () => {
    const { who, phone } = await reachable();
    await wish(who, atNight);
    await platform.say("order.assigned", orderOf(who));
    await becomes(who, "order.assigned sent");
    expect(platform.shownTo(phone)).toHaveLength(1);
    const values = { code: "482913" };
    await platform.say("notification.requested", {
      ...{ version: 1, userId: who.id, email: who.email, template: "confirm-email", language: "en", values },
    });
    await eventually(() => expect(platform.mails(who.email)).toHaveLength(1));
  });

  it("of an operator, hold back a warning about an order, and no alert about money or safety", async () => {
    const { who, phone } = await reachable({ role: "admin" });
    await wish(who, atNight);
    const kinds = ["handover.locked", "order.not_ready", "payment.unmatched"] as const;
    // Orders of other tests may raise alerts of other kinds.
    const titlesOf = (sent: { title?: string; subject?: string }[]) =>
      sent
        .map(({ title, subject }) => title ?? subject)
        .filter((title) => kinds.some((kind) => title?.endsWith(kind)))
        .toSorted();
    for (const kind of kinds) {
      await platform.say("alert.raised", alert(kind, `It is ${kind}.`, { subject: newId() }).data);
    }
    const settled = (...states: string[]) =>
      eventually(async () =>
        expect(
          (await platform.historyOf(who))
            .filter(({ title }) => kinds.some((kind) => title.endsWith(kind)))
            .map(({ title, state }) => `${title} ${state}`)
            .toSorted(),
        ).toEqual(states),
      );
    await settled(
      "Alert: handover.locked sent",
      "Alert: order.not_ready held",
      "Alert: payment.unmatched sent",
    );
    // A warning comes by one channel, a critical alert by both.
    expect(titlesOf(platform.shownTo(phone))).toEqual(["Alert: handover.locked", "Alert: payment.unmatched"]);
    expect(titlesOf(platform.mails(who.email))).toEqual(["Alert: handover.locked"]);
    itIs(7, 1);
    await settled(
      "Alert: handover.locked sent",
      "Alert: order.not_ready sent",
      "Alert: payment.unmatched sent",
    );
    expect(titlesOf(platform.shownTo(phone))).toHaveLength(3);
  });

  it("drop notifications that are older than a sent one, which the history shows", async () => {
    const { who, phone } = await reachable();
    await wish(who, atNight);
    const order = orderOf(who);
    // By the clock of the service: it sends no outdated notification.
    const time = () => ({ time: new Date(Date.now() + shiftMs).toISOString() });
    await platform.say("order.paid", { ...order, version: 2 }, time());
    await becomes(who, "order.paid held");
    await platform.say("order.ready", { ...order, version: 4 }, time());
    await platform.say("refund.completed", {
      ...{ version: 1, refundId: newId(), orderId: order.orderId, bankId: newId(), paymentId: "p1" },
      ...{ amount: order.paid, reason: "too much" },
    });
    await becomes(who, "order.paid held", "order.ready held", "refund.completed held");
    await platform.say("order.delivered", { ...order, version: 7 }, time());
    await becomes(
      who,
      ...["order.delivered held", "order.paid held", "order.ready held", "refund.completed held"],
    );
    itIs(7, 1);
    await becomes(
      who,
      ...["order.delivered sent", "order.paid dropped", "order.ready dropped", "refund.completed sent"],
    );
    expect(
      platform
        .shownTo(phone)
        .map(({ title }) => title)
        .toSorted(),
    ).toEqual(["Delivered", "Your money is on its way back"]);
    expect(await heldFor(who)).toEqual([]);
  });

  it("send a mail at their end to a user without a phone, to the address of that moment", async () => {
    const who = await platform.person({ language: "de" });
    await wish(who, atNight);
    await platform.say("order.delivered", orderOf(who));
    await becomes(who, "order.delivered held");
    const email = `new-${who.email}`;
    await platform.say("user.updated", {
      ...{ version: 2, userId: who.id, email, firstName: "Zoë", language: "de", role: "customer" },
    });
    await eventually(async () =>
      expect(await platform.rows("SELECT email FROM recipients WHERE user_id = ?", [who.id])).toEqual([
        { email },
      ]),
    );
    itIs(7, 1);
    await eventually(() => expect(platform.mails(email)).toHaveLength(1));
    expect(platform.mails(email)[0]).toMatchObject({
      subject: "Zugestellt",
      text: expect.stringMatching(/^Guten Tag Zoë,\n\nGuten Appetit.*\n2 × Bread: 20,00\u00a0€\n/s),
    });
    expect(platform.mails(who.email)).toEqual([]);
  });

  it("that change, change deferred notifications: later hours defer them longer, none send them at once", async () => {
    const { who } = await reachable();
    await wish(who, atNight);
    await platform.say("order.paid", orderOf(who));
    await becomes(who, "order.paid held");
    await wish(who, { ...atNight, quietHours: { ...night, untilMinute: 9 * 60 } });
    itIs(8, 1);
    const later = new Date(midnightMs + DAY_MS + 9 * 3_600_000).toISOString();
    expect(await heldFor(who)).toEqual([{ heldUntil: later, queued: false }]);
    expect(await platform.as({ id: who.id }, "notifications.preferences", {})).toMatchObject({
      quietHours: { untilMinute: 540 },
    });
    await wish(who, { push: true, email: true });
    await becomes(who, "order.paid sent");
    expect(await platform.as({ id: who.id }, "notifications.preferences", {})).toEqual({
      push: true,
      email: true,
    });
  });

  it("that begin before a notification is due, defer it again", async () => {
    const { who, phone } = await reachable();
    await wish(who, atNight);
    await platform.say("order.paid", orderOf(who));
    await becomes(who, "order.paid held");
    itIs(23, 1);
    const next = new Date(midnightMs + 2 * DAY_MS + 7 * 3_600_000).toISOString();
    await eventually(async () => expect(await heldFor(who)).toEqual([{ heldUntil: next, queued: false }]));
    expect(platform.shownTo(phone)).toEqual([]);
    itIs(7, 2);
    await becomes(who, "order.paid sent");
    expect(platform.shownTo(phone)).toHaveLength(1);
  });

  it("have each due notification taken by one of two replicas at the same moment", async () => {
    const { who } = await reachable();
    await wish(who, atNight);
    await platform.say("order.paid", orderOf(who));
    await becomes(who, "order.paid held");
    const morning = new Date(midnightMs + DAY_MS + 8 * 3_600_000).toISOString();
    const db = openPool(platform.database, 2);
    const [one, other] = [await db.begin(), await db.begin()];
    const taken = await markDueQueued(one, morning, 100);
    const [mine] = await platform.rows<{ id: string }>(
      `SELECT id FROM notifications WHERE user_id = '${who.id}' AND state = 'held'`,
    );
    expect(taken).toContain(mine?.id);
    expect(await markDueQueued(other, morning, 100)).not.toContain(mine?.id);
    // A transaction that rolls back leaves the notification to the other one.
    await one.rollback();
    expect(await markDueQueued(other, morning, 100)).toContain(mine?.id);
    await other.rollback();
    await db.close();
  });

  it("with a due notification that becomes a dead letter, fail it, and send it after a replay", async () => {
    // As if three deliveries had failed before.
    await platform.rows(`CREATE FUNCTION tried_before() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN new.attempts := 3; RETURN new; END $$`);
    await platform.rows(`CREATE TRIGGER tried_before BEFORE INSERT ON inbox FOR EACH ROW
      WHEN (new.type = 'notification.due') EXECUTE FUNCTION tried_before()`);
    const who = await platform.person();
    await wish(who, atNight);
    await platform.say("order.paid", orderOf(who));
    await becomes(who, "order.paid held");
    await platform.stopMailbox();
    itIs(7, 1);
    await becomes(who, "order.paid failed");
    await platform.startMailbox();
    await platform.rows("DROP FUNCTION tried_before CASCADE");
    const { items } = await platform.as(admin, "notifications.deadLetters", {});
    const [dead] = items.filter(({ type }) => type === "notification.due");
    await platform.as(admin, "notifications.replayDeadLetter", { id: dead?.id ?? "" });
    await becomes(who, "order.paid sent");
    expect(platform.mails(who.email)).toHaveLength(1);
    expect(await heldFor(who)).toEqual([]);
  });

  it("of a user without pushes and mails, mute a notification at once", async () => {
    const { who } = await reachable();
    await wish(who, { push: false, email: false, quietHours: night });
    await platform.say("order.paid", orderOf(who));
    await becomes(who, "order.paid muted");
  });

  it("of a deleted user leave no deferred notification", async () => {
    const { who, phone } = await reachable();
    await wish(who, atNight);
    await platform.say("order.paid", orderOf(who));
    await becomes(who, "order.paid held");
    await platform.say("user.deleted", { version: 9, userId: who.id });
    await becomes(who);
    expect(await heldFor(who)).toEqual([]);
    expect(platform.shownTo(phone)).toEqual([]);
  });

  it.each([
    [{ ...night, timeZone: "Mars/Olympus" }, "quietHours.timeZone"],
    [{ ...night, untilMinute: night.fromMinute }, "quietHours.untilMinute"],
  ])("of %j, are refused and change nothing", async (quietHours, field) => {
    const who = await platform.person();
    await expect(wish(who, { push: false, email: true, quietHours })).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: { errors: [expect.objectContaining({ field })] },
    });
    expect(await platform.as({ id: who.id }, "notifications.preferences", {})).toEqual({
      push: true,
      email: true,
    });
  });
});

describe("a paid order", () => {
  afterEach(() => {
    shiftMs = 0;
  });

  const MINUTE_MS = 60_000;
  let customer: Person;
  beforeAll(async () => {
    customer = await platform.person();
  });
  const partnerOrder = (partnerId: string, change: Parameters<typeof sampleOrder>[0] = {}) =>
    sampleOrder({
      customer: { id: customer.id, name: "Zoë" },
      partnerId,
      version: 2,
      number: "K7-042",
      ...change,
    });
  /** Says a message and waits until it is handled. */
  const handled = async (...said: Parameters<NotificationsHarness["say"]>) => {
    const { id } = await platform.say(...said);
    await eventually(async () =>
      expect(await platform.rows("SELECT state FROM inbox WHERE message_id = ?", [id])).toEqual([
        { state: "done" },
      ]),
    );
  };
  const storedFor = async (who: Person) =>
    (await platform.rows<{ event: string }>("SELECT event FROM notifications WHERE user_id = ?", [who.id]))
      .map(({ event }) => event)
      .toSorted();
  const staffOf = (partnerId: string) => reachable({ role: "partner", partnerId });
  const titles = (phone: string) => platform.shownTo(phone).map(({ title }) => title);
  const reminders = (orderId: string) =>
    platform.rows<{ step?: string }>(
      "SELECT reminder ->> 'step' AS step FROM known_orders WHERE order_id = ?",
      [orderId],
    );
  const alertsAbout = (orderId: string) =>
    platform.rows("SELECT data FROM outbox WHERE type = 'alert.raised' AND subject = ?", [orderId]);

  it("is pushed and mailed to each of the partner's staff, also in their quiet hours, and to no others", async () => {
    const partnerId = newId();
    const [one, other, stranger, suspended] = [
      await staffOf(partnerId),
      await staffOf(partnerId),
      await staffOf(newId()),
      await reachable({ role: "partner", partnerId, suspended: true }),
    ];
    const now = new Date().getUTCHours() * 60;
    const quietHours = { fromMinute: now, untilMinute: (now + 120) % 1440, timeZone: "UTC" };
    await wish(one.who, { push: true, email: true, quietHours });
    await platform.say("order.paid", partnerOrder(partnerId));
    for (const { who, phone } of [one, other]) {
      await becomes(who, "order.paid sent");
      expect(platform.shownTo(phone)).toEqual([
        expect.objectContaining({ title: "New order", times: 1, body: expect.stringContaining("K7-042") }),
      ]);
      expect(platform.mails(who.email)).toEqual([expect.objectContaining({ subject: "New order" })]);
    }
    expect([stranger, suspended].flatMap(({ phone }) => titles(phone))).toEqual([]);
  });

  it("is not announced to staff who have left the partner", async () => {
    const partnerId = newId();
    const { who } = await staffOf(partnerId);
    const left = await staffOf(partnerId);
    const user = { userId: left.who.id, email: left.who.email, firstName: "Zoë", language: "en" } as const;
    await platform.say("user.updated", { ...user, version: 2, role: "customer" });
    await eventually(async () =>
      expect(await platform.rows("SELECT 1 FROM recipients WHERE partner_id = ?", [partnerId])).toHaveLength(
        1,
      ),
    );
    await platform.say("order.paid", partnerOrder(partnerId));
    await becomes(who, "order.paid sent");
    expect(await statesOf(left.who)).toEqual([]);
  });

  it("that waits, is repeated to the staff half-way to the deadline and then raises one alert", async () => {
    const partnerId = newId();
    const { who, phone } = await staffOf(partnerId);
    const order = partnerOrder(partnerId);
    const said = await platform.say("order.paid", order);
    await becomes(who, "order.paid sent");
    shiftMs = 4.9 * MINUTE_MS;
    await platform.say("order.paid", order, { id: said.id });
    expect(await reminders(order.orderId)).toEqual([{ step: "staff" }]);
    shiftMs = 5.1 * MINUTE_MS;
    await becomes(who, "order.paid sent", "order.unanswered sent");
    expect(titles(phone).toSorted()).toEqual(["An order still waits", "New order"]);
    expect(platform.mails(who.email).map(({ subject }) => subject)).toContain("An order still waits");
    await eventually(async () => expect(await reminders(order.orderId)).toEqual([{ step: "operators" }]));
    expect(await alertsAbout(order.orderId)).toEqual([]);
    shiftMs = 9 * MINUTE_MS;
    await eventually(async () => expect(await alertsAbout(order.orderId)).toHaveLength(1));
    const due = "SELECT data FROM outbox WHERE type = 'notification.reminder_due' AND subject = ?";
    const [first] = await platform.rows<{ data: { orderId: string; version: number; step: "staff" } }>(due, [
      order.orderId,
    ]);
    // A message of an earlier step that comes again has no effect.
    await handled("notification.reminder_due", first?.data as never);
    expect(await storedFor(who)).toEqual(["order.paid", "order.unanswered"]);
    expect(await platform.rows(due, [order.orderId])).toHaveLength(2);
    expect(await reminders(order.orderId)).toEqual([{}]);
  });

  it.each(["order.accepted", "order.rejected", "order.cancelled"] as const)(
    "with %s, has no reminder, also when the message of the payment comes after it",
    async (type) => {
      const partnerId = newId();
      const { who } = await staffOf(partnerId);
      const [first, late] = [partnerOrder(partnerId), partnerOrder(partnerId)];
      await handled("order.paid", first);
      for (const order of [first, late]) await handled(type, { ...order, version: 3, actor: who.id });
      await handled("order.paid", late);
      for (const { orderId } of [first, late]) {
        expect(await reminders(orderId)).toEqual([{}]);
        const open = "SELECT 1 FROM known_orders WHERE order_id = ? AND remind_at IS NOT NULL";
        expect(await platform.rows(open, [orderId])).toEqual([]);
      }
    },
  );

  it("with a reminder that no replica has sent for a minute, is counted", async () => {
    const order = partnerOrder(newId());
    await platform.rows("INSERT INTO known_orders (order_id, version, customer_id) VALUES (?, 2, ?)", [
      order.orderId,
      customer.id,
    ]);
    const setTime = (trx: Db, at: string) =>
      affected(trx, `UPDATE known_orders SET remind_at = ${at} WHERE order_id = ?`, [order.orderId]);
    // Repeated while the sweep still takes reminders of other tests. It does not see this one before it is gone.
    await eventually(() =>
      platform.db.transaction(async (trx) => {
        await setTime(trx, "now() - interval '2 minutes'");
        const counts = [await countOverdueReminders(trx, 60_000), await countOverdueReminders(trx, 180_000)];
        await setTime(trx, "NULL");
        expect(counts).toEqual([1, 0]);
      }),
    );
  });

  it("accepted while its reminder is under way, is not repeated", async () => {
    const partnerId = newId();
    const { who } = await staffOf(partnerId);
    const order = partnerOrder(partnerId);
    await handled("order.paid", order);
    await handled("order.accepted", { ...order, version: 3, actor: who.id });
    await handled("notification.reminder_due", { orderId: order.orderId, version: 2, step: "staff" });
    expect(await storedFor(who)).toEqual(["order.paid"]);
  });

  it("is stored, delivered and settled by five statements, however many staff the partner has", async () => {
    const about =
      /INSERT INTO (?:notifications|known_orders)|FROM recipients|u\(user_id\) LEFT JOIN preferences|UPDATE notifications n/;
    for (const count of [0, 1, 4]) {
      const partnerId = newId();
      const staff = [];
      while (staff.length < count) staff.push(await staffOf(partnerId));
      // Repeated while messages of other tests are still handled, whose statements count too.
      await eventually(async () => {
        const sent = await statementsOf(about, () => handled("order.paid", partnerOrder(partnerId)));
        expect([count, sent.length]).toEqual([count, 5]);
      });
      for (const { who } of staff) expect(await storedFor(who)).toContain("order.paid");
    }
  });
});
