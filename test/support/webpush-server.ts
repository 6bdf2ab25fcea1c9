import { createDecipheriv, createECDH, hkdfSync, randomBytes } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { importJWK, jwtVerify } from "jose";

const BODY_MAX_BYTES = 4_096;
const DAY_S = 86_400;

/** The answers to messages for a subscription. */
export type WebPushMode =
  | "accept"
  | "gone"
  | "not_found"
  | "refused"
  | "too_many"
  | "error"
  | "unavailable"
  | "hang";

const ANSWERS: Record<Exclude<WebPushMode, "hang">, number> = {
  accept: 201,
  gone: 410,
  not_found: 404,
  refused: 403,
  too_many: 429,
  error: 500,
  unavailable: 503,
};

const pair = createECDH("prime256v1");
pair.generateKeys();
/** Settings of an agent whose key the browsers were given when they subscribed. */
export const webPushSettings = {
  publicKey: pair.getPublicKey("base64url"),
  privateKey: pair.getPrivateKey("base64url"),
  subject: "mailto:ops@waybill.example",
};

interface Browser {
  mode: WebPushMode;
  key: ReturnType<typeof createECDH>;
  authSecret: Buffer;
}

export interface Shown {
  title: string;
  body: string;
  data: Record<string, string>;
  tag: string;
}

/** Opens a message as a browser does (RFC 8291). @throws Error when it was not encrypted for this one */
export function opened(message: Buffer, { key, authSecret }: Pick<Browser, "key" | "authSecret">): Buffer {
  const salt = message.subarray(0, 16);
  const senderEnd = 21 + message.readUInt8(20);
  const sender = message.subarray(21, senderEnd);
  const about = Buffer.concat([Buffer.from("WebPush: info\0"), key.getPublicKey(), sender]);
  const secret = Buffer.from(hkdfSync("sha256", key.computeSecret(sender), authSecret, about, 32));
  const derived = (info: string, length: number) =>
    Buffer.from(hkdfSync("sha256", secret, salt, Buffer.from(`Content-Encoding: ${info}\0`), length));
  const decipher = createDecipheriv("aes-128-gcm", derived("aes128gcm", 16), derived("nonce", 12));
  decipher.setAuthTag(message.subarray(-16));
  const plain = Buffer.concat([decipher.update(message.subarray(senderEnd, -16)), decipher.final()]);
  if (plain.at(-1) !== 2) throw new Error("this is not the last record");
  return plain.subarray(0, -1);
}

/**
 * A push service of our own with its browsers. It takes messages as RFC 8030, 8188 and 8292 have them, signed by the key
 * of the subscription for its own origin, and each browser opens its own and shows them by their tags.
 */
export async function startWebPush() {
  const browsers = new Map<string, Browser>();
  const shown = new Map<string, Shown>();
  const requests: { headers: IncomingHttpHeaders; bytes: number }[] = [];
  let origin = "";

  async function trouble(headers: IncomingHttpHeaders, body: Buffer): Promise<number | undefined> {
    const [, jwt, key] = /^vapid t=([\w.-]+), k=([\w-]+)$/.exec(headers.authorization ?? "") ?? [];
    if (!jwt) return 401;
    if (key !== webPushSettings.publicKey) return 403;
    const point = Buffer.from(key, "base64url");
    const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString("base64url"));
    try {
      const known = await importJWK({ kty: "EC", crv: "P-256", x: x as string, y: y as string }, "ES256");
      const { payload } = await jwtVerify(jwt, known, { algorithms: ["ES256"], audience: origin });
      const livesS = (payload.exp ?? Number.NaN) - Date.now() / 1_000;
      if (!(livesS > 0 && livesS <= DAY_S) || !/^(mailto|https):/.test(payload.sub ?? "")) return 401;
    } catch {
      return 401;
    }
    if (headers["content-encoding"] !== "aes128gcm" || !/^\d+$/.test(String(headers.ttl))) return 400;
    if (!/^[\w-]{1,32}$/.test(String(headers.topic ?? "none"))) return 400;
    return body.length > BODY_MAX_BYTES ? 413 : undefined;
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    requests.push({ headers: request.headers, bytes: body.length });
    const browser = browsers.get(request.url ?? "");
    const mode = browser?.mode ?? "not_found";
    const status = (await trouble(request.headers, body)) ?? (mode === "hang" ? 0 : ANSWERS[mode]);
    if (browser && [201, 500, 0].includes(status)) {
      const message = JSON.parse(opened(body, browser).toString()) as Shown;
      shown.set(`${request.url} ${message.tag}`, message);
    }
    if (status === 0) return;
    const wait = status === 429 || status === 503 ? { "retry-after": "30" } : {};
    response.writeHead(status, { ...(status === 201 && { location: `${origin}/message` }), ...wait });
    response.end();
  }

  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    origin,
    requests,
    shown: () => [...shown.values()],
    /** The subscription of a new browser, as its app sends it. */
    token(mode: WebPushMode = "accept"): string {
      const key = createECDH("prime256v1");
      const authSecret = randomBytes(16);
      const path = `/push/${randomBytes(16).toString("hex")}`;
      browsers.set(path, { mode, key, authSecret });
      const keys = { p256dh: key.generateKeys("base64url"), auth: authSecret.toString("base64url") };
      return JSON.stringify({ endpoint: origin + path, expirationTime: null, keys });
    },
    async stop() {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      server.closeAllConnections();
      await closed;
    },
  };
}

export type WebPushServer = Awaited<ReturnType<typeof startWebPush>>;
