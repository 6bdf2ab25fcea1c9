import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { circuitBreakers } from "../../lib/circuit-breaker.ts";
import { systemClock } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { keyedLimit } from "../../lib/keyed-limit.ts";
import { smtp } from "../../providers/email/smtp.ts";
import { apns } from "../../providers/push/apns.ts";
import { fcm } from "../../providers/push/fcm.ts";
import { oneSignal } from "../../providers/push/onesignal.ts";
import type { PushProvider } from "../../providers/push/port.ts";
import { sandboxPush } from "../../providers/push/sandbox.ts";
import { webPush } from "../../providers/push/webpush.ts";
import { type Mailbox, startMailbox } from "../../sandbox/mailbox/mailbox.ts";
import { pushReceiver } from "../../sandbox/push/receiver.ts";
import { serve, type WebServer } from "../../sandbox/web.ts";
import type { Device } from "../../services/notifications/dependencies.ts";
import {
  type DeliveryDeps,
  type DeliveryRequest,
  deliver,
  PUSH_BREAKER,
  PUSH_CONCURRENCY,
} from "../../services/notifications/workers/delivery.ts";
import { type ApnsMode, type ApnsServer, apnsSettings, startApns } from "../support/apns-server.ts";
import { eventually } from "../support/eventually.ts";
import { type FcmMode, type FcmServer, fcmSettings, startFcm } from "../support/fcm-server.ts";
import { type OneSignalMode, type OneSignalServer, startOneSignal } from "../support/onesignal-server.ts";
import {
  startWebPush,
  type WebPushMode,
  type WebPushServer,
  webPushSettings,
} from "../support/webpush-server.ts";

const HOST = "127.0.0.1";
const settings = { appId: crypto.randomUUID(), apiKey: "os_v2_app_0123456789abcdef" };

const phones = pushReceiver("/push");
let web: WebServer;
let server: OneSignalServer;
let google: FcmServer;
let apple: ApnsServer;
let browsers: WebPushServer;
let mailbox: Mailbox;
let deps: DeliveryDeps;
/** One of each for all tests, since Apple wants one token and one session of an account. */
let pushes: PushProvider[];

beforeAll(async () => {
  web = await serve(phones.routes, { host: HOST, port: 0 });
  server = await startOneSignal(settings);
  google = await startFcm();
  apple = await startApns();
  browsers = await startWebPush();
  pushes = [
    oneSignal({ apiUrl: server.url }),
    fcm(google.urls),
    apns({ apiUrl: apple.url }),
    webPush({ guard: { allowLoopback: true } }),
    sandboxPush(),
  ];
  mailbox = await startMailbox({ base: "/mailbox", host: HOST, smtpPort: 0 });
});
beforeEach(() => {
  deps = {
    push: new Map(pushes.map((one) => [one.name, one])),
    mailer: smtp({ url: mailbox.smtpUrl, from: "Waybill <no-reply@waybill.test>" }),
    breakers: circuitBreakers(systemClock, PUSH_BREAKER),
    pushLimit: keyedLimit(PUSH_CONCURRENCY),
    attemptCounts: new Map(),
    clock: systemClock,
  };
});
afterEach(() => deps.mailer.close());
afterAll(async () => {
  await Promise.all(pushes.map((one) => one.close?.()));
  await Promise.all([web, server, google, apple, browsers, mailbox].map((one) => one.stop()));
});

const phone = (mode?: OneSignalMode, token?: string): Device => ({
  id: newId(),
  tokens: [
    ...(mode ? [{ provider: "onesignal", token: server.subscription(mode) }] : []),
    ...(token ? [{ provider: "sandbox", token }] : []),
  ],
});

/** One phone that several vendors know, each by a token of its own. */
const phoneOf = (modes: { fcm?: FcmMode; apns?: ApnsMode; sandbox?: string }): Device => ({
  id: newId(),
  tokens: [
    ...(modes.fcm ? [{ provider: "fcm", token: google.token(modes.fcm) }] : []),
    ...(modes.apns ? [{ provider: "apns", token: apple.token(modes.apns) }] : []),
    ...(modes.sandbox ? [{ provider: "sandbox", token: `${modes.sandbox}-${newId()}` }] : []),
  ],
});

function parcelFor(devices: Device[]): DeliveryRequest & { address: string } {
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
        { name: "fcm", settings: fcmSettings },
        { name: "apns", settings: apnsSettings },
        { name: "webpush", settings: webPushSettings },
        { name: "sandbox", settings: { url: `${web.url}/push/send` } },
      ],
    },
    mail: () => ({ to: address, ...text, messageId: `${notificationId}@waybill` }),
    preferences: { push: true, email: true },
  };
}

async function delivered(parcel: DeliveryRequest) {
  const result = await deliver(parcel, deps);
  return { ...result, ways: result.attempts.map(({ provider, outcome }) => `${provider} ${outcome}`) };
}

