import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type MessageData, mailAad } from "../../contracts/messages.ts";
import { encrypt } from "../../lib/encryption.ts";
import { newId } from "../../lib/ids.ts";
import { apnsSettings } from "../support/apns-server.ts";
import { eventually } from "../support/eventually.ts";
import { fcmSettings } from "../support/fcm-server.ts";
import {
  type NotificationsHarness,
  orderOf,
  outcomesOf,
  startNotifications,
} from "../support/notifications.ts";

const admin = { role: "admin" } as const;

let platform: NotificationsHarness;
beforeAll(async () => {
  platform = await startNotifications();
});
afterAll(() => platform.stop());

describe("a push (P17)", () => {
  beforeAll(() => platform.sendBy("onesignal", "sandbox"));

  it("that is refused, with a second provider on the device, is sent by that one", async () => {
    const who = await platform.person();
    const { id } = await platform.device(who, "onesignal", platform.oneSignal.subscription("rate_limited"));
    const token = `phone-${newId()}`;
    expect((await platform.device(who, "sandbox", token, id)).providers).toEqual(["onesignal", "sandbox"]);
    await platform.say("order.assigned", orderOf(who));
    expect(outcomesOf(await platform.settled(who))).toEqual(["onesignal refused", "sandbox accepted"]);
    expect(platform.shownTo(token)).toHaveLength(1);
  });

  it("an unclear timeout is repeated at the same provider under the same id, then mailed", async () => {
    const who = await platform.person();
    const subscription = platform.oneSignal.subscription("hang");
    const { id } = await platform.device(who, "onesignal", subscription);
    const token = `phone-${newId()}`;
    await platform.device(who, "sandbox", token, id);
    await platform.say("order.assigned", orderOf(who));
    const notification = await platform.settled(who);
    expect(outcomesOf(notification)).toEqual(["onesignal unclear", "onesignal unclear", "smtp accepted"]);
    expect(platform.shownTo(token)).toEqual([]);
    const keys = platform.oneSignal.requests
      .filter(({ body }) => body.include_subscription_ids?.includes(subscription))
      .map(({ body }) => body.idempotency_key);
    expect(keys).toHaveLength(2);
    expect(new Set(keys).size).toBe(1);
    expect(platform.oneSignal.shown().filter((push) => push.subscription === subscription)).toHaveLength(1);
  });

  it("to a token that its provider no longer knows removes the token, and the device with its last one", async () => {
    const who = await platform.person();
    const { id } = await platform.device(who, "onesignal", platform.oneSignal.subscription("invalid_ids"));
    await platform.device(who, "sandbox", `phone-${newId()}`, id);
    await platform.device(who, "sandbox", `unregistered-${newId()}`);
    await platform.say("order.assigned", orderOf(who));
    expect((await platform.settled(who)).state).toBe("sent");
    const { items } = await platform.as({ id: who.id }, "notifications.devices", {});
    expect(items).toEqual([expect.objectContaining({ id, providers: ["sandbox"] })]);
  });

  it("that is turned off is not tried; with mails turned off too, the notification is stored and not sent", async () => {
    const who = await platform.person();
    const token = `phone-${newId()}`;
    await platform.device(who, "sandbox", token);
    await platform.as({ id: who.id }, "notifications.setPreferences", { push: false, email: false });
    await platform.say("order.assigned", orderOf(who));
    expect(await platform.settled(who)).toMatchObject({ state: "muted", title: "Your order is on its way" });
    expect(platform.shownTo(token)).toEqual([]);
    expect(platform.mails(who.email)).toEqual([]);
  });

  it("that is refused, with mails turned off, fails, and the history shows it", async () => {
    const who = await platform.person();
    await platform.device(who, "sandbox", `refuse-${newId()}`);
    await platform.as({ id: who.id }, "notifications.setPreferences", { push: true, email: false });
    await platform.say("order.assigned", orderOf(who));
    const notification = await platform.settled(who);
    expect(notification.state).toBe("failed");
    expect(await platform.rows("SELECT type FROM outbox WHERE subject = ?", [notification.id])).toEqual([
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

  it("a code is mailed, and the history has the notification without the code", async () => {
    const who = await platform.person();
    await platform.as({ id: who.id }, "notifications.setPreferences", { push: false, email: false });
    await request(who.email, { userId: who.id });
    const notification = await platform.settled(who);
    expect(platform.mails(who.email)).toEqual([
      expect.objectContaining({ text: expect.stringContaining("482913") }),
    ]);
    expect(notification).toMatchObject({ event: "confirm-email", state: "sent" });
    expect(JSON.stringify(notification)).not.toContain("482913");
    expect(JSON.stringify(await platform.rows("SELECT * FROM notifications"))).not.toContain("482913");
  });

  it("an encrypted code is mailed, and is in no table in plain text", async () => {
    const email = `${newId()}@example.org`;
    const place = mailAad({ template: "confirm-email", email });
    const keys = { secret: platform.config.SEAL_SECRET };
    const sealed = encrypt(JSON.stringify({ code: "771204" }), keys, place);
    const { id } = await request(email, { values: {}, sealed });
    await eventually(() => expect(platform.mails(email)).toHaveLength(1));
    expect(platform.mails(email)[0]?.text).toContain("771204");
    const inbox = await platform.rows("SELECT * FROM inbox WHERE message_id = ?", [id]);
    const stored = await platform.rows("SELECT * FROM notifications WHERE message_id = ?", [id]);
    expect(inbox).toHaveLength(1);
    expect(JSON.stringify([inbox, stored])).not.toContain("771204");
  });

  it("a code that was encrypted for another recipient is not mailed", async () => {
    const email = `${newId()}@example.org`;
    const place = mailAad({ template: "confirm-email", email: "other@example.org" });
    const sealed = encrypt('{"code":"771205"}', { secret: platform.config.SEAL_SECRET }, place);
    const { id } = await request(email, { values: {}, sealed });
    await eventually(async () => {
      const [row] = await platform.rows("SELECT error FROM inbox WHERE message_id = ?", [id]);
      expect(row).toMatchObject({ error: "cannot be decrypted" });
    });
    expect(platform.mails(email)).toEqual([]);
  });

  it("a code, without a mail server, is mailed after its return", async () => {
    const email = `${newId()}@example.org`;
    await platform.stopMailbox();
    const { id } = await request(email);
    await eventually(async () =>
      expect(
        await platform.rows("SELECT 1 FROM notifications WHERE message_id = ? AND passes > 0", [id]),
      ).toHaveLength(1),
    );
    await platform.startMailbox();
    await eventually(() => expect(platform.mails(email)).toHaveLength(1));
    await eventually(async () =>
      expect(await platform.rows("SELECT state FROM notifications WHERE message_id = ?", [id])).toEqual([
        { state: "sent" },
      ]),
    );
  });

  it("a message with an unknown template is a dead letter at once", async () => {
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
  it("a token, registered by the next user of a phone, moves with the phone", async () => {
    const [first, second] = [await platform.person(), await platform.person()];
    const token = `phone-${newId()}`;
    await platform.device(first, "sandbox", token);
    await platform.device(second, "sandbox", token);
    expect((await platform.as({ id: first.id }, "notifications.devices", {})).items).toEqual([]);
    expect((await platform.as({ id: second.id }, "notifications.devices", {})).items).toHaveLength(1);
  });

  it("a token, registered twice or by ten requests at once, is one device", async () => {
    const who = await platform.person();
    const token = `phone-${newId()}`;
    const made = await Promise.all(Array.from({ length: 10 }, () => platform.device(who, "sandbox", token)));
    expect(new Set(made.map(({ id }) => id)).size).toBe(1);
  });

  it("a token of 4096 characters is kept", async () => {
    const who = await platform.person();
    const token = Array.from({ length: 128 }, newId).join("").replaceAll("-", "").slice(0, 4096);
    expect((await platform.device(who, "sandbox", token)).providers).toEqual(["sandbox"]);
  });

  it("beyond the fiftieth, replaces the one that was registered first", async () => {
    const who = await platform.person();
    for (let n = 1; n <= 51; n++) {
      await platform.device(who, "sandbox", `phone-${who.id}-${n}`);
      // The first one comes back before the last.
      if (n === 50) await platform.device(who, "sandbox", `phone-${who.id}-1`);
    }
    const kept = await platform.rows<{ token: string }>(
      "SELECT token FROM device_tokens t JOIN devices d ON d.id = t.device_id WHERE d.user_id = ?",
      [who.id],
    );
    const numbers = kept.map(({ token }) => Number(token.split("-").at(-1))).sort((a, b) => a - b);
    expect(numbers).toEqual([1, ...Array.from({ length: 49 }, (_, n) => n + 3)]);
  });

  it("another's device, added to or removed, is NOT_FOUND", async () => {
    const [owner, other] = [await platform.person(), await platform.person()];
    const { id } = await platform.device(owner, "sandbox", `phone-${newId()}`);
    await expect(platform.device(other, "sandbox", `phone-${newId()}`, id)).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
    await expect(
      platform.as({ id: other.id }, "notifications.removeDevice", { deviceId: id }),
    ).rejects.toMatchObject({ type: "NOT_FOUND" });
    await platform.as({ id: owner.id }, "notifications.removeDevice", { deviceId: id });
    expect((await platform.as({ id: owner.id }, "notifications.devices", {})).items).toEqual([]);
  });
});

describe("agents", () => {
  it("settings are encrypted in the database and in no answer", async () => {
    const made = await platform.sendBy("onesignal");
    const listed = await platform.as(admin, "notifications.agents", {});
    const stored = await platform.rows("SELECT * FROM agents");
    for (const seen of [made, listed, stored]) {
      expect(JSON.stringify(seen)).not.toContain(platform.oneSignalSettings.apiKey);
    }
  });

  it("an agent, and a phone, have tokens and keys of several vendors", async () => {
    const settings = [
      { provider: "fcm" as const, values: fcmSettings },
      { provider: "apns" as const, values: apnsSettings },
    ];
    const providers = ["apns" as const, "fcm" as const];
    const fields = { name: "Vendors", priority: 9, providers, settings, enabled: false };
    const made = await platform.as(admin, "notifications.createAgent", fields);
    expect(made).toMatchObject({ providers, enabled: false });
    const stored = await platform.rows("SELECT * FROM agents WHERE id = ?", [made.id]);
    expect(JSON.stringify([made, stored])).not.toContain("PRIVATE KEY");
    const who = await platform.person();
    const { id } = await platform.device(who, "fcm", `${newId()}:APA91b`);
    expect((await platform.device(who, "apns", newId(), id)).providers).toEqual(["apns", "fcm"]);
  });

  it("an agent, changed with an old version, is PRECONDITION_FAILED", async () => {
    const { id, version } = await platform.sendBy("sandbox");
    await expect(
      platform.as(admin, "notifications.updateAgent", {
        agentId: id,
        expectedVersion: version - 1,
        name: "B",
      }),
    ).rejects.toMatchObject({ type: "PRECONDITION_FAILED" });
  });

  it("an agent, changed without fields, keeps its version", async () => {
    const { id, version } = await platform.sendBy("sandbox");
    const same = await platform.as(admin, "notifications.updateAgent", { agentId: id, settings: [] });
    expect(same).toMatchObject({ id, version });
  });

  it.each([
    [{ providers: ["onesignal" as const], settings: [] }, "appId"],
    [{ providers: ["fcm" as const], settings: [] }, "fcm: projectId"],
    [
      {
        providers: ["fcm" as const],
        settings: [{ provider: "fcm" as const, values: { serviceAccount: "no JSON" } }],
      },
      "fcm: serviceAccount",
    ],
    [
      {
        providers: ["apns" as const],
        settings: [{ provider: "apns" as const, values: { ...apnsSettings, privateKey: "-----BEGIN" } }],
      },
      "apns: privateKey",
    ],
    [
      { providers: ["sandbox" as const], settings: [{ provider: "sandbox" as const, values: { url: "x" } }] },
      "url",
    ],
  ])("an agent without its provider's settings %# is refused with their names", async (fields, needed) => {
    await expect(
      platform.as(admin, "notifications.createAgent", { name: "A", priority: 5, enabled: false, ...fields }),
    ).rejects.toMatchObject({ type: "VALIDATION_ERROR", message: expect.stringContaining(needed) });
  });

  it("settings encrypted with a lost secret skip pushes, not mails, until they are entered again", async () => {
    const { id } = await platform.sendBy("sandbox");
    const encrypted = encrypt("{}", { secret: "a secret that is lost 0123456789abcdef" }, `agents/${id}`);
    await platform.rows("UPDATE agents SET settings_sealed = ? WHERE id = ?", [encrypted, id]);
    const reader = await platform.person();
    await platform.device(reader, "sandbox", `phone-${newId()}`);
    await platform.say("order.assigned", orderOf(reader));
    expect(outcomesOf(await platform.settled(reader))).toEqual(["none skipped", "smtp accepted"]);
    await platform.sendBy("sandbox");
    const next = await platform.person();
    await platform.device(next, "sandbox", `phone-${newId()}`);
    await platform.say("order.assigned", orderOf(next));
    expect(outcomesOf(await platform.settled(next))).toEqual(["sandbox accepted"]);
  });

  it("agents, for another role than admin, are FORBIDDEN", async () => {
    await expect(platform.as({}, "notifications.agents", {})).rejects.toMatchObject({ type: "FORBIDDEN" });
  });
});
