import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type NotificationsHarness, orderOf, startNotifications } from "../support/notifications.ts";

let platform: NotificationsHarness;
beforeAll(async () => {
  platform = await startNotifications();
  await platform.sendBy("sandbox");
});
afterAll(() => platform.stop());

const newPhone = () => ({ provider: "sandbox", token: `phone-${newId()}` }) as const;
type Who = { id: string; sessionId: string };
const register = (who: Who, phone: ReturnType<typeof newPhone>) =>
  platform.as(who, "notifications.addDevice", phone);
const devicesOf = async (userId: string) =>
  (await platform.rows<{ id: string }>("SELECT id FROM devices WHERE user_id = ? ORDER BY id", [userId])).map(
    ({ id }) => id,
  );
/** Says the end of sessions, and waits until it is known. */
async function end(userId: string, ...sessionIds: string[]) {
  const { id } = await platform.say("user.signed_out", { version: 1, userId, sessionIds });
  await handled(id);
}
const handled = (id: string) =>
  eventually(async () =>
    expect(await platform.rows("SELECT state FROM inbox WHERE message_id = ?", [id])).toEqual([
      { state: "done" },
    ]),
  );
const added = async (userId: string, sessionId: string, phone: ReturnType<typeof newPhone>) => {
  const { id } = await platform.say("user.device_added", {
    version: 1,
    userId,
    sessionId,
    language: "en",
    ...phone,
  });
  await handled(id);
};

describe("a device", () => {
  it("is removed with the session that registered it: later notifications are mailed", async () => {
    const { id, email } = await platform.person();
    const [here, there] = [
      { id, sessionId: newId() },
      { id, sessionId: newId() },
    ];
    const [lost, kept] = [newPhone(), newPhone()];
    await register(here, lost);
    const other = await register(there, kept);
    await end(id, here.sessionId);
    expect(await devicesOf(id)).toEqual([other.id]);

    await platform.say("order.delivered", orderOf({ id, email }));
    await eventually(() => expect(platform.shownTo(kept.token)).toHaveLength(1));
    expect(platform.shownTo(lost.token)).toEqual([]);
    await end(id, there.sessionId);
    await platform.say("order.failed", orderOf({ id, email }));
    await eventually(() => expect(platform.mails(email)).toHaveLength(1));
    expect(platform.shownTo(kept.token)).toHaveLength(1);
  });

  it("belongs to the session that registered it last", async () => {
    const { id } = await platform.person();
    const phone = newPhone();
    const [first, second] = [newId(), newId()];
    const device = await register({ id, sessionId: first }, phone);
    await register({ id, sessionId: second }, phone);
    await end(id, first);
    expect(await devicesOf(id)).toEqual([device.id]);
    await end(id, second);
    expect(await devicesOf(id)).toEqual([]);
  });

  it("of the registration or the profile belongs to the session that the message names", async () => {
    const phone = newPhone();
    const { id } = await platform.person({ pushToken: phone });
    expect(await devicesOf(id)).toHaveLength(1);
    const sessionId = newId();
    await added(id, sessionId, phone);
    await end(id, sessionId);
    expect(await devicesOf(id)).toEqual([]);
  });

  it("from before sessions were known is removed with any session of its owner", async () => {
    const { id } = await platform.person({ pushToken: newPhone() });
    const other = await platform.person({ pushToken: newPhone() });
    await end(id, newId());
    expect(await devicesOf(id)).toEqual([]);
    expect(await devicesOf(other.id)).toHaveLength(1);
  });

  it("stays when another user's session with that id ends", async () => {
    const [one, other] = [await platform.person(), await platform.person()];
    const sessionId = newId();
    const device = await register({ id: one.id, sessionId }, newPhone());
    await end(other.id, sessionId);
    expect(await devicesOf(one.id)).toEqual([device.id]);
    await expect(register({ id: one.id, sessionId }, newPhone())).resolves.toBeDefined();
  });

  it("is not registered for an ended session, also on a node that was not informed", async () => {
    const { id } = await platform.person();
    const [over, live] = [newId(), newId()];
    await end(id, over);
    await expect(register({ id, sessionId: over }, newPhone())).rejects.toMatchObject({
      type: "SESSION_REVOKED",
      code: 401,
    });
    await added(id, over, newPhone());
    const late = {
      version: 2,
      userId: id,
      email: `${id}@example.org`,
      firstName: "Zoë",
      language: "en",
    } as const;
    const { id: updated } = await platform.say("user.updated", {
      ...late,
      role: "customer",
      pushToken: newPhone(),
    });
    await handled(updated);
    expect(await devicesOf(id)).toEqual([]);
    await expect(register({ id, sessionId: live }, newPhone())).resolves.toBeDefined();
  });

  it("that is registered at the moment of its session's end, is removed", async () => {
    const { id } = await platform.person();
    for (let count = 0; count < 20; count++) {
      const sessionId = newId();
      await Promise.all([register({ id, sessionId }, newPhone()).catch(() => undefined), end(id, sessionId)]);
    }
    expect(await devicesOf(id)).toEqual([]);
  });

  it("is not registered for a deleted user, however late the message arrives", async () => {
    const { id } = await platform.person();
    const { id: deleted } = await platform.say("user.deleted", { version: 9, userId: id });
    await handled(deleted);
    await added(id, newId(), newPhone());
    await expect(register({ id, sessionId: newId() }, newPhone())).rejects.toMatchObject({
      type: "SESSION_REVOKED",
    });
    expect(await devicesOf(id)).toEqual([]);
  });
});
