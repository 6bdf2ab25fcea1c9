import { describe, expect, it } from "@jest/globals";
import { apnsResult } from "../../providers/push/apns-answers.ts";
import { accessTokenRefused, fcmResult } from "../../providers/push/fcm-answers.ts";
import { fitted, retryAfterMs } from "../../providers/push/http.ts";

const NOW_MS = Date.parse("2026-11-22T10:00:00Z");
const FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
const BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest";
const QUOTA = "type.googleapis.com/google.rpc.QuotaFailure";

function fcmError(code: number, status: string, message: string, ...details: object[]) {
  return { status: code, body: JSON.stringify({ error: { code, message, status, details } }) };
}
const named = (errorCode: string) => ({ "@type": FCM_ERROR, errorCode });
const violation = (field: string) => ({
  "@type": BAD_REQUEST,
  fieldViolations: [{ field, description: "x" }],
});

describe("an answer of FCM", () => {
  it.each([
    [404, "NOT_FOUND", "UNREGISTERED", "unregistered"],
    [403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "refused"],
    [401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "refused"],
    [429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "refused"],
    [503, "UNAVAILABLE", "UNAVAILABLE", "refused"],
    [500, "INTERNAL", "INTERNAL", "unclear"],
    [400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "refused"],
    [500, "UNKNOWN", "UNSPECIFIED_ERROR", "unclear"],
    [404, "NOT_FOUND", "UNSPECIFIED_ERROR", "refused"],
  ])("of status %d %s with the code %s is %#: %s", (code, status, errorCode, outcome) => {
    const result = fcmResult(fcmError(code, status, "Something.", named(errorCode)), NOW_MS);
    expect(result).toMatchObject({ outcome, detail: expect.stringContaining(errorCode) });
  });

  it.each([
    [
      "says so",
      fcmError(
        400,
        "INVALID_ARGUMENT",
        "The registration token is not a valid FCM registration token",
        named("INVALID_ARGUMENT"),
      ),
    ],
    [
      "is the field",
      fcmError(
        400,
        "INVALID_ARGUMENT",
        "Request contains an invalid argument.",
        named("INVALID_ARGUMENT"),
        violation("message.token"),
      ),
    ],
  ])("INVALID_ARGUMENT, where the token %s, is unregistered", (_how, answer) => {
    expect(fcmResult(answer, NOW_MS)).toMatchObject({ outcome: "unregistered" });
  });

  it("INVALID_ARGUMENT, where another field is wrong, is refused and keeps the token", () => {
    const answer = fcmError(400, "INVALID_ARGUMENT", "Invalid value", violation("message.data[0].value"));
    expect(fcmResult(answer, NOW_MS)).toMatchObject({ outcome: "refused" });
  });

  it("a status 404 that is not FCM's does not concern the token", () => {
    expect(fcmResult({ status: 404, body: "<html>Not Found" }, NOW_MS)).toMatchObject({ outcome: "refused" });
  });

  it.each([
    ["QUOTA_EXCEEDED", 429],
    ["UNAVAILABLE", 503],
    ["INTERNAL", 500],
  ])("%s with Retry-After contains the time to wait", (errorCode, code) => {
    const answer = { ...fcmError(code, "X", "Y", named(errorCode)), retryAfter: "30" };
    expect(fcmResult(answer, NOW_MS)).toMatchObject({ retryAfterMs: 30_000 });
  });

  it("QUOTA_EXCEEDED of one device does not delay others", () => {
    const failure = {
      "@type": QUOTA,
      violations: [{ subject: "device:1", description: "Device message rate exceeded" }],
    };
    const answer = { ...fcmError(429, "X", "Y", named("QUOTA_EXCEEDED"), failure), retryAfter: "60" };
    expect(fcmResult(answer, NOW_MS).retryAfterMs).toBeUndefined();
  });

  it("of success names the message, and without a name is unclear", () => {
    const name = "projects/shop/messages/0:1500415314455276%31bd1c9631bd1c96";
    expect(fcmResult({ status: 200, body: JSON.stringify({ name }) }, NOW_MS)).toEqual({
      outcome: "accepted",
      detail: `message ${name}`,
    });
    for (const body of ["", "[]", "null", "<html>", "{}"]) {
      expect(fcmResult({ status: 200, body }, NOW_MS)).toMatchObject({ outcome: "unclear" });
    }
  });

  it("of 401 concerns our access token, unless it concerns another vendor's key", () => {
    const ours = fcmError(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
    const theirs = fcmError(401, "UNAUTHENTICATED", "Auth error from APNS", named("THIRD_PARTY_AUTH_ERROR"));
    expect([ours, theirs].map(accessTokenRefused)).toEqual([true, false]);
  });
});

describe("an answer of APNs", () => {
  const answer = (status: number, reason?: string) => ({
    status,
    body: reason ? JSON.stringify({ reason }) : "",
  });

  it.each([
    [400, "BadDeviceToken", "unregistered"],
    [400, "DeviceTokenNotForTopic", "refused"],
    [410, "Unregistered", "unregistered"],
    [410, "ExpiredToken", "unregistered"],
    [400, "BadCollapseId", "refused"],
    [400, "TopicDisallowed", "refused"],
    [403, "InvalidProviderToken", "refused"],
    [403, "ExpiredProviderToken", "refused"],
    [404, "BadPath", "refused"],
    [405, "MethodNotAllowed", "refused"],
    [413, "PayloadTooLarge", "refused"],
    [429, "TooManyProviderTokenUpdates", "refused"],
    [429, "TooManyRequests", "refused"],
    [500, "InternalServerError", "unclear"],
    [503, "ServiceUnavailable", "refused"],
    [503, "Shutdown", "refused"],
    [400, "SomethingNew", "refused"],
  ])("of status %d, %s, is %s", (status, reason, outcome) => {
    expect(apnsResult(answer(status, reason), NOW_MS)).toMatchObject({
      outcome,
      detail: `status ${status}: ${reason}`,
    });
  });

  it("of success is accepted, with any content", () => {
    const result = apnsResult({ ...answer(200), apnsId: "EC1BF194-B3B2-424A-89A9-5A918A6E6B5D" }, NOW_MS);
    expect(result).toEqual({ outcome: "accepted", detail: "message EC1BF194-B3B2-424A-89A9-5A918A6E6B5D" });
  });

  it("of status 410 without a reason is unregistered, any other by its status", () => {
    expect([410, 400, 500, 503].map((status) => apnsResult(answer(status), NOW_MS).outcome)).toEqual([
      "unregistered",
      "refused",
      "unclear",
      "refused",
    ]);
  });

  it("of an outage of the service contains the time to wait; of too many pushes to a phone, does not", () => {
    const [away, tooMuch] = [answer(503, "ServiceUnavailable"), answer(429, "TooManyRequests")].map((one) =>
      apnsResult({ ...one, retryAfter: "12" }, NOW_MS),
    );
    expect(away?.retryAfterMs).toBe(12_000);
    expect(tooMuch?.retryAfterMs).toBeUndefined();
  });
});

describe("Retry-After", () => {
  it.each([
    ["120", 120_000],
    ["Sun, 22 Nov 2026 10:00:05 GMT", 5_000],
    ["Sun, 22 Nov 2026 09:00:00 GMT", undefined],
    ["0", undefined],
    ["-5", undefined],
    ["soon", undefined],
    [undefined, undefined],
  ])("%s, at ten o'clock, is %s ms", (text, expected) => {
    expect(retryAfterMs(text, NOW_MS)).toBe(expected);
  });
});

describe("fitted", () => {
  const bytes = (text: string) => Buffer.byteLength(JSON.stringify(text));

  it("leaves a text that fits unchanged", () => {
    expect(fitted("Dora has “it”.", bytes, 100)).toBe("Dora has “it”.");
  });

  it.each(["a", "é", "漢", "🛵", '"', "\n"])("cuts a text of 2000 times %j to the limit", (letter) => {
    const text = fitted(`B${letter.repeat(2_000)}`, bytes, 500);
    expect(bytes(text)).toBeLessThanOrEqual(500);
    expect(text.endsWith("…")).toBe(true);
    expect(text.isWellFormed()).toBe(true);
    if (letter.trim()) expect(bytes(text)).toBeGreaterThan(490);
  });
});
