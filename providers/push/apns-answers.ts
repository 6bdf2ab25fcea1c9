import { byStatus, parsedObject, retryAfterMs, shorten } from "./http.ts";
import type { PushResult } from "./port.ts";

/** What APNs answered to a notification. */
export interface ApnsAnswer {
  status: number;
  body: string;
  apnsId?: string | undefined;
  retryAfter?: string | undefined;
}

/**
 * Reasons after which no push to this token will ever come through. DeviceTokenNotForTopic is none of them: a wrong
 * topic in the settings would cost every device its token.
 */
const GONE = new Set(["BadDeviceToken", "ExpiredToken", "Unregistered"]);

/** Refusals of one device only: too much was sent to it, or another app registered its token. */
const OF_ONE_DEVICE = new Set(["DeviceTokenNotForTopic", "PayloadTooLarge", "TooManyRequests"]);

/**
 * All other reasons are told by their status: 500 may come after the work was done, 429 and 503 are said before it,
 * and the rest are mistakes of ours.
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

/** The reason in APNs's word; empty where there is none. */
export function reasonOf({ body }: ApnsAnswer): string {
  const { reason } = parsedObject(body);
  return typeof reason === "string" ? reason : "";
}
