import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type OtherTransaction, whileLocked } from "../support/locks.ts";
import {
  type NotificationsHarness,
  orderOf,
  type Person,
  startNotifications,
} from "../support/notifications.ts";

let platform: NotificationsHarness;
beforeAll(async () => {
  platform = await startNotifications();
  await platform.sendBy("sandbox");
});
afterAll(() => platform.stop());

const lockDevice = (other: OtherTransaction, id: string) =>
  other.query("UPDATE devices SET updated_at = now() WHERE id = $1", [id]);
/** Two devices, the first of which has the lower id, with tokens that the provider does not know. */
async function lostDevices(who: Person): Promise<[low: string, high: string]> {
  const [one, other] = [
    await platform.device(who, "sandbox", `unregistered-${newId()}`),
    await platform.device(who, "sandbox", `unregistered-${newId()}`),
  ];
  return [one.id, other.id].sort() as [string, string];
}
const devicesBecome = (who: Person, ids: string[]) =>
  eventually(async () =>
    expect(await platform.rows("SELECT id FROM devices WHERE user_id = ? ORDER BY id", [who.id])).toEqual(
      ids.map((id) => ({ id })),
    ),
  );

/* Locks in another order than that of the other transactions let two of them wait for each other, for a second at least. */
describe("the locks of the notifications service", () => {
  it("the removal of lost tokens waits for the first device, and holds no token and no other device", async () => {
    const who = await platform.person();
    const [low, high] = await lostDevices(who);
    await whileLocked(
      platform.database.url,
      (other) => lockDevice(other, low),
      () => platform.say("order.delivered", orderOf(who)),
      async (other) => {
        await lockDevice(other, high);
        await other.query("DELETE FROM device_tokens WHERE device_id = ANY ($1)", [[low, high]]);
      },
    );
    await devicesBecome(who, []);
  });

  it("the erasure of a user waits for the user's notifications and holds no device", async () => {
    const who = await platform.person();
    await platform.device(who, "sandbox", `phone-${newId()}`);
    await platform.say("order.delivered", orderOf(who));
    await platform.settled(who);
    await whileLocked(
      platform.database.url,
      (other) => other.query("UPDATE notifications SET updated_at = now() WHERE user_id = $1", [who.id]),
      () => platform.say("user.deleted", { version: 2, userId: who.id }),
      (other) => other.query("DELETE FROM devices WHERE user_id = $1", [who.id]),
    );
    await devicesBecome(who, []);
  });

  it("the end of sessions locks their devices in the order of their ids", async () => {
    const who = await platform.person();
    const sessionId = newId();
    const [low, high] = [newId(), newId()].sort() as [string, string];
    // The higher id is stored first, so that a statement without an order would lock it first.
    for (const id of [high, low]) {
      await platform.rows("INSERT INTO devices (id, user_id, session_id) VALUES (?, ?, ?)", [
        id,
        who.id,
        sessionId,
      ]);
    }
    await whileLocked(
      platform.database.url,
      (other) => lockDevice(other, low),
      () => platform.say("user.signed_out", { version: 1, userId: who.id, sessionIds: [sessionId] }),
      (other) => lockDevice(other, high),
    );
    await devicesBecome(who, []);
  });
});
