import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { alert } from "../../contracts/alerts.ts";
import { deliveryTokens } from "../../lib/delivery-tokens.ts";
import { newId } from "../../lib/ids.ts";
import { rebuildsOf } from "../../mixins/documents/documents.mixin.ts";
import { eventually } from "../support/eventually.ts";
import {
  type NotificationsHarness,
  orderOf,
  outcomesOf,
  startNotifications,
} from "../support/notifications.ts";

let platform: NotificationsHarness;
beforeAll(async () => {
  platform = await startNotifications();
});
afterAll(() => platform.stop());

describe("notifications of orders", () => {
  beforeAll(() => platform.sendBy("onesignal", "sandbox"));

  it("an assigned order, to a customer with a phone, is pushed once and is in the history", async () => {
    const token = `phone-${newId()}`;
    const who = await platform.person({
      pushToken: { provider: "sandbox", token, deviceName: "Zoë's phone" },
    });
    const order = orderOf(who);
    const said = await platform.say("order.assigned", order);
    await platform.say("order.assigned", order, { id: said.id });
    const notification = await platform.settled(who);
    expect(notification).toMatchObject({
      event: "order.assigned",
      state: "sent",
      orderId: order.orderId,
      attempts: [{ channel: "push", provider: "sandbox", outcome: "accepted" }],
    });
    expect(platform.shownTo(token)).toEqual([
      expect.objectContaining({ title: "Your order is on its way", times: 1 }),
    ]);
    expect(platform.mails(who.email)).toEqual([]);
  });

  it("an assigned order is sent to its deliverer too, each in their own language", async () => {
    const customer = await platform.person({ language: "de" });
    const deliverer = await platform.person({ role: "deliverer", firstName: "Dora" });
    await platform.say(
      "order.assigned",
      orderOf(customer, { delivererId: deliverer.id, actor: deliverer.id }),
    );
    expect((await platform.settled(customer)).body).toContain("Dora bringt Ihre Bestellung");
    expect((await platform.settled(deliverer)).title).toBe("The delivery is yours");
  });

  it("a courier near the partner is announced to its staff, near the customer to the customer", async () => {
    const partnerId = newId();
    const [customer, deliverer, staff] = [
      await platform.person(),
      await platform.person({ role: "deliverer", firstName: "Dora" }),
      await platform.person({ role: "partner", partnerId }),
    ];
    const near = {
      ...{ version: 5, orderId: newId(), number: "K7-042", distanceMeters: 200, delivererId: deliverer.id },
      ...{ customer: { id: customer.id, name: "Zoë" }, partnerId, partnerTitle: "Bäckerei Aare" },
    };
    await platform.say("courier.near", { ...near, place: "pickup" });
    expect((await platform.settled(staff)).body).toBe(
      "Dora will be at Bäckerei Aare in a moment. Order K7-042.",
    );
    await platform.say("courier.near", { ...near, place: "destination" });
    expect((await platform.settled(customer)).body).toContain(
      "Dora will bring your order from Bäckerei Aare",
    );
    const late = { time: new Date(Date.now() - 3_600_000).toISOString() };
    const { id } = await platform.say("courier.near", { ...near, place: "pickup" }, late);
    await eventually(async () =>
      expect(await platform.rows("SELECT state FROM inbox WHERE message_id = ?", [id])).toEqual([
        { state: "done" },
      ]),
    );
    expect(await platform.historyOf(staff)).toHaveLength(1);
  });

  it("a ready order is announced to the couriers nearby that are known", async () => {
    const [customer, courier] = [await platform.person(), await platform.person({ role: "deliverer" })];
    const order = orderOf(customer, { nearbyDelivererIds: [courier.id, newId()] });
    const { id } = await platform.say("order.ready", order);
    expect((await platform.settled(courier)).title).toBe("An order near you is ready");
    await eventually(async () =>
      expect(await platform.rows("SELECT state FROM inbox WHERE message_id = ?", [id])).toEqual([
        { state: "done" },
      ]),
    );
  });

  it("an event, to a customer without a phone, is mailed", async () => {
    const who = await platform.person();
    await platform.say("order.delivered", orderOf(who));
    expect(outcomesOf(await platform.settled(who))).toEqual(["none skipped", "smtp accepted"]);
    expect(platform.mails(who.email)).toEqual([
      expect.objectContaining({ subject: "Delivered", text: expect.stringContaining("Bäckerei Aare") }),
    ]);
  });

  it("a courier on the way, mailed, has the PIN in both parts, and no table contains it", async () => {
    const who = await platform.person();
    const order = orderOf(who, { number: "K7-042" });
    const tokens = deliveryTokens(platform.config.HANDOVER_SECRET);
    const pin = tokens.pinOf(order.orderId);
    await platform.say("order.assigned", order);
    const settled = await platform.settled(who);
    const [mail] = platform.mails(who.email);
    expect(mail?.text).toContain(`\n\nYour PIN: ${pin}\n\nOrder K7-042\n2 × Bread: €20.00\n`);
    expect(mail?.html).toContain(`>${pin}</p>`);
    const [, track = ""] = /^http:\/\/waybill\.test\/track#(.*)$/m.exec(mail?.text ?? "") ?? [];
    expect(tokens.orderOfToken(track, Date.now())).toBe(order.orderId);
    expect(mail?.html).toMatch(/>2 × Bread<\/td><td [^>]*>€20\.00<.*>€4\.50<.*>€24\.50</s);
    const stored = await platform.rows("SELECT title, body, attempts FROM notifications WHERE id = ?", [
      settled.id,
    ]);
    expect(stored).toHaveLength(1);
    const written = JSON.stringify([stored, settled.title, settled.body]);
    expect(written.replace(/"at":"[^"]*"|"durationMs":\d+/g, "")).not.toContain(pin);
  });

  it("an event without addressees sends nothing", async () => {
    const who = await platform.person();
    await platform.say("order.created", orderOf(who));
    await platform.say("order.delivered", orderOf(who));
    expect((await platform.settled(who)).event).toBe("order.delivered");
  });

  it("a refund of an order that is not paid yet, is sent once its creation was", async () => {
    const who = await platform.person();
    const order = orderOf(who);
    await platform.say("order.created", { ...order, version: 1 });
    await platform.say("refund.completed", {
      ...{ version: 1, refundId: newId(), orderId: order.orderId, bankId: newId(), paymentId: "p1" },
      ...{ amount: { amountMinor: 2950, currency: "CHF" }, reason: "paid in another currency" },
    });
    expect(await platform.settled(who)).toMatchObject({ event: "refund.completed", orderId: order.orderId });
    expect(await platform.rows("SELECT 1 FROM inbox WHERE state = 'dead'")).toEqual([]);
  });

  it("an event, some time after newer ones, is not sent any more", async () => {
    const who = await platform.person();
    const order = orderOf(who);
    await platform.say("order.delivered", { ...order, version: 7 });
    await platform.settled(who);
    const late = await platform.say(
      "order.ready",
      { ...order, version: 5 },
      { time: "2026-01-01T00:00:00.000Z" },
    );
    await eventually(async () =>
      expect(
        await platform.rows("SELECT 1 FROM inbox WHERE message_id = ? AND state = 'done'", [late.id]),
      ).toHaveLength(1),
    );
    expect(await platform.historyOf(who)).toHaveLength(1);
  });

  it("a completed refund is sent to the customer of its order", async () => {
    const who = await platform.person();
    const order = orderOf(who);
    await platform.say("order.cancelled", order);
    await platform.settled(who);
    await platform.say("refund.completed", {
      version: 6,
      refundId: newId(),
      orderId: order.orderId,
      bankId: newId(),
      paymentId: "p1",
      amount: order.paid,
      reason: "cancelled",
    });
    await eventually(async () =>
      expect(await platform.historyOf(who)).toContainEqual(
        expect.objectContaining({ event: "refund.completed", body: expect.stringContaining("€24.50") }),
      ),
    );
  });

  it("a refund is sent also when the first delivery of its order's message ended with its process", async () => {
    await platform.rows(`CREATE FUNCTION taken_before() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN new.attempts := 1; RETURN new; END $$`);
    await platform.rows(`CREATE TRIGGER taken_before BEFORE INSERT ON inbox FOR EACH ROW
      WHEN (new.type = 'order.cancelled') EXECUTE FUNCTION taken_before()`);
    const who = await platform.person();
    const order = orderOf(who);
    await platform.say("order.cancelled", order);
    await platform.settled(who);
    await platform.rows("DROP FUNCTION taken_before CASCADE");
    await platform.say("refund.completed", {
      ...{ version: 6, refundId: newId(), orderId: order.orderId, bankId: newId(), paymentId: "p1" },
      ...{ amount: order.paid, reason: "cancelled" },
    });
    await eventually(async () =>
      expect(await platform.historyOf(who)).toContainEqual(
        expect.objectContaining({ event: "refund.completed" }),
      ),
    );
  });

  it("a missed deadline's alert, raised repeatedly, is sent to each admin once an hour", async () => {
    const admins = [
      await platform.person({ role: "admin" }),
      await platform.person({ role: "admin", language: "de" }),
    ];
    const alert = { version: 1, kind: "order.not_ready", subject: newId(), detail: "It waits <again>." };
    for (let i = 0; i < 3; i++) {
      const time = "2026-11-22T10:30:00.000Z";
      const { id } = await platform.say("alert.raised", alert, { time });
      await eventually(async () =>
        expect(await platform.rows("SELECT state FROM inbox WHERE message_id = ?", [id])).toEqual([
          { state: "done" },
        ]),
      );
    }
    expect(admins.map(({ email }) => platform.mails(email).map(({ subject }) => subject))).toEqual([
      ["Alert: order.not_ready"],
      ["Alarm: order.not_ready"],
    ]);
    expect(platform.mails(admins[0]?.email ?? "")[0]?.html).not.toContain("<again>");
  });

  it("two alerts about one payment within one hour are both sent, each once", async () => {
    const admin = await platform.person({ role: "admin" });
    for (const sum of ["50 EUR", "999 EUR"]) {
      const { data } = alert("payment.contradiction", `It is ${sum} now.`, { subject: "pay_1" });
      const { id } = await platform.say("alert.raised", data, { time: "2026-11-22T10:30:00.000Z" });
      await platform.say("alert.raised", data, { time: "2026-11-22T10:30:00.000Z", id });
    }
    await eventually(() => expect(platform.mails(admin.email)).toHaveLength(2));
    const told = platform.mails(admin.email).map(({ text = "" }) => text);
    expect(told.filter((text) => text.includes("50 EUR"))).toHaveLength(1);
    expect(told.filter((text) => text.includes("999 EUR"))).toHaveLength(1);
  });

  it("a sent notification is published as a message", async () => {
    const who = await platform.person();
    await platform.say("order.delivered", orderOf(who));
    const { id } = await platform.settled(who);
    expect(await platform.rows("SELECT type, data FROM outbox WHERE subject = ?", [id])).toEqual([
      {
        type: "notification.sent",
        data: { version: 1, notificationId: id, userId: who.id, event: "order.delivered" },
      },
    ]);
  });
});

describe("recipients", () => {
  it("a changed user gets mails at the new address, and an older message changes nothing", async () => {
    const who = await platform.person();
    const email = `new-${who.email}`;
    const user = { userId: who.id, firstName: "Zoë", language: "en", role: "customer" } as const;
    await platform.say("user.updated", { ...user, version: 3, email });
    await platform.say("user.updated", { ...user, version: 2, email: who.email });
    await eventually(async () =>
      expect(
        await platform.rows("SELECT email, version FROM recipients WHERE user_id = ?", [who.id]),
      ).toEqual([{ email, version: 3 }]),
    );
  });

  it("a deleted user leaves no data, and older messages do not restore it", async () => {
    const who = await platform.person({ pushToken: { provider: "sandbox", token: `phone-${newId()}` } });
    await platform.say("order.delivered", orderOf(who));
    await platform.settled(who);
    await platform.say("user.deleted", { version: 9, userId: who.id });
    await eventually(async () => expect(await platform.historyOf(who)).toEqual([]));
    await platform.say("user.updated", {
      version: 4,
      userId: who.id,
      email: who.email,
      firstName: "Zoë",
      language: "en",
      role: "customer",
    });
    const last = await platform.say("order.delivered", orderOf(who));
    await eventually(async () =>
      expect(await platform.rows("SELECT state FROM inbox WHERE message_id = ?", [last.id])).toEqual([
        { state: "done" },
      ]),
    );
    expect(
      await platform.rows("SELECT email, first_name FROM recipients WHERE user_id = ?", [who.id]),
    ).toEqual([{}]);
    expect(await platform.rows("SELECT 1 FROM notifications WHERE user_id = ?", [who.id])).toEqual([]);
    expect(await platform.rows("SELECT 1 FROM devices WHERE user_id = ?", [who.id])).toEqual([]);
  });
});

describe("the list", () => {
  it("notifications, more than a page, are returned page by page, the newest first, each once", async () => {
    const who = await platform.person();
    for (let i = 0; i < 3; i++) {
      await platform.say("order.delivered", orderOf(who));
      await eventually(async () => expect(await platform.historyOf(who)).toHaveLength(i + 1));
    }
    const all = await platform.historyOf(who);
    const first = await platform.as({ id: who.id }, "notifications.list", { limit: 2 });
    const second = await platform.as({ id: who.id }, "notifications.list", {
      limit: 2,
      cursor: first.nextCursor ?? "",
    });
    expect([...first.items, ...second.items]).toEqual(all);
    expect(second.nextCursor).toBeUndefined();
    expect(all.map(({ id }) => id)).toEqual(
      all
        .map(({ id }) => id)
        .sort()
        .reverse(),
    );
  });

  it("the history, deleted and rebuilt from the database, is the same", async () => {
    const who = await platform.person();
    await platform.say("order.delivered", orderOf(who));
    const before = await platform.settled(who);
    const rebuild = rebuildsOf(platform.broker).get("notifications");
    expect(await rebuild?.()).toBeGreaterThan(0);
    expect(await platform.historyOf(who)).toEqual([before]);
  });
});
