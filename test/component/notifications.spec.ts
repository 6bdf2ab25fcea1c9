import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type MessageData, mailSealPlace, type OrderSnapshot } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { seal } from "../../lib/seal.ts";
import { rebuildsOf } from "../../mixins/documents/documents.mixin.ts";
import { openDatabase, rows } from "../../mixins/postgres/database.ts";
import { eventually } from "../support/eventually.ts";
import { type NotificationsHarness, sampleOrder, startNotifications } from "../support/notifications.ts";
import { ACQUIRE_TIMEOUT_MS } from "../support/postgres.ts";

const admin = { role: "admin" } as const;

let platform: NotificationsHarness;
let db: ReturnType<typeof openDatabase>;

beforeAll(async () => {
  platform = await startNotifications();
  db = openDatabase({
    url: platform.database.url,
    poolSize: 3,
    acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
    applicationName: "test",
  });
});
afterAll(async () => {
  await db.destroy();
  await platform.stop();
});

interface Person {
  id: string;
  email: string;
}

/** Somebody whom identity has told of, and who is known by now. */
async function person(change: Partial<MessageData<"user.registered">> = {}): Promise<Person> {
  const id = newId();
  const email = `${id}@example.org`;
  await platform.say("user.registered", {
    version: 1,
    userId: id,
    email,
    firstName: "Zoë",
    language: "en",
    role: "customer",
    ...change,
  });
  await eventually(async () =>
    expect(await rows(db, "SELECT 1 FROM recipients WHERE user_id = ?", [id])).toHaveLength(1),
  );
  return { id, email };
}

function orderOf(who: Person, change: Partial<OrderSnapshot> = {}): OrderSnapshot {
  return sampleOrder({ customer: { id: who.id, name: "Zoë" }, delivererId: newId(), ...change });
}

const device = (who: Person, provider: "onesignal" | "sandbox", token: string, deviceId?: string) =>
  platform.as({ id: who.id }, "notifications.addDevice", { provider, token, ...(deviceId && { deviceId }) });

const historyOf = async (who: Person) => (await platform.as({ id: who.id }, "notifications.list", {})).items;

/** The one notification of a person, once it is settled. */
const settled = (who: Person) =>
  eventually(async () => {
    const items = await historyOf(who);
    expect(items).toHaveLength(1);
    return items[0] as (typeof items)[number];
  });

const outcomesOf = ({ attempts }: { attempts: { provider: string; outcome: string }[] }) =>
  attempts.map(({ provider, outcome }) => `${provider} ${outcome}`);

const shownTo = (token: string) => platform.phones.pushes().filter((push) => push.token === token);

/** Makes one agent send: the one with the lowest number. */
async function sendBy(...providers: ("onesignal" | "sandbox")[]) {
  const [first] = (await platform.as(admin, "notifications.agents", {})).items;
  const settings = [
    { provider: "onesignal" as const, values: platform.oneSignalSettings },
    { provider: "sandbox" as const, values: platform.sandboxSettings },
  ];
  if (first)
    return platform.as(admin, "notifications.updateAgent", { agentId: first.id, providers, settings });
  return platform.as(admin, "notifications.createAgent", {
    name: "Main",
    priority: 1,
    providers,
    settings,
    enabled: true,
  });
}

