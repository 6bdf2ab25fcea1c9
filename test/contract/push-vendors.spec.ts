import { generateKeyPairSync } from "node:crypto";
import { createServer, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { apns } from "../../providers/push/apns.ts";
import { fcm } from "../../providers/push/fcm.ts";
import type { Push, PushProvider } from "../../providers/push/port.ts";
import { type ApnsServer, apnsSettings, startApns } from "../support/apns-server.ts";
import { eventually } from "../support/eventually.ts";
import { type FcmServer, fcmKeyFile, fcmSettings, startFcm } from "../support/fcm-server.ts";
import { handClock, pushTo } from "../support/push.ts";

const MINUTE_MS = 60_000;
const LOST_MS = 400;
/** As in the product. */
const HANGING_MS = 2_000;
const DAY_S = 86_400;
const LONG = "🛵 漢字 “quoted” ".repeat(200);
const otherKey = (modulusLength: number) =>
  generateKeyPairSync("rsa", { modulusLength })
    .privateKey.export({ type: "pkcs8", format: "pem" })
    .toString();

describe("push provider fcm, at FCM", () => {
  let server: FcmServer;
  let provider: PushProvider;
  let clock: ReturnType<typeof handClock>;
  beforeAll(async () => {
    server = await startFcm();
  });
  beforeEach(() => {
    clock = handClock();
    provider = fcm({ ...server.urls, clock });
    server.requests.length = 0;
    Object.assign(server.state, { tokensGiven: 0, tokenTrouble: "none", redirectTo: "" });
  });
  afterAll(() => server.stop());

  const send = (change: Partial<Push> = {}) => provider.send(pushTo(server.token(), fcmSettings, change));

  it("send contains the collapse id for each platform and the time to live", async () => {
    const collapseId = newId();
    expect(await send({ collapseId })).toMatchObject({ outcome: "accepted" });
    const expiration = String(Math.floor(clock.nowMs / 1_000) + DAY_S);
    expect(server.requests[0]?.message).toMatchObject({
      data: { event: "order.assigned" },
      android: { collapse_key: collapseId, ttl: "86400s", notification: { tag: collapseId } },
      apns: { headers: { "apns-collapse-id": collapseId, "apns-expiration": expiration } },
      webpush: {
        headers: { Topic: collapseId.replaceAll("-", ""), TTL: "86400" },
        notification: { tag: collapseId },
      },
    });
  });

  it("concurrent and later pushes share an access token until shortly before its end", async () => {
    await Promise.all(Array.from({ length: 20 }, () => send()));
    clock.nowMs += 57 * MINUTE_MS;
    await send();
    expect(server.state.tokensGiven).toBe(1);
    clock.nowMs += MINUTE_MS;
    expect(await send()).toMatchObject({ outcome: "accepted" });
    expect(server.state.tokensGiven).toBe(2);
  });

  it("a revoked access token is replaced once for all pushes", async () => {
    await send();
    server.revokeTokens();
    const outcomes = await Promise.all(Array.from({ length: 5 }, () => send()));
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 5 }, () => "accepted"));
    expect(server.state.tokensGiven).toBe(2);
  });

  it("with a second invalid access token, the push is refused after two requests", async () => {
    server.state.tokenTrouble = "worthless";
    expect(await send()).toMatchObject({ outcome: "refused", detail: expect.stringContaining("401") });
    expect(server.requests).toHaveLength(2);
  });

  it.each([
    ["hang", "no access token within", 200],
    ["invalid_grant", "no access token: status 400 invalid_grant: Invalid JWT Signature.", 10_000],
  ] as const)(
    "without an access token (%s), the push is refused and nothing is sent",
    async (tokenTrouble, detail, timeoutMs) => {
      server.state.tokenTrouble = tokenTrouble;
      const result = await send({ timeoutMs });
      expect(result).toMatchObject({ outcome: "refused", detail: expect.stringContaining(detail) });
      expect(server.requests).toHaveLength(0);
    },
  );

  it("with a wrong key, is refused without the key in the detail", async () => {
    const settings = { ...fcmSettings, privateKey: otherKey(2_048) };
    const result = await send({ settings });
    expect(result).toMatchObject({ outcome: "refused", detail: expect.stringContaining("invalid_grant") });
    expect(result.detail).not.toContain("PRIVATE");
  });

  it("the downloaded key file suffices as settings, and no address in it is called", async () => {
    const settings = { serviceAccount: JSON.stringify(fcmKeyFile) };
    expect(provider.check(settings)).toBeUndefined();
    expect(await send({ settings })).toMatchObject({ outcome: "accepted" });
  });

  it("a redirect is not followed", async () => {
    const elsewhere = await startFcm();
    server.state.redirectTo = elsewhere.urls.apiUrl;
    expect((await send()).outcome).not.toBe("accepted");
    expect(elsewhere.requests).toHaveLength(0);
    await elsewhere.stop();
  });

  it("a key with line ends escaped as in JSON is the same key", async () => {
    const settings = { ...fcmSettings, privateKey: fcmSettings.privateKey.replaceAll("\n", "\\n") };
    expect(await send({ settings })).toMatchObject({ outcome: "accepted" });
  });

  it.each([
    ["serviceAccount", { serviceAccount: "{" }],
    ["serviceAccount", { serviceAccount: JSON.stringify({ ...fcmKeyFile, type: "authorized_user" }) }],
    ["serviceAccount", { serviceAccount: JSON.stringify({ ...fcmKeyFile, project_id: 7 }) }],
    ["privateKey", { serviceAccount: JSON.stringify({ ...fcmKeyFile, private_key: "x" }) }],
    ["projectId", { ...fcmSettings, projectId: "../../v1/other" }],
    ["clientEmail", { ...fcmSettings, clientEmail: "push" }],
    ["privateKey", { ...fcmSettings, privateKey: apnsSettings.privateKey }],
    ["privateKey", { ...fcmSettings, privateKey: otherKey(1_024) }],
  ])("invalid settings are refused with the name of the invalid one, %s (%#)", async (name, settings) => {
    expect(provider.check(settings)).toMatch(new RegExp(`^${name} must be`));
    expect(await send({ settings })).toMatchObject({ outcome: "refused" });
    expect(server.requests).toHaveLength(0);
  });

  it("a text above FCM's limit is cut", async () => {
    expect(await send({ body: LONG })).toMatchObject({ outcome: "accepted" });
    const { body = "" } = server.requests[0]?.message.notification ?? {};
    expect(LONG.startsWith(body.slice(0, -1).trimEnd())).toBe(true);
    expect(Buffer.byteLength(body)).toBeGreaterThan(3_000);
  });
});

