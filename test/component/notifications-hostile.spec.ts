import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { checkHealth } from "../../mixins/health/health.mixin.ts";
import { oneSignal } from "../../providers/push/onesignal.ts";
import { sandboxPush } from "../../providers/push/sandbox.ts";
import { webPush } from "../../providers/push/webpush.ts";
import { eventually } from "../support/eventually.ts";
import { type HostileServers, hostileHttp, startHostile } from "../support/hostile-server.ts";
import {
  type NotificationsHarness,
  orderOf,
  outcomesOf,
  startNotifications,
} from "../support/notifications.ts";
import { startWebPush, webPushSettings } from "../support/webpush-server.ts";

/** More than there are places for notifications at once. */
const HOSTILE = 80;

let platform: NotificationsHarness;
let hostile: HostileServers;
let endpoints: string[];
beforeAll(async () => {
  // Each with an address of its own, like the owner of a domain.
  const hang = hostileHttp["reads and says nothing"] as NonNullable<(typeof hostileHttp)[string]>;
  const each = Array.from({ length: HOSTILE }, (_, index) => [`${index}`, hang] as const);
  const closes = hostileHttp["closes after the request"] as typeof hang;
  hostile = await startHostile({ ...Object.fromEntries(each), closes });
  const service = await startWebPush();
  endpoints = hostile.servers.map(({ port }) =>
    JSON.stringify({ ...JSON.parse(service.token()), endpoint: `http://127.0.0.1:${port}/push` }),
  );
  await service.stop();
  const push = [
    webPush({ guard: { allowLoopback: true } }),
    sandboxPush(),
    oneSignal({ apiUrl: "http://127.0.0.1:9" }),
  ];
  platform = await startNotifications({}, { push: new Map(push.map((one) => [one.name, one])) });
  await platform.sendBy("sandbox");
  const [agent] = (await platform.as({ role: "admin" }, "notifications.agents", {})).items;
  await platform.as({ role: "admin" }, "notifications.updateAgent", {
    agentId: agent?.id ?? "",
    providers: ["webpush", "sandbox"],
    settings: [{ provider: "webpush", values: webPushSettings }],
  });
});
afterAll(async () => {
  await platform.stop();
  await hostile.stop();
});

it("push services that are skipped are shown as a degradation, with their names", async () => {
  const closing = hostile.servers.find(({ name }) => name === "closes");
  const who = await platform.person();
  await platform.device(who, "webpush", endpoints[HOSTILE] as string);
  for (let order = 0; order < 3; order++) await platform.say("order.assigned", orderOf(who));
  await eventually(async () => {
    const { degraded } = (await checkHealth(platform.broker)).find(({ check }) => check === "push") ?? {};
    expect(degraded).toContain(`webpush http://127.0.0.1:${closing?.port}`);
  });
});

it("a code is mailed and others' pushes are sent while all hostile push endpoints hang", async () => {
  const victims = await Promise.all(
    endpoints.slice(0, HOSTILE).map(async (endpoint) => {
      const who = await platform.person();
      await platform.device(who, "webpush", endpoint);
      return who;
    }),
  );
  const healthy = await platform.person();
  const token = `phone-${newId()}`;
  await platform.device(healthy, "sandbox", token);
  await Promise.all(victims.map((who) => platform.say("order.assigned", orderOf(who))));
  const places = async () => Object.values(hostile.open()).reduce((sum, count) => sum + count, 0);
  await eventually(async () => expect(await places()).toBeGreaterThan(0));

  const email = `${newId()}@example.org`;
  await platform.say("notification.requested", {
    ...{ version: 1, email, template: "confirm-email", language: "en" },
    values: { code: "482913", minutes: "30" },
  });
  await platform.say("order.assigned", orderOf(healthy));
  await eventually(() => expect(platform.mails(email)).toHaveLength(1));
  await eventually(() => expect(platform.shownTo(token)).toHaveLength(1));
  // The user with such an endpoint gets a mail.
  for (const who of victims.slice(0, 4)) {
    await eventually(() => expect(platform.mails(who.email)).toHaveLength(1));
    expect(outcomesOf(await platform.settled(who)).at(-1)).toBe("smtp accepted");
  }
});