describe("notifications of orders", () => {
  beforeAll(() => sendBy("onesignal", "sandbox"));

  it("an assigned order, to a customer with a phone, is pushed once and stands in the history", async () => {
    const token = `phone-${newId()}`;
    const who = await person({ pushToken: { provider: "sandbox", token, deviceName: "Zoë's phone" } });
    const order = orderOf(who);
    const said = await platform.say("order.assigned", order);
    await platform.say("order.assigned", order, { id: said.id });
    const notification = await settled(who);
    expect(notification).toMatchObject({
      event: "order.assigned",
      state: "sent",
      orderId: order.orderId,
      attempts: [{ channel: "push", provider: "sandbox", outcome: "accepted" }],
    });
    expect(shownTo(token)).toEqual([
      expect.objectContaining({ title: "Your order is on its way", times: 1 }),
    ]);
    expect(platform.mails(who.email)).toEqual([]);
  });

  it("an assigned order is told to its deliverer too, each in their own language", async () => {
    const customer = await person({ language: "de" });
    const deliverer = await person({ role: "deliverer", firstName: "Dora" });
    await platform.say(
      "order.assigned",
      orderOf(customer, { delivererId: deliverer.id, actor: deliverer.id }),
    );
    expect((await settled(customer)).body).toContain("Dora bringt Ihre Bestellung");
    expect((await settled(deliverer)).title).toBe("The delivery is yours");
  });

  it("an event, to a customer without a phone, comes by mail", async () => {
    const who = await person();
    await platform.say("order.delivered", orderOf(who));
    expect(outcomesOf(await settled(who))).toEqual(["none skipped", "smtp accepted"]);
    expect(platform.mails(who.email)).toEqual([
      expect.objectContaining({ subject: "Delivered", text: expect.stringContaining("Bäckerei Aare") }),
    ]);
  });

  it("an event that nobody waits for is told to nobody", async () => {
    const who = await person();
    await platform.say("order.created", orderOf(who));
    await platform.say("order.delivered", orderOf(who));
    expect((await settled(who)).event).toBe("order.delivered");
  });

  it("an event, after newer ones were told for a while, is not told any more", async () => {
    const who = await person();
    const order = orderOf(who);
    await platform.say("order.delivered", { ...order, version: 7 });
    await settled(who);
    const late = await platform.say(
      "order.ready",
      { ...order, version: 5 },
      { time: "2026-01-01T00:00:00.000Z" },
    );
    await eventually(async () =>
      expect(
        await rows(db, "SELECT 1 FROM inbox WHERE message_id = ? AND state = 'done'", [late.id]),
      ).toHaveLength(1),
    );
    expect(await historyOf(who)).toHaveLength(1);
  });

  it("a refund that went through is told to the customer of its order", async () => {
    const who = await person();
    const order = orderOf(who);
    await platform.say("order.cancelled", order);
    await settled(who);
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
      expect(await historyOf(who)).toContainEqual(
        expect.objectContaining({ event: "refund.completed", body: expect.stringContaining("€24.50") }),
      ),
    );
  });

  it("an alert, raised again and again, is told to each admin once an hour", async () => {
    const admins = [await person({ role: "admin" }), await person({ role: "admin", language: "de" })];
    const alert = { version: 1, kind: "refund.failed", subject: newId(), detail: "It failed <again>." };
    for (let i = 0; i < 3; i++) {
      const time = "2026-11-22T10:30:00.000Z";
      const { id } = await platform.say("alert.raised", alert, { time });
      await eventually(async () =>
        expect(await rows(db, "SELECT state FROM inbox WHERE message_id = ?", [id])).toEqual([
          { state: "done" },
        ]),
      );
    }
    expect(admins.map(({ email }) => platform.mails(email).map(({ subject }) => subject))).toEqual([
      ["Alert: refund.failed"],
      ["Alarm: refund.failed"],
    ]);
    expect(platform.mails(admins[0]?.email ?? "")[0]?.html).not.toContain("<again>");
  });

  it("a notification that was sent is said as a message", async () => {
    const who = await person();
    await platform.say("order.delivered", orderOf(who));
    const { id } = await settled(who);
    expect(await rows(db, "SELECT type, data FROM outbox WHERE subject = ?", [id])).toEqual([
      {
        type: "notification.sent",
        data: { version: 1, notificationId: id, userId: who.id, event: "order.delivered" },
      },
    ]);
  });
});