describe("push provider apns, at APNs", () => {
  let server: ApnsServer;
  let provider: PushProvider;
  let clock: ReturnType<typeof handClock>;
  beforeEach(async () => {
    server = await startApns();
    clock = handClock(server.state.nowMs);
    provider = apns({ apiUrl: server.url, clock });
  });
  afterEach(async () => {
    await provider.close?.();
    await server.stop();
  });

  const send = (change: Partial<Push> = {}) => provider.send(pushTo(server.token(), apnsSettings, change));

  it("send contains topic, collapse id, push type and expiration as Apple requires", async () => {
    const collapseId = newId();
    expect(await send({ collapseId, data: { orderId: "7", aps: "not ours" } })).toMatchObject({
      outcome: "accepted",
    });
    expect(server.requests[0]).toMatchObject({
      headers: {
        "apns-topic": apnsSettings.topic,
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": String(Math.floor(clock.nowMs / 1_000) + DAY_S),
        "apns-collapse-id": collapseId,
      },
      payload: { orderId: "7", aps: { alert: { title: "On its way", body: "B" }, sound: "default" } },
    });
  });

  it("concurrent and later pushes share one session and one token", async () => {
    const results = await Promise.all(Array.from({ length: 50 }, () => send()));
    results.push(await send());
    expect(new Set(results.map(({ outcome }) => outcome))).toEqual(new Set(["accepted"]));
    expect([server.state.sessionsOpened, server.tokens.length]).toEqual([1, 1]);
  });

  it("a token is replaced shortly before it is an hour old", async () => {
    const startMs = clock.nowMs;
    const given: number[] = [];
    for (const minutes of [0, 49, 51, 99, 102]) {
      server.state.nowMs = startMs + minutes * MINUTE_MS;
      clock.nowMs = server.state.nowMs;
      expect(await send()).toMatchObject({ outcome: "accepted" });
      given.push(server.tokens.length);
    }
    expect(given).toEqual([1, 1, 2, 2, 3]);
  });

  it("a token that Apple refuses as expired is replaced once, and the push is sent again", async () => {
    await send();
    clock.nowMs += 25 * MINUTE_MS;
    server.state.nowMs += 61 * MINUTE_MS;
    expect(await send()).toMatchObject({ outcome: "accepted" });
    expect([server.requests.length, server.tokens.length]).toEqual([3, 2]);
  });

  it("a new token that Apple refuses as expired is not replaced, and the push is refused", async () => {
    await send();
    server.state.nowMs += 61 * MINUTE_MS;
    const detail = "status 403: ExpiredProviderToken";
    expect(await send()).toEqual({ outcome: "refused", detail });
    expect(await send()).toEqual({ outcome: "refused", detail });
    expect([server.requests.length, server.tokens.length]).toEqual([3, 1]);
  });

  it("after a GOAWAY of APNs, the next push opens another session and the old one is closed", async () => {
    await send();
    server.goAway();
    await eventually(() => expect(server.sessions()).toBe(0));
    expect(await send()).toMatchObject({ outcome: "accepted" });
    expect(await send()).toMatchObject({ outcome: "accepted" });
    expect(server.state.sessionsOpened).toBe(2);
    await eventually(() => expect(server.sessions()).toBe(1));
  });

  it.each(["shutdown_once", "turned_away_once"] as const)(
    "a push that APNs did not process because of its GOAWAY (%s) is sent again on another session",
    async (mode) => {
      await send();
      const token = server.token(mode);
      expect(await send({ token })).toMatchObject({ outcome: "accepted" });
      expect(server.state.sessionsOpened).toBe(2);
      expect(server.shown().filter((one) => one.token === token)).toHaveLength(1);
    },
  );

  it("a connection without any response, even to a ping, is closed, and the next push opens another", async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => {
      sockets.push(socket.on("error", () => undefined));
    });
    await new Promise<void>((resolve) => {
      silent.listen(0, "127.0.0.1", resolve);
    });
    const { port } = silent.address() as { port: number };
    const lost = apns({ apiUrl: `http://127.0.0.1:${port}` });
    const outcomes: string[] = [];
    const told = eventually(async () => {
      outcomes.push((await lost.send(pushTo(server.token(), apnsSettings, { timeoutMs: LOST_MS }))).outcome);
      expect(sockets.length).toBeGreaterThan(1);
    });
    await told.finally(async () => {
      await lost.close?.();
      silent.close();
      for (const socket of sockets) socket.destroy();
    });
    // Where a busy machine has not connected within that time, nothing was sent: refused.
    expect(outcomes).toContain("unclear");
    expect(outcomes).not.toContain("accepted");
  });

  it("without a server, the push is refused with the reason", async () => {
    await server.stop();
    expect(await send()).toEqual({ outcome: "refused", detail: "not reached (ECONNREFUSED)" });
  });

  it("a push without a response does not close a live connection for others", async () => {
    // The line is there, and has half of the time for the answer to its ping.
    await send();
    const hanging = { token: server.token("hang"), timeoutMs: HANGING_MS };
    expect(await send(hanging)).toMatchObject({ outcome: "unclear" });
    expect(await send()).toMatchObject({ outcome: "accepted" });
    expect(server.state.sessionsOpened).toBe(1);
  });

  it.each(["../../3/device/x", "a".repeat(4_096), "é", "0123"])(
    "a malformed token (%#) is unregistered without a request",
    async (token) => {
      expect(await send({ token })).toMatchObject({ outcome: "unregistered" });
      expect(server.state.sessionsOpened).toBe(0);
    },
  );

  it.each([
    ["teamId", { ...apnsSettings, teamId: "team" }],
    ["keyId", { ...apnsSettings, keyId: "ABC123DEFG/" }],
    ["privateKey", { ...apnsSettings, privateKey: fcmSettings.privateKey }],
    ["topic", { ...apnsSettings, topic: "a\r\nb: c" }],
  ])("invalid settings are refused with the name of the invalid one, %s", async (name, settings) => {
    expect(provider.check(settings)).toMatch(new RegExp(`^${name} must be`));
    expect(await send({ settings })).toMatchObject({ outcome: "refused" });
    expect(server.state.sessionsOpened).toBe(0);
  });

  it("a text above APNs' limit is cut", async () => {
    expect(await send({ body: LONG })).toMatchObject({ outcome: "accepted" });
    const { bytes = 0, payload } = server.requests[0] ?? {};
    expect(bytes).toBeGreaterThan(4_080);
    expect(payload?.aps?.alert?.body?.endsWith("…")).toBe(true);
  });

  it("close ends the session; a later push is refused and opens none", async () => {
    await send();
    await provider.close?.();
    await eventually(() => expect(server.sessions()).toBe(0));
    expect(await send()).toMatchObject({ outcome: "refused" });
    expect(await send({ settings: { ...apnsSettings, keyId: "ZZZ123DEFG" } })).toMatchObject({
      outcome: "refused",
    });
    expect(server.state.sessionsOpened).toBe(1);
  });
});
