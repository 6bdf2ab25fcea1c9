import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { apns } from "../../providers/push/apns.ts";
import { type PushFailure, pushConformance } from "../../providers/push/conformance.ts";
import { fcm } from "../../providers/push/fcm.ts";
import { oneSignal } from "../../providers/push/onesignal.ts";
import type { Push } from "../../providers/push/port.ts";
import { sandboxPush } from "../../providers/push/sandbox.ts";
import { webPush } from "../../providers/push/webpush.ts";
import { pushReceiver } from "../../sandbox/push/receiver.ts";
import { serve } from "../../sandbox/web.ts";
import { type ApnsMode, apnsSettings, startApns } from "../support/apns-server.ts";
import { type FcmMode, fcmSettings, startFcm } from "../support/fcm-server.ts";
import { type OneSignalMode, type OneSignalServer, startOneSignal } from "../support/onesignal-server.ts";
import { startWebPush, type WebPushMode, webPushSettings } from "../support/webpush-server.ts";

const settings = { appId: crypto.randomUUID(), apiKey: "os_v2_app_0123456789abcdef" };

describe("push provider onesignal", () => {
  const modes: Record<PushFailure, OneSignalMode> = {
    none: "accept",
    unregistered: "invalid_ids",
    refused: "bad_request",
    broken: "error",
    hanging: "hang",
  };
  pushConformance(async () => {
    const server = await startOneSignal(settings);
    return {
      provider: oneSignal({ apiUrl: server.url }),
      settings,
      token: (trouble) => server.subscription(modes[trouble]),
      shown: server.shown,
      stop: server.stop,
    };
  });
});

describe("push provider fcm", () => {
  const modes: Record<PushFailure, FcmMode> = {
    none: "accept",
    unregistered: "unregistered",
    refused: "sender_mismatch",
    broken: "internal",
    hanging: "hang",
  };
  pushConformance(async () => {
    const server = await startFcm();
    return {
      provider: fcm(server.urls),
      settings: fcmSettings,
      token: (trouble) => server.token(modes[trouble]),
      shown: server.shown,
      stop: server.stop,
    };
  });
});

describe("push provider apns", () => {
  const modes: Record<PushFailure, ApnsMode> = {
    none: "accept",
    unregistered: "unregistered",
    refused: "refused",
    broken: "error",
    hanging: "hang",
  };
  pushConformance(async () => {
    const server = await startApns();
    return {
      provider: apns({ apiUrl: server.url }),
      settings: apnsSettings,
      token: (trouble) => server.token(modes[trouble]),
      shown: server.shown,
      stop: server.stop,
    };
  });
});

describe("push provider webpush", () => {
  const modes: Record<PushFailure, WebPushMode> = {
    none: "accept",
    unregistered: "gone",
    refused: "refused",
    broken: "error",
    hanging: "hang",
  };
  pushConformance(async () => {
    const server = await startWebPush();
    return {
      provider: webPush({ guard: { allowLoopback: true } }),
      settings: webPushSettings,
      token: (trouble) => server.token(modes[trouble]),
      shown: server.shown,
      stop: server.stop,
    };
  });
});

describe("push provider sandbox", () => {
  const prefixes: Record<PushFailure, string> = {
    none: "phone",
    unregistered: "unregistered",
    refused: "refuse",
    broken: "broken",
    hanging: "hang",
  };
  pushConformance(async () => {
    const receiver = pushReceiver("/push");
    const server = await serve(receiver.routes, { host: "127.0.0.1", port: 0 });
    return {
      provider: sandboxPush(),
      settings: { url: `${server.url}/push/send` },
      token: (trouble) => `${prefixes[trouble]}-${newId()}`,
      shown: receiver.pushes,
      stop: server.stop,
    };
  });
});

describe("push provider onesignal, the requests to OneSignal", () => {
  let server: OneSignalServer;
  beforeAll(async () => {
    server = await startOneSignal(settings);
  });
  afterAll(() => server.stop());

  const send = (mode: OneSignalMode, change: Partial<Push> = {}) =>
    oneSignal({ apiUrl: server.url }).send({
      token: server.subscription(mode),
      title: "T",
      body: "B",
      data: {},
      collapseId: newId(),
      settings,
      timeoutMs: 30_000,
      ...change,
    });

  it("send, with a current key, uses the scheme Key and sends the idempotency id", async () => {
    const collapseId = newId();
    await send("accept", { collapseId });
    expect(server.requests.at(-1)).toMatchObject({
      authorization: `Key ${settings.apiKey}`,
      body: { app_id: settings.appId, idempotency_key: collapseId, collapse_id: collapseId },
    });
  });

  it("send, with a wrong key, is refused without the key in the detail", async () => {
    const wrong = { ...settings, apiKey: "os_v2_app_not-the-key-of-it" };
    const result = await send("accept", { settings: wrong });
    expect(result).toMatchObject({ outcome: "refused", detail: expect.stringContaining("403") });
    expect(result.detail).not.toContain(wrong.apiKey);
  });

  it.each([
    ["unsubscribed", "unregistered"],
    ["rate_limited", "refused"],
    ["unavailable", "refused"],
    ["error", "unclear"],
  ] as const)("send, when OneSignal answers %s, is %s", async (mode, outcome) => {
    expect(await send(mode)).toMatchObject({ outcome });
  });
});