describe("honest push (P17)", () => {
  beforeAll(() => sendBy("onesignal", "sandbox"));

  it("a definite refusal, with a second provider on the device, goes to that one", async () => {
    const who = await person();
    const { id } = await device(who, "onesignal", platform.oneSignal.subscription("rate_limited"));
    const token = `phone-${newId()}`;
    expect((await device(who, "sandbox", token, id)).providers).toEqual(["onesignal", "sandbox"]);
    await platform.say("order.assigned", orderOf(who));
    expect(outcomesOf(await settled(who))).toEqual(["onesignal refused", "sandbox accepted"]);
    expect(shownTo(token)).toHaveLength(1);
  });

  it("an unclear timeout is repeated at the same provider under the same id, then mailed, all within 5 s", async () => {
    const who = await person();
    const subscription = platform.oneSignal.subscription("hang");
    const { id } = await device(who, "onesignal", subscription);
    const token = `phone-${newId()}`;
    await device(who, "sandbox", token, id);
    await platform.say("order.assigned", orderOf(who));
    const notification = await settled(who);
    const [first, , last] = notification.attempts.map(({ at, durationMs }) => ({
      at: Date.parse(at),
      durationMs,
    }));
    expect((last?.at ?? Number.NaN) + (last?.durationMs ?? 0) - (first?.at ?? 0)).toBeLessThan(5_000);
    expect(outcomesOf(notification)).toEqual(["onesignal unclear", "onesignal unclear", "smtp accepted"]);
    expect(shownTo(token)).toEqual([]);
    const keys = platform.oneSignal.requests
      .filter(({ body }) => body.include_subscription_ids?.includes(subscription))
      .map(({ body }) => body.idempotency_key);
    expect(keys).toHaveLength(2);
    expect(new Set(keys).size).toBe(1);
    expect(platform.oneSignal.shown().filter((push) => push.subscription === subscription)).toHaveLength(1);
  });

  it("a token that its provider no longer knows is removed, and the device with its last one", async () => {
    const who = await person();
    const { id } = await device(who, "onesignal", platform.oneSignal.subscription("invalid_ids"));
    await device(who, "sandbox", `phone-${newId()}`, id);
    await device(who, "sandbox", `unregistered-${newId()}`);
    await platform.say("order.assigned", orderOf(who));
    expect((await settled(who)).state).toBe("sent");
    const { items } = await platform.as({ id: who.id }, "notifications.devices", {});
    expect(items).toEqual([expect.objectContaining({ id, providers: ["sandbox"] })]);
  });

  it("pushes that are turned off are not tried; with mails off too it is kept, and nothing is sent", async () => {
    const who = await person();
    const token = `phone-${newId()}`;
    await device(who, "sandbox", token);
    await platform.as({ id: who.id }, "notifications.setPreferences", { push: false, email: false });
    await platform.say("order.assigned", orderOf(who));
    expect(await settled(who)).toMatchObject({ state: "muted", title: "Your order is on its way" });
    expect(shownTo(token)).toEqual([]);
    expect(platform.mails(who.email)).toEqual([]);
  });

  it("with mails turned off, a push that is refused is the end, and said so", async () => {
    const who = await person();
    await device(who, "sandbox", `refuse-${newId()}`);
    await platform.as({ id: who.id }, "notifications.setPreferences", { push: true, email: false });
    await platform.say("order.assigned", orderOf(who));
    const notification = await settled(who);
    expect(notification.state).toBe("failed");
    expect(await rows(db, "SELECT type FROM outbox WHERE subject = ?", [notification.id])).toEqual([
      { type: "notification.failed" },
    ]);
  });
});

