import { createECDH } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { decodeJwt } from "jose";
import { newId } from "../../lib/ids.ts";
import type { Push, PushProvider } from "../../providers/push/port.ts";
import { webPush } from "../../providers/push/webpush.ts";
import { encrypted } from "../../providers/push/webpush-encryption.ts";
import { handClock, pushTo } from "../support/push.ts";
import { opened, startWebPush, type WebPushServer, webPushSettings } from "../support/webpush-server.ts";

const HOUR_MS = 3_600_000;
const LONG = "🛵 漢字 “quoted” ".repeat(400);
const bytes = (text: string) => Buffer.from(text, "base64url");
const pairOf = (privateKey: string) => {
  const pair = createECDH("prime256v1");
  pair.setPrivateKey(bytes(privateKey));
  return pair;
};

describe("a message for a browser", () => {
  /** RFC 8291, appendix A. */
  const example = {
    browser: pairOf("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"),
    authSecret: bytes("BTBZMqHH6r4Tts7J_aSIgg"),
    sender: pairOf("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
    salt: bytes("DGv6ra1nlYgDCS1FRnbzlw"),
    plain: Buffer.from("When I grow up, I want to be a watermelon"),
    body: [
      "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml",
      "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT",
      "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
    ].join(""),
  };
  const { browser, authSecret, plain } = example;
  const to = { publicKey: browser.getPublicKey(), authSecret };

  it("with the keys of the RFC's example, equals the RFC's body", () => {
    expect(encrypted(plain, to, example).toString("base64url")).toBe(example.body);
  });

  it("is decrypted by its browser only, and differs each time", () => {
    const [first, second] = [encrypted(plain, to), encrypted(plain, to)];
    expect(first.equals(second)).toBe(false);
    expect(opened(first, { key: browser, authSecret })).toEqual(plain);
    expect(() => opened(first, { key: example.sender, authSecret })).toThrow();
    expect(() => opened(first, { key: browser, authSecret: example.salt })).toThrow();
  });
});

describe("push provider webpush, at a browser's push service", () => {
  let server: WebPushServer;
  let provider: PushProvider;
  let clock: ReturnType<typeof handClock>;
  beforeAll(async () => {
    server = await startWebPush();
  });
  beforeEach(() => {
    clock = handClock();
    provider = webPush({ guard: { allowLoopback: true }, clock });
    server.requests.length = 0;
  });
  afterAll(() => server.stop());

  const send = (change: Partial<Push> = {}) => provider.send(pushTo(server.token(), webPushSettings, change));
  const tokenOf = (index: number) =>
    /^vapid t=([\w.-]+),/.exec(server.requests[index]?.headers.authorization ?? "")?.[1] as string;

  it("send contains the time to live and the topic that a repeat replaces", async () => {
    const collapseId = newId();
    expect(await send({ collapseId })).toEqual({ outcome: "accepted", detail: "status 201" });
    expect(server.requests[0]?.headers).toMatchObject({
      ttl: "86400",
      urgency: "high",
      topic: collapseId.replaceAll("-", ""),
    });
    expect(server.shown().at(-1)).toMatchObject({ tag: collapseId, data: { event: "order.assigned" } });
  });

  it("send cuts too long a text between two characters, to the limit of all push services", async () => {
    expect(await send({ body: LONG })).toMatchObject({ outcome: "accepted" });
    expect(server.requests[0]?.bytes).toBeGreaterThan(4_060);
    expect(server.requests[0]?.bytes).toBeLessThanOrEqual(4_096);
    const { body = "" } = server.shown().at(-1) ?? {};
    expect(body.endsWith("…") && LONG.startsWith(body.slice(0, -1).trimEnd())).toBe(true);
  });

  it("a signature is used for eleven hours, and each push service has its own", async () => {
    const other = await startWebPush();
    await send();
    clock.nowMs += 10.9 * HOUR_MS;
    await send();
    clock.nowMs += 0.2 * HOUR_MS;
    await send();
    expect(tokenOf(1)).toBe(tokenOf(0));
    expect(tokenOf(2)).not.toBe(tokenOf(0));
    await provider.send(pushTo(other.token(), webPushSettings));
    const [there] = other.requests;
    const jwt = /t=([\w.-]+)/.exec(there?.headers.authorization ?? "")?.[1] as string;
    expect([decodeJwt(tokenOf(0)).aud, decodeJwt(jwt).aud]).toEqual([server.origin, other.origin]);
    await other.stop();
  });

  it.each([
    ["gone", { outcome: "unregistered", detail: "status 410" }],
    ["not_found", { outcome: "unregistered", detail: "status 404" }],
    ["refused", { outcome: "refused", detail: "status 403", concerns: "token" }],
    ["too_many", { outcome: "refused", detail: "status 429", concerns: "token" }],
    ["unavailable", { outcome: "refused", detail: "status 503", retryAfterMs: 30_000 }],
    ["error", { outcome: "unclear", detail: "status 500" }],
  ] as const)("send, when the push service answers that it is %s, answers so", async (mode, result) => {
    expect(await provider.send(pushTo(server.token(mode), webPushSettings))).toEqual(result);
  });

  const subscription = () => JSON.parse(server.token()) as { endpoint: string; keys: Record<string, string> };
  it.each([
    ["no JSON", () => "phone-1"],
    ["a list", () => "[]"],
    ["an address that is none", () => ({ ...subscription(), endpoint: "there" })],
    ["an address with a password", () => ({ ...subscription(), endpoint: "https://me:pw@push.example/1" })],
    ["an address of this network", () => ({ ...subscription(), endpoint: "https://10.0.0.1/push" })],
    [
      "an address that is too long",
      () => ({ ...subscription(), endpoint: `https://push.example/${"x".repeat(2_100)}` }),
    ],
    ["no keys", () => ({ endpoint: subscription().endpoint })],
    [
      "a key that is too short",
      () => ({ ...subscription(), keys: { ...subscription().keys, p256dh: "BAAA" } }),
    ],
    [
      "a key that is no point of the curve",
      () => ({
        ...subscription(),
        keys: { ...subscription().keys, p256dh: Buffer.alloc(65, 4).toString("base64url") },
      }),
    ],
    [
      "a secret that is too long",
      () => ({ ...subscription(), keys: { ...subscription().keys, auth: "A".repeat(24) } }),
    ],
  ])("send, to a token with %s, is unregistered without a request", async (_, make) => {
    const made = make();
    const token = typeof made === "string" ? made : JSON.stringify(made);
    expect(await provider.send(pushTo(token, webPushSettings))).toMatchObject({ outcome: "unregistered" });
    expect(server.requests).toEqual([]);
  });

  it("send, to a name that leads into this network, is refused without a request", async () => {
    const guard = { allowLoopback: false, resolve: async () => ["10.0.0.1"] };
    const token = JSON.stringify({ ...subscription(), endpoint: "https://push.example/1" });
    const result = await webPush({ guard }).send(pushTo(token, webPushSettings));
    expect(result).toEqual({
      outcome: "refused",
      detail: "push.example is not at an address of the internet",
    });
  });

  it("send, outside of the sandbox, does not call this machine", async () => {
    const strict = webPush({ guard: { allowLoopback: false } });
    expect(await strict.send(pushTo(server.token(), webPushSettings))).toMatchObject({
      outcome: "unregistered",
    });
    expect(server.requests).toEqual([]);
  });

  it("fails together only with pushes to the same push service", () => {
    const [one, two] = [server.token(), server.token()];
    expect(provider.serverOf?.(one)).toBe(server.origin);
    expect(provider.serverOf?.(two)).toBe(server.origin);
    expect(provider.serverOf?.("phone-1")).toBe("");
  });

  const strange = pairOf("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94");
  it.each([
    [{ publicKey: "A".repeat(86) }, "publicKey"],
    [{ privateKey: "-----BEGIN" }, "privateKey"],
    [{ privateKey: Buffer.alloc(32).toString("base64url") }, "privateKey"],
    [{ privateKey: strange.getPrivateKey("base64url") }, "not of one pair"],
    [{ subject: "ops@waybill.example" }, "subject"],
    [{ subject: "http://waybill.example" }, "subject"],
  ])("check of invalid settings %j names the invalid one without its value", (wrong, told) => {
    const problem = provider.check({ ...webPushSettings, ...wrong });
    expect(problem).toContain(told);
    for (const value of Object.values(wrong)) expect(problem).not.toContain(value);
  });

  it("check accepts a private key without its leading zero byte", () => {
    const pair = pairOf(Buffer.alloc(31, 7).toString("base64url"));
    const settings = {
      publicKey: pair.getPublicKey("base64url"),
      privateKey: pair.getPrivateKey("base64url"),
    };
    expect(bytes(settings.privateKey)).toHaveLength(31);
    expect(provider.check({ ...webPushSettings, ...settings })).toBeUndefined();
  });

  it("check accepts an https address for the operator", () => {
    expect(
      provider.check({ ...webPushSettings, subject: "https://waybill.example/contact" }),
    ).toBeUndefined();
  });
});