/** The time limits that the next delivery gives to its pushes and its mail. */
function limitsOfOneDelivery(): { pushMs: number[]; mailMs: number } {
  const limits = { pushMs: [] as number[], mailMs: 0 };
  const observed = pushes.map((one) => ({
    ...one,
    send(push: Parameters<PushProvider["send"]>[0]) {
      limits.pushMs.push(push.timeoutMs);
      return one.send(push);
    },
  }));
  deps.push = new Map(observed.map((one) => [one.name, one]));
  const { mailer } = deps;
  deps.mailer = {
    ...mailer,
    send(mail, timeoutMs) {
      limits.mailMs = timeoutMs;
      return mailer.send(mail, timeoutMs);
    },
  };
  return limits;
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

  it("a provider that failed five times in a row is skipped, and its phones get the next one at once", async () => {
    for (let i = 0; i < 5; i++) await delivered(parcelFor([phone("unavailable")]));
    const { ways } = await delivered(parcelFor([phone("accept", `phone-${newId()}`)]));
    expect(ways).toEqual(["onesignal skipped", "sandbox accepted"]);
    expect(Object.fromEntries(deps.attemptCounts)).toEqual({ "onesignal refused": 5, "sandbox accepted": 1 });
  });

  it("a phone without a token of the agent's providers gets a mail", async () => {
    const parcel = parcelFor([{ id: newId(), tokens: [{ provider: "pager", token: "t" }] }]);
    expect((await delivered(parcel)).ways).toEqual(["none skipped", "smtp accepted"]);
  });

  it("when push and mail both hang, their time limits are five seconds together, and it may be repeated", async () => {
    const vendors = [phoneOf({ fcm: "hang", sandbox: "phone" }), phoneOf({ apns: "hang", sandbox: "phone" })];
    const parcel = parcelFor([phone("hang"), phone("hang", `hang-${newId()}`), ...vendors]);
    const { createServer } = await import("node:net");
    const silent = createServer();
    await new Promise<void>((resolve) => {
      silent.listen(0, HOST, resolve);
    });
    const { port } = silent.address() as import("node:net").AddressInfo;
    deps.mailer = smtp({ url: `smtp://${HOST}:${port}`, from: "Waybill <no-reply@waybill.test>" });
    const limits = limitsOfOneDelivery();
    const { state, retryable, ways } = await delivered(parcel);
    // Two tries of each push side by side, and then the mail. A timer of Node may be early by a millisecond.
    const pushMs = Math.max(...limits.pushMs);
    expect(2 * pushMs + limits.mailMs).toBeLessThanOrEqual(5_010);
    expect({ state, retryable }).toEqual({ state: "failed", retryable: true });
    const twice = ["onesignal", "onesignal", "fcm", "apns"].flatMap((name) => [
      `${name} unclear`,
      `${name} unclear`,
    ]);
    expect(ways.slice(0, -1).sort()).toEqual(twice.sort());
    expect(onesAndIds(parcel)).toEqual({ fcm: [2, 1, 1], apns: [2, 1, 1] });
    deps.mailer.close();
    silent.close();
  });
});

/** The result of a push at each vendor: how many attempts, under how many ids, and how often it is shown. */
function onesAndIds({ body }: DeliveryRequest) {
  const fcmIds = google.requests
    .filter(({ message }) => message.notification?.body === body)
    .map(({ message }) => message.android?.collapse_key);
  const apnsIds = apple.requests
    .filter(({ payload }) => payload.aps?.alert?.body === body)
    .map(({ headers }) => headers["apns-collapse-id"]);
  const shown = (pushed: { body: string }[]) => pushed.filter((one) => one.body === body).length;
  return {
    fcm: [fcmIds.length, new Set(fcmIds).size, shown(google.shown())],
    apns: [apnsIds.length, new Set(apnsIds).size, shown(apple.shown())],
  };
}