describe("direct sends", () => {
  const request = (email: string, change: Partial<MessageData<"notification.requested">> = {}) =>
    platform.say("notification.requested", {
      version: 1,
      email,
      template: "confirm-email",
      language: "en",
      values: { code: "482913", firstName: "Zoë" },
      ...change,
    });

  it("a code is mailed, and the history keeps that, but not the code", async () => {
    const who = await person();
    await platform.as({ id: who.id }, "notifications.setPreferences", { push: false, email: false });
    await request(who.email, { userId: who.id });
    const notification = await settled(who);
    expect(platform.mails(who.email)).toEqual([
      expect.objectContaining({ text: expect.stringContaining("482913") }),
    ]);
    expect(notification).toMatchObject({ event: "confirm-email", state: "sent" });
    expect(JSON.stringify(notification)).not.toContain("482913");
    expect(JSON.stringify(await rows(db, "SELECT * FROM notifications"))).not.toContain("482913");
  });

  it("a code that came sealed, is mailed, and stands readable in no table", async () => {
    const email = `${newId()}@example.org`;
    const place = mailSealPlace({ template: "confirm-email", email });
    const keys = { secret: platform.config.SEAL_SECRET };
    const sealed = seal(JSON.stringify({ code: "771204" }), keys, place);
    const { id } = await request(email, { values: {}, sealed });
    await eventually(() => expect(platform.mails(email)).toHaveLength(1));
    expect(platform.mails(email)[0]?.text).toContain("771204");
    const inbox = await rows(db, "SELECT * FROM inbox WHERE message_id = ?", [id]);
    const stored = await rows(db, "SELECT * FROM notifications WHERE message_id = ?", [id]);
    expect(inbox).toHaveLength(1);
    expect(JSON.stringify([inbox, stored])).not.toContain("771204");
  });

  it("a code that was sealed for somebody else, is not mailed", async () => {
    const email = `${newId()}@example.org`;
    const place = mailSealPlace({ template: "confirm-email", email: "other@example.org" });
    const sealed = seal('{"code":"771205"}', { secret: platform.config.SEAL_SECRET }, place);
    const { id } = await request(email, { values: {}, sealed });
    await eventually(async () => {
      const [row] = await rows(db, "SELECT error FROM inbox WHERE message_id = ?", [id]);
      expect(row).toMatchObject({ error: "cannot be opened" });
    });
    expect(platform.mails(email)).toEqual([]);
  });

  it("a code, while the mail server is away, is mailed once it is back", async () => {
    const email = `${newId()}@example.org`;
    await platform.stopMailbox();
    const { id } = await request(email);
    await eventually(async () =>
      expect(
        await rows(db, "SELECT 1 FROM notifications WHERE message_id = ? AND passes > 0", [id]),
      ).toHaveLength(1),
    );
    await platform.startMailbox();
    await eventually(() => expect(platform.mails(email)).toHaveLength(1));
    await eventually(async () =>
      expect(await rows(db, "SELECT state FROM notifications WHERE message_id = ?", [id])).toEqual([
        { state: "sent" },
      ]),
    );
  });

  it("a send by a template that does not exist is a dead letter at once", async () => {
    const { id } = await request(`${newId()}@example.org`, { template: "nonsense" });
    await eventually(async () => {
      const { items } = await platform.as(admin, "notifications.deadLetters", {});
      expect(items).toContainEqual(
        expect.objectContaining({ messageId: id, attempts: 1, error: expect.stringContaining("nonsense") }),
      );
    });
  });
});

describe("devices", () => {
  it("a token, registered by the next person on the same phone, moves with the phone", async () => {
    const [first, second] = [await person(), await person()];
    const token = `phone-${newId()}`;
    await device(first, "sandbox", token);
    await device(second, "sandbox", token);
    expect((await platform.as({ id: first.id }, "notifications.devices", {})).items).toEqual([]);
    expect((await platform.as({ id: second.id }, "notifications.devices", {})).items).toHaveLength(1);
  });

  it("a token, registered twice or by ten requests at once, is one device", async () => {
    const who = await person();
    const token = `phone-${newId()}`;
    const made = await Promise.all(Array.from({ length: 10 }, () => device(who, "sandbox", token)));
    expect(new Set(made.map(({ id }) => id)).size).toBe(1);
  });

  it("a token of 4096 characters is kept", async () => {
    const who = await person();
    const token = Array.from({ length: 128 }, newId).join("").replaceAll("-", "").slice(0, 4096);
    expect((await device(who, "sandbox", token)).providers).toEqual(["sandbox"]);
  });

  it("another's device, added to or removed, is NOT_FOUND", async () => {
    const [owner, other] = [await person(), await person()];
    const { id } = await device(owner, "sandbox", `phone-${newId()}`);
    await expect(device(other, "sandbox", `phone-${newId()}`, id)).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
    await expect(
      platform.as({ id: other.id }, "notifications.removeDevice", { deviceId: id }),
    ).rejects.toMatchObject({ type: "NOT_FOUND" });
    await platform.as({ id: owner.id }, "notifications.removeDevice", { deviceId: id });
    expect((await platform.as({ id: owner.id }, "notifications.devices", {})).items).toEqual([]);
  });
});

