import { type Clock, systemClock } from "../../lib/clock.ts";
import { accounts, settingsError } from "./accounts.ts";
import { type ApnsAnswer, apnsResult, reasonOf } from "./apns-answers.ts";
import { type ProviderKey, providerToken } from "./apns-token.ts";
import { fitted, KEPT_FOR_S, NotSentError, withoutAnswer } from "./http.ts";
import {
  type Http2Answer,
  type Http2Client,
  type Http2Request,
  http2Client,
  NotProcessedError,
} from "./http2-client.ts";
import type { Push, PushProvider, PushResult } from "./port.ts";
import { privateKeyOf } from "./private-key.ts";

const PAYLOAD_MAX_BYTES = 4_096;
/** Ten characters each, of Apple's account and of the key. */
const APPLE_ID = /^[A-Z0-9]{10}$/;
const TOPIC = /^[A-Za-z0-9.-]{1,155}$/;
/** Hexadecimal, since it becomes a part of the path. Apple states no length; today it is 64 characters. */
const DEVICE_TOKEN = /^[0-9A-Fa-f]{32,200}$/;

interface Account {
  token: ReturnType<typeof providerToken>;
  client: Http2Client;
}

/**
 * Push by Apple's Push Notification service, with a signing key (`.p8`) of the developer account.
 * @param apiUrl its root, e.g. `https://api.push.apple.com`; HTTP/2 only
 */
export function apns({ apiUrl, clock = systemClock }: { apiUrl: string; clock?: Clock }): PushProvider {
  const cached = accounts<Account>(({ client }) => client.close());

  function accountOf(settings: Push["settings"]): Account {
    const { teamId = "", keyId = "", privateKey = "" } = settings;
    return cached.of([teamId, keyId, privateKey], () => ({
      token: providerToken(providerKeyOf(settings), clock),
      client: http2Client(apiUrl),
    }));
  }

  return {
    name: "apns",
    requires: ["teamId", "keyId", "privateKey", "topic"],
    check: (settings) => settingsError(() => providerKeyOf(settings)),
    async send(push) {
      if (!DEVICE_TOKEN.test(push.token)) {
        return { outcome: "unregistered", detail: "not a device token of APNs" };
      }
      try {
        return await sendTo(accountOf(push.settings), push, clock);
      } catch (error) {
        return withoutAnswer(error, push.timeoutMs);
      }
    },
    close: cached.close,
  };
}

/** @throws NotSentError for wrong settings; its message is for the admin and does not contain their values */
function providerKeyOf({
  teamId = "",
  keyId = "",
  privateKey = "",
  topic = "",
}: Push["settings"]): ProviderKey {
  if (!APPLE_ID.test(teamId)) throw new NotSentError("teamId must be the ten characters of the team's id");
  if (!APPLE_ID.test(keyId)) throw new NotSentError("keyId must be the ten characters of the key's id");
  const key = privateKeyOf(privateKey, "P-256");
  if (!key) throw new NotSentError("privateKey must be the key file's text (.p8)");
  if (!TOPIC.test(topic)) throw new NotSentError("topic must be the app's bundle id");
  return { teamId, keyId, key };
}

/** Repeats once after an expired token or a server shutdown, where a repeat is safe and likely to succeed. */
async function sendTo({ token, client }: Account, push: Push, clock: Clock): Promise<PushResult> {
  const endsAtMs = performance.now() + push.timeoutMs;
  const jwt = await token.get();
  const send = (authorization: string) => {
    const timeoutMs = Math.max(1, Math.ceil(endsAtMs - performance.now()));
    return request(client, requestOf(push, authorization, timeoutMs, clock.now()));
  };
  const again = async (first: LeavableAnswer): Promise<ApnsAnswer> => {
    const reason = reasonOf(first);
    if (reason === "ExpiredProviderToken") {
      const next = await token.after(jwt);
      return next ? await send(next) : first;
    }
    if (reason !== "Shutdown") return first;
    first.leave();
    return await send(jwt);
  };
  return apnsResult(await again(await send(jwt)), clock.now());
}

type LeavableAnswer = ApnsAnswer & Pick<Http2Answer, "leave">;

async function request(client: Http2Client, options: Http2Request): Promise<LeavableAnswer> {
  const startedMs = performance.now();
  const { status, headers, body, leave } = await client.request(options).catch((error) => {
    if (!(error instanceof NotProcessedError)) throw error;
    const leftMs = options.timeoutMs - (performance.now() - startedMs);
    return client.request({ ...options, timeoutMs: Math.max(1, Math.ceil(leftMs)) });
  });
  return {
    status,
    body,
    leave,
    apnsId: textOf(headers["apns-id"]),
    retryAfter: textOf(headers["retry-after"]),
  };
}

function textOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

function requestOf(push: Push, jwt: string, timeoutMs: number, nowMs: number): Http2Request {
  return {
    path: `/3/device/${push.token}`,
    headers: {
      authorization: `bearer ${jwt}`,
      "content-type": "application/json",
      "apns-topic": push.settings.topic ?? "",
      "apns-push-type": "alert",
      "apns-priority": "10",
      "apns-expiration": String(Math.floor(nowMs / 1_000) + KEPT_FOR_S),
      // 64 bytes are allowed; a UUID has 36.
      "apns-collapse-id": push.collapseId,
    },
    body: payloadOf(push),
    timeoutMs,
  };
}

function payloadOf({ title, body, data }: Push): string {
  const write = (text: string) =>
    JSON.stringify({ ...data, aps: { alert: { title, body: text }, sound: "default" } });
  return write(fitted(body, (text) => Buffer.byteLength(write(text)), PAYLOAD_MAX_BYTES));
}
