import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { systemClock } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { smtp } from "../../providers/email/smtp.ts";
import { oneSignal } from "../../providers/push/onesignal.ts";
import { sandboxPush } from "../../providers/push/sandbox.ts";
import { type Mailbox, startMailbox } from "../../sandbox/mailbox/mailbox.ts";
import { pushReceiver } from "../../sandbox/push/receiver.ts";
import { serve, type WebServer } from "../../sandbox/web.ts";
import {
  type DeliveryDeps,
  type Device,
  deliver,
  type Parcel,
} from "../../services/notifications/delivery.ts";
import { providerHealth } from "../../services/notifications/provider-health.ts";
import { type OneSignalMode, type OneSignalServer, startOneSignal } from "../support/onesignal-server.ts";

const HOST = "127.0.0.1";
const settings = { appId: crypto.randomUUID(), apiKey: "os_v2_app_0123456789abcdef" };

const phones = pushReceiver("/push");
let web: WebServer;
let server: OneSignalServer;
let mailbox: Mailbox;
let deps: DeliveryDeps;

beforeAll(async () => {
  web = await serve(phones.routes, { host: HOST, port: 0 });
  server = await startOneSignal(settings);
  mailbox = await startMailbox({ base: "/mailbox", host: HOST, smtpPort: 0 });
});
beforeEach(() => {
  deps = {
    push: new Map([oneSignal({ apiUrl: server.url }), sandboxPush()].map((one) => [one.name, one])),
    mailer: smtp({ url: mailbox.smtpUrl, from: "Waybill <no-reply@waybill.test>" }),
    health: providerHealth(systemClock),
    tries: new Map(),
    clock: systemClock,
  };
});
afterEach(() => deps.mailer.close());
afterAll(() => Promise.all([web.stop(), server.stop(), mailbox.stop()]));

const phone = (mode?: OneSignalMode, token?: string): Device => ({
  id: newId(),
  tokens: [
    ...(mode ? [{ provider: "onesignal", token: server.subscription(mode) }] : []),
    ...(token ? [{ provider: "sandbox", token }] : []),
  ],
});

function parcelFor(devices: Device[]): Parcel & { address: string } {
  const notificationId = newId();
  const address = `${newId()}@example.org`;
  const text = { subject: "T", text: "B", html: "<p>B</p>", language: "en" };
  return {
    address,
    notificationId,
    title: "On its way",
    body: `B ${notificationId}`,
    data: {},
    devices,
    sender: {
      name: "Main",
      providers: [
        { name: "onesignal", settings },
        { name: "sandbox", settings: { url: `${web.url}/push/send` } },
      ],
    },
    mail: { to: address, ...text, messageId: `${notificationId}@waybill` },
    preferences: { push: true, email: true },
  };
}

async function delivered(parcel: Parcel) {
  const result = await deliver(parcel, deps);
  return { ...result, ways: result.attempts.map(({ provider, outcome }) => `${provider} ${outcome}`) };
}

const mailsTo = (address: string) => mailbox.mails().filter(({ to }) => to.includes(address));

describe("deliver", () => {
  it("a push, delivered again because its commit was lost, is shown once", async () => {
    const device = phone("accept");
    const parcel = parcelFor([device]);
    await delivered(parcel);
    expect(await delivered(parcel)).toMatchObject({ state: "sent", ways: ["onesignal accepted"] });
    const token = device.tokens[0]?.token;
    expect(server.shown().filter(({ subscription }) => subscription === token)).toHaveLength(1);
  });

  it("a mail, delivered again because its commit was lost, is in the mailbox once", async () => {
    const parcel = parcelFor([]);
    await delivered(parcel);
    await delivered(parcel);
    expect(mailsTo(parcel.address)).toHaveLength(1);
  });

  it("two phones, of which one refuses, are both tried, and one is enough", async () => {
    const parcel = parcelFor([phone("bad_request"), phone("accept")]);
    const { state, ways } = await delivered(parcel);
    expect(state).toBe("sent");
    expect(ways.sort()).toEqual(["onesignal accepted", "onesignal refused"]);
    expect(mailsTo(parcel.address)).toEqual([]);
  });

  it("a provider that failed five times in a row is left out, and its phones get the next one at once", async () => {
    for (let i = 0; i < 5; i++) await delivered(parcelFor([phone("unavailable")]));
    const { ways } = await delivered(parcelFor([phone("accept", `phone-${newId()}`)]));
    expect(ways).toEqual(["onesignal skipped", "sandbox accepted"]);
    expect(Object.fromEntries(deps.tries)).toEqual({ "onesignal refused": 5, "sandbox accepted": 1 });
  });

  it("a phone without a token of the agent's providers gets a mail", async () => {
    const parcel = parcelFor([{ id: newId(), tokens: [{ provider: "fcm", token: "t" }] }]);
    expect((await delivered(parcel)).ways).toEqual(["none skipped", "smtp accepted"]);
  });

  it("when push and mail both hang, the end comes within five and a half seconds and may be repeated", async () => {
    const parcel = parcelFor([phone("hang"), phone("hang", `hang-${newId()}`)]);
    const { createServer } = await import("node:net");
    const silent = createServer();
    await new Promise<void>((resolve) => {
      silent.listen(0, HOST, resolve);
    });
    const { port } = silent.address() as import("node:net").AddressInfo;
    deps.mailer = smtp({ url: `smtp://${HOST}:${port}`, from: "Waybill <no-reply@waybill.test>" });
    const startedMs = performance.now();
    expect(await delivered(parcel)).toMatchObject({ state: "failed", retryable: true });
    expect(performance.now() - startedMs).toBeLessThan(5_500);
    deps.mailer.close();
    silent.close();
  });
});