describe("recipients", () => {
  it("a user who was updated is written to at the new address, and an older message changes nothing", async () => {
    const who = await person();
    const email = `new-${who.email}`;
    const user = { userId: who.id, firstName: "Zoë", language: "en", role: "customer" } as const;
    await platform.say("user.updated", { ...user, version: 3, email });
    await platform.say("user.updated", { ...user, version: 2, email: who.email });
    await eventually(async () =>
      expect(await rows(db, "SELECT email, version FROM recipients WHERE user_id = ?", [who.id])).toEqual([
        { email, version: 3 },
      ]),
    );
  });

  it("a user who was deleted leaves nothing behind, and older messages do not bring them back", async () => {
    const who = await person({ pushToken: { provider: "sandbox", token: `phone-${newId()}` } });
    await platform.say("order.delivered", orderOf(who));
    await settled(who);
    await platform.say("user.deleted", { version: 9, userId: who.id });
    await eventually(async () => expect(await historyOf(who)).toEqual([]));
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
      expect(await rows(db, "SELECT state FROM inbox WHERE message_id = ?", [last.id])).toEqual([
        { state: "done" },
      ]),
    );
    expect(await rows(db, "SELECT email, first_name FROM recipients WHERE user_id = ?", [who.id])).toEqual([
      {},
    ]);
    expect(await rows(db, "SELECT 1 FROM notifications WHERE user_id = ?", [who.id])).toEqual([]);
    expect(await rows(db, "SELECT 1 FROM devices WHERE user_id = ?", [who.id])).toEqual([]);
  });
});

describe("agents", () => {
  it("settings, once given, are sealed in the database and in no answer", async () => {
    const made = await sendBy("onesignal");
    const listed = await platform.as(admin, "notifications.agents", {});
    const stored = await rows(db, "SELECT * FROM agents");
    for (const seen of [made, listed, stored]) {
      expect(JSON.stringify(seen)).not.toContain(platform.oneSignalSettings.apiKey);
    }
  });

  it("an agent, changed at a version that is not its own, is PRECONDITION_FAILED", async () => {
    const { id, version } = await sendBy("sandbox");
    await expect(
      platform.as(admin, "notifications.updateAgent", {
        agentId: id,
        expectedVersion: version - 1,
        name: "B",
      }),
    ).rejects.toMatchObject({ type: "PRECONDITION_FAILED" });
  });

  it.each([
    [{ providers: ["onesignal" as const], settings: [] }, "appId"],
    [
      { providers: ["sandbox" as const], settings: [{ provider: "sandbox" as const, values: { url: "x" } }] },
      "url",
    ],
  ])("an agent without what its provider needs %# is refused and says what", async (fields, needed) => {
    await expect(
      platform.as(admin, "notifications.createAgent", { name: "A", priority: 5, enabled: false, ...fields }),
    ).rejects.toMatchObject({ type: "VALIDATION_ERROR", message: expect.stringContaining(needed) });
  });

  it("agents, for anybody but an admin, are FORBIDDEN", async () => {
    await expect(platform.as({}, "notifications.agents", {})).rejects.toMatchObject({ type: "FORBIDDEN" });
  });
});

describe("the list", () => {
  it("notifications, more than a page, come page by page, the newest first, each once", async () => {
    const who = await person();
    for (let i = 0; i < 3; i++) {
      await platform.say("order.delivered", orderOf(who));
      await eventually(async () => expect(await historyOf(who)).toHaveLength(i + 1));
    }
    const all = await historyOf(who);
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

  it("the history, emptied and made anew from the database, is what it was", async () => {
    const who = await person();
    await platform.say("order.delivered", orderOf(who));
    const before = await settled(who);
    const rebuild = rebuildsOf(platform.broker).get("notifications");
    expect(await rebuild?.()).toBeGreaterThan(0);
    expect(await historyOf(who)).toEqual([before]);
  });
});
