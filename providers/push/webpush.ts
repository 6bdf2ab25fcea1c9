import { type Clock, systemClock } from "../../lib/clock.ts";
import {
  GuardedRequestError,
  type GuardedResponse,
  type GuardOptions,
  guardedPost,
  urlTrouble,
} from "../../lib/net/guarded-request.ts";
import { accounts, settingsError } from "./accounts.ts";
import { byStatus, fitted, KEPT_FOR_S, NotSentError, retryAfterMs, withoutAnswer } from "./http.ts";
import type { Push, PushProvider, PushResult } from "./port.ts";
import { encrypted, PLAIN_MAX_BYTES } from "./webpush-encryption.ts";
import { type Subscription, subscriptionOf } from "./webpush-subscription.ts";
import { vapid, vapidKeysOf } from "./webpush-vapid.ts";

/** Only the head of the answer is used. */
const ANSWER_MAX_BYTES = 1;
/** The push services of Chrome, Firefox, Safari and Edge. */
const BROWSER_SERVICES = [
  "fcm.googleapis.com",
  "push.services.mozilla.com",
  "push.apple.com",
  "notify.windows.com",
];

/**
 * Push to browsers by their own push services (RFC 8030), without a further vendor.
 * @param guard forbids internal addresses: the subscription contains the address that is called
 */
export function webPush({
  guard,
  clock = systemClock,
}: {
  guard: GuardOptions;
  clock?: Clock;
}): PushProvider {
  const cached = accounts<ReturnType<typeof vapid>>();

  async function sendTo(to: Subscription, push: Push): Promise<PushResult> {
    const { publicKey = "", privateKey = "", subject = "" } = push.settings;
    const operator = cached.of([publicKey, privateKey, subject], () =>
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
          // A waiting push is replaced by a newer one with the same topic, of 32 characters at most.
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
    serverOf: (token) => subscriptionOf(token)?.origin ?? "",
    concurrencyGroupOf: (token) => `webpush ${serviceOf(subscriptionOf(token)?.origin)}`,
    check: (settings) => settingsError(() => vapidKeysOf(settings)),
    async send(push) {
      const to = subscriptionOf(push.token);
      if (!to || urlTrouble(to.endpoint, guard)) {
        return { outcome: "unregistered", detail: "not a valid subscription of a browser" };
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
 * 404 and 410 mean an expired subscription (RFC 8030, section 7.3). Every other 4xx concerns one subscription too:
 * another key, or too many pushes (429, section 8.4). The server's text is not repeated, because any server may send
 * it.
 */
function resultOf({ status, headers }: GuardedResponse, nowMs: number): PushResult {
  const detail = `status ${status}`;
  if (status === 404 || status === 410) return { outcome: "unregistered", detail };
  if (status >= 400 && status < 500) return { outcome: "refused", detail, concerns: "token" };
  const waitMs = retryAfterMs(headers["retry-after"], nowMs);
  return { outcome: byStatus(status), detail, ...(waitMs && { retryAfterMs: waitMs }) };
}

/** One group for each browser vendor's service; all other services, which any person can run, form one group. */
function serviceOf(origin: string | undefined): string {
  const host = origin === undefined ? "" : new URL(origin).hostname;
  return BROWSER_SERVICES.find((known) => host === known || host.endsWith(`.${known}`)) ?? "others";
}

/** The content for the app's service worker. A notification with the same `tag` replaces the shown one. */
function payloadOf({ title, body, data, collapseId }: Push): Buffer {
  const write = (text: string) => Buffer.from(JSON.stringify({ title, body: text, data, tag: collapseId }));
  return write(fitted(body, (text) => write(text).length, PLAIN_MAX_BYTES));
}

/** Maps the kind of a GuardedRequestError to the name and code that `withoutAnswer` expects. */
function asPushError(error: unknown): unknown {
  if (!(error instanceof GuardedRequestError)) return error;
  const { kind, message } = error;
  if (kind === "blocked") return new NotSentError(message);
  return Object.assign(new Error(message), kind === "timeout" ? { name: "TimeoutError" } : { code: message });
}