describe("deliver, to a phone that several vendors know (P17)", () => {
  it.each<[string, Parameters<typeof phoneOf>[0], string[], string[]]>([
    ["the first takes it, and no other is asked", { fcm: "accept", apns: "accept" }, ["fcm accepted"], []],
    [
      "a definite refusal goes to the next",
      { fcm: "sender_mismatch", apns: "accept" },
      ["fcm refused", "apns accepted"],
      [],
    ],
    [
      "a quota that is used up goes to the next",
      { fcm: "quota", apns: "accept" },
      ["fcm refused", "apns accepted"],
      [],
    ],
    [
      "a token that is gone is removed, and the next gets it",
      { fcm: "unregistered", apns: "accept" },
      ["fcm refused", "apns accepted"],
      ["fcm"],
    ],
    [
      "a text that is no token is removed too",
      { fcm: "not_a_token", apns: "bad_token", sandbox: "phone" },
      ["fcm refused", "apns refused", "sandbox accepted"],
      ["fcm", "apns"],
    ],
    [
      "a token that does not fit the settings' topic stays, since the settings may be wrong",
      { apns: "wrong_topic", sandbox: "phone" },
      ["apns refused", "sandbox accepted"],
      [],
    ],
    [
      "all of them refuse, and a mail goes out",
      { fcm: "third_party_auth", apns: "too_many", sandbox: "refuse" },
      ["fcm refused", "apns refused", "sandbox refused", "smtp accepted"],
      [],
    ],
    [
      "an unclear end is repeated there and nowhere else, then a mail goes out",
      { fcm: "internal", apns: "accept" },
      ["fcm unclear", "fcm unclear", "smtp accepted"],
      [],
    ],
    [
      "an unclear end at the second is repeated at the second",
      { fcm: "unregistered", apns: "error", sandbox: "phone" },
      ["fcm refused", "apns unclear", "apns unclear", "smtp accepted"],
      ["fcm"],
    ],
  ])("%s", async (_what, modes, ways, gone) => {
    const parcel = parcelFor([phoneOf(modes)]);
    const result = await delivered(parcel);
    expect(result).toMatchObject({ state: "sent", ways });
    expect(result.tokenFailures.filter((one) => one.unregistered).map((one) => one.provider)).toEqual(gone);
    const mails = ways.includes("smtp accepted") ? 1 : 0;
    expect(mailsTo(parcel.address)).toHaveLength(mails);
    const { fcm: atGoogle, apns: atApple } = onesAndIds(parcel);
    const onPhone = phones.pushes().filter(({ body }) => body === parcel.body).length;
    // By push once, or where that is unclear, one push that may have been shown and the mail.
    expect((atGoogle[2] ?? 0) + (atApple[2] ?? 0) + onPhone).toBe(
      mails && !ways.join().includes("unclear") ? 0 : 1,
    );
    expect(atGoogle[1]).toBe(Math.min(1, atGoogle[0] ?? 0));
    expect(atApple[1]).toBe(Math.min(1, atApple[0] ?? 0));
  });

  it("a vendor that answers Retry-After is skipped, and its phones get the next one at once", async () => {
    const first = await delivered(parcelFor([phoneOf({ fcm: "unavailable", apns: "accept" })]));
    expect(first.ways).toEqual(["fcm refused", "apns accepted"]);
    const { ways } = await delivered(parcelFor([phoneOf({ fcm: "accept", apns: "accept" })]));
    expect(ways).toEqual(["fcm skipped", "apns accepted"]);
  });

  const browser = (mode: WebPushMode, at = browsers): Device => ({
    id: newId(),
    tokens: [{ provider: "webpush", token: at.token(mode) }],
  });

  it("a browser's push service that accepts nothing does not keep other browsers from their pushes", async () => {
    const broken = await startWebPush();
    for (let count = 0; count < 3; count++) await delivered(parcelFor([browser("error", broken)]));
    const left = await delivered(parcelFor([browser("accept", broken)]));
    expect(left.ways).toEqual(["webpush skipped", "smtp accepted"]);
    const parcel = parcelFor([browser("accept")]);
    expect(await delivered(parcel)).toMatchObject({ state: "sent", ways: ["webpush accepted"] });
    expect(browsers.shown()).toContainEqual(expect.objectContaining({ body: parcel.body }));
    await broken.stop();
  });

  it("a browser without its subscription loses its token, and its owner gets the mail", async () => {
    const gone = await delivered(parcelFor([browser("gone")]));
    expect(gone.ways).toEqual(["webpush refused", "smtp accepted"]);
    expect(gone.tokenFailures).toMatchObject([{ provider: "webpush", unregistered: true }]);
  });

  it("push services of strangers that hang leave the others their places, and their owners get mails", async () => {
    deps.pushLimit = keyedLimit({ atOnce: 1, waitMs: 1 });
    const waiting = deliver(parcelFor([browser("hang")]), deps);
    await eventually(() => expect(browsers.requests.length).toBeGreaterThan(0));
    const stranger = await delivered(parcelFor([browser("accept")]));
    expect(stranger.ways).toEqual(["webpush skipped", "smtp accepted"]);
    expect((await delivered(parcelFor([phoneOf({ sandbox: "phone" })]))).ways).toEqual(["sandbox accepted"]);
    await waiting;
  });

  it("a browser with a subscription of another key, or with too much data, costs no other browser its pushes", async () => {
    for (const mode of ["refused", "too_many"] as const) {
      for (let push = 0; push < 6; push++) {
        const { ways } = await delivered(parcelFor([browser(mode)]));
        expect(ways).toEqual(["webpush refused", "smtp accepted"]);
      }
    }
    expect((await delivered(parcelFor([browser("accept")]))).ways).toEqual(["webpush accepted"]);
  });

  it.each(["wrong_topic", "too_many"] as const)(
    "a phone of which APNs says %s costs no other phone its pushes",
    async (mode) => {
      for (let push = 0; push < 6; push++) await delivered(parcelFor([phoneOf({ apns: mode })]));
      expect((await delivered(parcelFor([phoneOf({ apns: "accept" })]))).ways).toEqual(["apns accepted"]);
    },
  );
});
