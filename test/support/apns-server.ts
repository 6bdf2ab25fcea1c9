import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { decodeProtectedHeader, jwtVerify } from "jose";
import { eventually } from "./eventually.ts";

const HOUR_MS = 3_600_000;
const RENEWED_AFTER_MS = 20 * 60_000;
const COLLAPSE_ID_MAX_BYTES = 64;
const PAYLOAD_MAX_BYTES = 4_096;

/** The answers to notifications for a device token. */
export type ApnsMode =
  | "accept"
  | "unregistered"
  | "bad_token"
  | "wrong_topic"
  | "refused"
  | "too_many"
  | "error"
  | "unavailable"
  | "shutdown_once"
  | "turned_away_once"
  | "hang";

const ERRORS: Partial<Record<ApnsMode, [number, string]>> = {
  unregistered: [410, "Unregistered"],
  bad_token: [400, "BadDeviceToken"],
  wrong_topic: [400, "DeviceTokenNotForTopic"],
  refused: [400, "TopicDisallowed"],
  too_many: [429, "TooManyRequests"],
  unavailable: [503, "ServiceUnavailable"],
};

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });

/** Settings of an agent whose signing key the server knows. */
export const apnsSettings = {
  teamId: "DEF123GHIJ",
  keyId: "ABC123DEFG",
  privateKey: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  topic: "org.example.waybill",
};

export interface ApnsRequest {
  headers: Readonly<Record<string, string | string[] | undefined>>;
  bytes: number;
  payload: { aps?: { alert?: { title?: string; body?: string } }; [key: string]: unknown };
}

/**
 * An Apple Push Notification service of our own, over HTTP/2 without TLS. It takes a token that is signed by the
 * team's key, at most an hour old and not replaced within 20 minutes, and headers as Apple documents them.
 */
export async function startApns() {
  const modes = new Map<string, ApnsMode>();
  const shown = new Map<string, { title: string; body: string; token: string }>();
  const requests: ApnsRequest[] = [];
  const sessions = new Set<ServerHttp2Session>();
  const state = { nowMs: Date.now(), sessionsOpened: 0, pings: 0 };
  const tokens: { jwt: string; firstMs: number }[] = [];

  /** Status and reason where the token is not good. */
  async function tokenTrouble(authorization: string | undefined): Promise<[number, string] | undefined> {
    const [, jwt] = /^bearer (\S+)$/.exec(authorization ?? "") ?? [];
    if (!jwt) return [403, "MissingProviderToken"];
    try {
      const { payload } = await jwtVerify(jwt, publicKey, {
        algorithms: ["ES256"],
        issuer: apnsSettings.teamId,
        currentDate: new Date(state.nowMs),
      });
      if (decodeProtectedHeader(jwt).kid !== apnsSettings.keyId) return [403, "InvalidProviderToken"];
      if (state.nowMs - (payload.iat ?? 0) * 1_000 > HOUR_MS) return [403, "ExpiredProviderToken"];
    } catch {
      return [403, "InvalidProviderToken"];
    }
    if (tokens.some((known) => known.jwt === jwt)) return undefined;
    const last = tokens.at(-1);
    if (last && state.nowMs - last.firstMs < RENEWED_AFTER_MS) return [429, "TooManyProviderTokenUpdates"];
    tokens.push({ jwt, firstMs: state.nowMs });
    return undefined;
  }

  function headerTrouble({ headers, bytes }: ApnsRequest): [number, string] | undefined {
    if (headers["apns-topic"] !== apnsSettings.topic) return [400, "BadTopic"];
    if (headers["apns-push-type"] !== "alert") return [400, "InvalidPushType"];
    if (!/^(1|5|10)$/.test(String(headers["apns-priority"]))) return [400, "BadPriority"];
    if (!/^\d+$/.test(String(headers["apns-expiration"]))) return [400, "BadExpirationDate"];
    if (Buffer.byteLength(String(headers["apns-collapse-id"])) > COLLAPSE_ID_MAX_BYTES)
      return [400, "BadCollapseId"];
    return bytes > PAYLOAD_MAX_BYTES ? [413, "PayloadTooLarge"] : undefined;
  }

  async function answerTo(request: ApnsRequest): Promise<[number, string?] | undefined> {
    const [, token] = /^\/3\/device\/([0-9a-f]{64})$/.exec(String(request.headers[":path"])) ?? [];
    const trouble = (await tokenTrouble(request.headers.authorization as string)) ?? headerTrouble(request);
    if (trouble) return trouble;
    if (!token) return [400, "BadDeviceToken"];
    const mode = modes.get(token) ?? "accept";
    const error = ERRORS[mode];
    if (error) return error;
    if (mode === "shutdown_once") {
      modes.delete(token);
      return [503, "Shutdown"];
    }
    const { title = "", body = "" } = request.payload.aps?.alert ?? {};
    // A device replaces what it shows under the same collapse id.
    shown.set(`${token} ${request.headers["apns-collapse-id"]}`, { title, body, token });
    if (mode === "hang") return undefined;
    return mode === "error" ? [500, "InternalServerError"] : [200];
  }

  async function serve(stream: ServerHttp2Stream, headers: ApnsRequest["headers"]): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    if (modes.get(String(headers[":path"]).slice("/3/device/".length)) === "turned_away_once") {
      modes.clear();
      stream.session?.goaway(0, (stream.id ?? 0) - 2);
      return;
    }
    const request = { headers, bytes: bytes.length, payload: JSON.parse(bytes.toString()) };
    requests.push(request);
    const answer = await answerTo(request);
    if (!answer || stream.destroyed) return;
    const [status, reason] = answer;
    stream.respond({
      ":status": status,
      "apns-id": crypto.randomUUID().toUpperCase(),
      ...(status === 503 && { "retry-after": "30" }),
    });
    stream.end(reason && JSON.stringify({ reason, ...(status === 410 && { timestamp: state.nowMs }) }));
  }

  const server = createServer();
  server.on("session", (session) => {
    state.sessionsOpened++;
    sessions.add(session);
    session.on("ping", () => state.pings++);
    session.on("error", () => undefined);
    session.once("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    serve(stream, headers).catch(() => stream.destroy());
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    state,
    /** The server's own clock, which may differ from the sender's. */
    clock: { now: () => state.nowMs },
    tokens,
    sessions: () => sessions.size,
    shown: () => [...shown.values()],
    /** Sends GOAWAY to all clients; running requests are answered. */
    goAway() {
      for (const session of sessions) session.close();
    },
    /** A new device token whose notifications are treated so. */
    token(mode: ApnsMode = "accept"): string {
      const token = randomBytes(32).toString("hex");
      modes.set(token, mode);
      return token;
    },
    async stop() {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      for (const session of sessions) session.close();
      // Streams without an answer stay open.
      await eventually(
        () => {
          if (sessions.size > 0) throw new Error(`${sessions.size} sessions are open`);
        },
        { timeoutMs: 500 },
      ).catch(() => {
        for (const session of sessions) session.destroy();
      });
      await closed;
    },
  };
}

export type ApnsServer = Awaited<ReturnType<typeof startApns>>;
