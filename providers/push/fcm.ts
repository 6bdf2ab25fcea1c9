import { type Clock, systemClock } from "../../lib/clock.ts";
import { boundedFetch } from "../../lib/net/bounded-fetch.ts";
import { accounts, settingsError } from "./accounts.ts";
import { type ServiceAccount, serviceAccountOf } from "./fcm-account.ts";
import { accessTokenRefused, type FcmAnswer, fcmResult } from "./fcm-answers.ts";
import { accessTokens } from "./fcm-token.ts";
import { fitted, KEPT_FOR_S, withoutAnswer } from "./http.ts";
import type { Push, PushProvider, PushResult } from "./port.ts";

/** FCM accepts 4,096 bytes of notification and data; this leaves space for what FCM adds for Apple. */
const CONTENT_MAX_BYTES = 3_584;

interface Options {
  /** The root of the API, e.g. `https://fcm.googleapis.com`. */
  apiUrl: string;
  /** The token endpoint, e.g. `https://oauth2.googleapis.com/token`. */
  tokenUrl: string;
  clock?: Clock;
}

/** Push by Firebase Cloud Messaging's HTTP v1 API to Android, browsers and, through Apple, iOS. */
export function fcm({ apiUrl, tokenUrl, clock = systemClock }: Options): PushProvider {
  interface Account {
    url: string;
    tokens: ReturnType<typeof accessTokens>;
  }
  const cached = accounts<Account>();

  function open(account: ServiceAccount): Account {
    return {
      url: `${apiUrl}/v1/projects/${encodeURIComponent(account.projectId)}/messages:send`,
      tokens: accessTokens(account, tokenUrl, clock),
    };
  }

  async function sendTo({ url, tokens }: Account, push: Push, leftMs: () => number): Promise<PushResult> {
    const body = JSON.stringify({ message: messageOf(push, clock.now()) });
    const token = await tokens.get(leftMs());
    let answer = await post(url, token, body, leftMs());
    if (accessTokenRefused(answer)) {
      answer = await post(url, await tokens.get(leftMs(), token), body, leftMs());
    }
    return fcmResult(answer, clock.now());
  }

  return {
    name: "fcm",
    requires: ["projectId", "clientEmail", "privateKey"],
    check: (settings) => settingsError(() => serviceAccountOf(settings)),
    async send(push) {
      const startedMs = performance.now();
      // AbortSignal.timeout takes whole milliseconds.
      const leftMs = () => Math.max(1, Math.ceil(push.timeoutMs - (performance.now() - startedMs)));
      try {
        const { settings } = push;
        const key = Object.entries(settings).flat();
        const account = cached.of(key, () => open(serviceAccountOf(settings)));
        return await sendTo(account, push, leftMs);
      } catch (error) {
        return withoutAnswer(error, push.timeoutMs);
      }
    },
  };
}

async function post(url: string, token: string, body: string, timeoutMs: number): Promise<FcmAnswer> {
  const { status, headers, text } = await boundedFetch(url, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json; charset=utf-8" },
    body,
    timeoutMs,
    redirect: "error",
  });
  return { status, body: text, retryAfter: headers.get("retry-after") };
}

/**
 * Each platform has its own field that replaces a duplicate. Android: `collapse_key` for a waiting push and `tag` for a
 * shown one. Apple: `apns-collapse-id` for both. Browsers: `Topic` for a waiting push (32 characters at most, so a UUID
 * without hyphens) and `tag` for a shown one.
 */
function messageOf({ token, title, body, data, collapseId }: Push, nowMs: number) {
  const sizeOf = (text: string) =>
    Buffer.byteLength(JSON.stringify({ notification: { title, body: text }, data }));
  return {
    token,
    notification: { title, body: fitted(body, sizeOf, CONTENT_MAX_BYTES) },
    data,
    android: {
      collapse_key: collapseId,
      priority: "HIGH",
      ttl: `${KEPT_FOR_S}s`,
      notification: { tag: collapseId },
    },
    apns: {
      headers: {
        "apns-collapse-id": collapseId,
        "apns-expiration": String(Math.floor(nowMs / 1_000) + KEPT_FOR_S),
        "apns-priority": "10",
      },
      payload: { aps: { sound: "default" } },
    },
    webpush: {
      headers: { TTL: String(KEPT_FOR_S), Topic: collapseId.replaceAll("-", ""), Urgency: "high" },
      notification: { tag: collapseId },
    },
  };
}
