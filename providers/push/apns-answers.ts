import { byStatus, parsedObject, retryAfterMs, shorten } from "./http.ts";
import type { PushResult } from "./port.ts";

/** An answer of APNs to a notification. */
export interface ApnsAnswer {
  status: number;
  body: string;
  apnsId?: string | undefined;
  retryAfter?: string | undefined;
}

/**
 * Reasons after which no push to this token can succeed. DeviceTokenNotForTopic is not among them: with a wrong topic
 * in the settings, every device would lose its token.
 */
const GONE = new Set(["BadDeviceToken", "ExpiredToken", "Unregistered"]);

/** Refusals that concern one device only: too many or too large pushes, or the token of another app. */
const OF_ONE_DEVICE = new Set(["DeviceTokenNotForTopic", "PayloadTooLarge", "TooManyRequests"]);

/**
 * The status decides for all other reasons: after 500 the push may have been sent; 429 and 503 come before; the rest
 * are our mistakes.
 * @param nowMs Unix time, for a `Retry-After` that names a moment
 */
export function apnsResult(answer: ApnsAnswer, nowMs: number): PushResult {
  const { status } = answer;
  if (status === 200) return { outcome: "accepted", detail: shorten(`message ${answer.apnsId ?? "taken"}`) };
  const reason = reasonOf(answer);
  const detail = shorten(`status ${status}${reason && `: ${reason}`}`);
  if (GONE.has(reason) || status === 410) return { outcome: "unregistered", detail };
  if (OF_ONE_DEVICE.has(reason)) return { outcome: byStatus(status), detail, concerns: "token" };
  const waitMs = retryAfterMs(answer.retryAfter, nowMs);
  return { outcome: byStatus(status), detail, ...(waitMs && { retryAfterMs: waitMs }) };
}

/** The reason that APNs gives; empty where there is none. */
export function reasonOf({ body }: ApnsAnswer): string {
  const { reason } = parsedObject(body);
  return typeof reason === "string" ? reason : "";
}
