import { type Clock, systemClock } from "../../lib/clock.ts";
import {
  GuardedRequestError,
  type GuardedResponse,
  type GuardOptions,
  guardedPost,
  urlTrouble,
} from "../../lib/net/guarded-request.ts";
import { accounts, troubleIn } from "./accounts.ts";
import { byStatus, fitted, KEPT_FOR_S, NotSentError, retryAfterMs, withoutAnswer } from "./http.ts";
import type { Push, PushProvider, PushResult } from "./port.ts";
import { encrypted, PLAIN_MAX_BYTES } from "./webpush-encryption.ts";
import { type Subscription, subscriptionOf } from "./webpush-subscription.ts";
import { vapid, vapidKeysOf } from "./webpush-vapid.ts";

/** Nothing of the answer but its head is of use. */
const ANSWER_MAX_BYTES = 1;
/** The push services of Chrome, Firefox, Safari and Edge. */
const BROWSER_SERVICES = [
  "fcm.googleapis.com",
  "push.services.mozilla.com",
  "push.apple.com",
  "notify.windows.com",
];

/**
 * Push to browsers by the push service of each (RFC 8030), without a vendor between.
 * @param guard keeps pushes within the internet: a subscription names the address that is called
 */
export function webPush({
  guard,
  clock = systemClock,
}: {
  guard: GuardOptions;
  clock?: Clock;
}): PushProvider {
  const kept = accounts<ReturnType<typeof vapid>>();

  async function sendTo(to: Subscription, push: Push): Promise<PushResult> {
    const { publicKey = "", privateKey = "", subject = "" } = push.settings;
    const operator = kept.of([publicKey, privateKey, subject], () =>
      vapid(vapidKeysOf(push.settings), clock),
    );
    const response = await guardedPost(
      {
        url: to.endpoint,
        headers: {
          authorization: await operator.authorization(to.origin),
          "content-type": "application/octet-stream",
          "content-encoding": "aes128gcm",
          ttl: String(KEPT_FOR_S),
          urgency: "high",
          // Of what waits for a browser that is off, the newest with the same topic stays: 32 characters at most.
          topic: push.collapseId.replaceAll("-", ""),
        },
        body: encrypted(payloadOf(push), to),
        timeoutMs: push.timeoutMs,
        maxBodyBytes: ANSWER_MAX_BYTES,
      },
      guard,
    );
    return resultOf(response, clock.now());
  }

  return {
    name: "webpush",
    requires: ["publicKey", "privateKey", "subject"],
    lineOf: (token) => subscriptionOf(token)?.origin ?? "",
    shareOf: (token) => `webpush ${serviceOf(subscriptionOf(token)?.origin)}`,
    check: (settings) => troubleIn(() => vapidKeysOf(settings)),
    async send(push) {
      const to = subscriptionOf(push.token);
      if (!to || urlTrouble(to.endpoint, guard)) {
        return { outcome: "unregistered", detail: "not a subscription that a browser makes" };
      }
      try {
        return await sendTo(to, push);
      } catch (error) {
        return withoutAnswer(asPushError(error), push.timeoutMs);
      }
    },
  };
}

/**
 * 404 and 410 are said of subscriptions that have ended (RFC 8030, 7.3); the text of a stranger is not repeated. Every
 * other 4xx is said of one subscription too: it was made for another key, or is sent too much (429, section 8.4).
 */
function resultOf({ status, headers }: GuardedResponse, nowMs: number): PushResult {
  const detail = `status ${status}`;
  if (status === 404 || status === 410) return { outcome: "unregistered", detail };
  if (status >= 400 && status < 500) return { outcome: "refused", detail, concerns: "token" };
  const waitMs = retryAfterMs(headers["retry-after"], nowMs);
  return { outcome: byStatus(status), detail, ...(waitMs && { retryAfterMs: waitMs }) };
}

/** A service of a browser's maker has a part of its own; all others, which anybody may run, share one. */
function serviceOf(origin: string | undefined): string {
  const host = origin === undefined ? "" : new URL(origin).hostname;
  return BROWSER_SERVICES.find((known) => host === known || host.endsWith(`.${known}`)) ?? "others";
}

/** What the app's service worker shows: by its `tag` a repeat takes the place of the first. */
function payloadOf({ title, body, data, collapseId }: Push): Buffer {
  const write = (text: string) => Buffer.from(JSON.stringify({ title, body: text, data, tag: collapseId }));
  return write(fitted(body, (text) => write(text).length, PLAIN_MAX_BYTES));
}

/** A guarded request says by its kind what others say by name and code. */
function asPushError(error: unknown): unknown {
  if (!(error instanceof GuardedRequestError)) return error;
  const { kind, message } = error;
  if (kind === "blocked") return new NotSentError(message);
  return Object.assign(new Error(message), kind === "timeout" ? { name: "TimeoutError" } : { code: message });
}
