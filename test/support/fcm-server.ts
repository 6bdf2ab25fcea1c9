import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { jwtVerify } from "jose";

const SCOPE = "https://www.googleapis.com/auth/firebase.messaging";
const FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
const TOKEN_LIVES_S = 3_599;

/** The answers to messages for a registration token. */
export type FcmMode =
  | "accept"
  | "unregistered"
  | "not_a_token"
  | "sender_mismatch"
  | "third_party_auth"
  | "quota"
  | "unavailable"
  | "internal"
  | "hang";

/** By mode: status, status of google.rpc, code of FcmError, message. */
const ERRORS: Partial<Record<FcmMode, [number, string, string, string]>> = {
  unregistered: [404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found."],
  not_a_token: [
    400,
    "INVALID_ARGUMENT",
    "INVALID_ARGUMENT",
    "The registration token is not a valid FCM registration token",
  ],
  sender_mismatch: [403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch"],
  third_party_auth: [
    401,
    "UNAUTHENTICATED",
    "THIRD_PARTY_AUTH_ERROR",
    "Auth error from APNS or Web Push Service",
  ],
  quota: [429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded for quota metric 'Send requests'."],
  unavailable: [503, "UNAVAILABLE", "UNAVAILABLE", "The service is currently unavailable."],
  internal: [500, "INTERNAL", "INTERNAL", "Internal error encountered."],
};

export interface FcmMessage {
  token?: string;
  notification?: { title?: string; body?: string };
  data?: Record<string, string>;
  android?: { collapse_key?: string; ttl?: string; priority?: string; notification?: { tag?: string } };
  apns?: { headers?: Record<string, string> };
  webpush?: { headers?: Record<string, string>; notification?: { tag?: string } };
}

const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

/** A service account whose key the server knows. Its key file names an address that must not be called. */
export const fcmKeyFile = {
  type: "service_account",
  project_id: "waybill-test",
  private_key_id: "0123456789abcdef0123456789abcdef01234567",
  private_key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  client_email: "push@waybill-test.iam.gserviceaccount.com",
  token_uri: "http://127.0.0.1:9/token",
};
export const fcmSettings = {
  projectId: fcmKeyFile.project_id,
  clientEmail: fcmKeyFile.client_email,
  privateKey: fcmKeyFile.private_key,
};

/**
 * A Firebase Cloud Messaging of our own, and the Google beside it that gives access tokens: for an assertion of the
 * service account alone, signed by its key, for the one scope and for an hour at most. Errors are those that FCM
 * documents.
 */
export async function startFcm() {
  const modes = new Map<string, FcmMode>();
  const shown = new Map<string, { title: string; body: string; token: string }>();
  const requests: { message: FcmMessage; authorization: string | undefined }[] = [];
  const valid = new Set<string>();
  const state = {
    tokensGiven: 0,
    tokenTrouble: "none" as "none" | "hang" | "invalid_grant" | "worthless",
    redirectTo: "",
  };
  let url = "";

  async function grant(body: string): Promise<[number, unknown]> {
    const form = new URLSearchParams(body);
    const denied = [400, { error: "invalid_grant", error_description: "Invalid JWT Signature." }] as [
      number,
      unknown,
    ];
    if (state.tokenTrouble === "invalid_grant") return denied;
    if (form.get("grant_type") !== "urn:ietf:params:oauth:grant-type:jwt-bearer") {
      return [400, { error: "unsupported_grant_type" }];
    }
    const { iat, exp, scope } = await jwtVerify(form.get("assertion") ?? "", publicKey, {
      algorithms: ["RS256"],
      issuer: fcmKeyFile.client_email,
      audience: `${url}/token`,
      requiredClaims: ["iat", "exp", "scope"],
    }).then(
      ({ payload }) => payload as { iat: number; exp: number; scope: string },
      () => ({ iat: 0, exp: Number.POSITIVE_INFINITY, scope: "" }),
    );
    if (exp - iat > 3_600) return denied;
    if (scope !== SCOPE) return [400, { error: "invalid_scope" }];
    state.tokensGiven++;
    const token = `ya29.${crypto.randomUUID()}`;
    if (state.tokenTrouble !== "worthless") valid.add(token);
    return [200, { access_token: token, expires_in: TOKEN_LIVES_S, token_type: "Bearer" }];
  }

  function send(message: FcmMessage): [number, unknown] | undefined {
    const { token = "", notification = {}, data = {}, android } = message;
    const mode = modes.get(token) ?? "accept";
    const tag = android?.notification?.tag;
    const size = Buffer.byteLength(JSON.stringify({ notification, data }));
    if (!token || !tag || size > 4_096 || Object.values(data).some((value) => typeof value !== "string")) {
      return googleError(
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "Request contains an invalid argument.",
      );
    }
    const error = ERRORS[mode];
    if (error && mode !== "internal") return googleError(...error);
    // A phone replaces what it shows under the same tag.
    shown.set(`${token} ${tag}`, { title: notification.title ?? "", body: notification.body ?? "", token });
    if (mode === "hang") return undefined;
    return error
      ? googleError(...error)
      : [200, { name: `projects/waybill-test/messages/0:${requests.length}%31bd1c9631bd1c96` }];
  }

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString("utf8");
    const answer = ([status, value]: [number, unknown], headers: Record<string, string> = {}) => {
      response
        .writeHead(status, { "content-type": "application/json", ...headers })
        .end(JSON.stringify(value));
    };
    if (request.method === "POST" && request.url === "/token") {
      if (state.tokenTrouble !== "hang") answer(await grant(body));
      return;
    }
    if (request.method !== "POST" || request.url !== "/v1/projects/waybill-test/messages:send") {
      return answer([404, { error: { code: 404, message: "Not found", status: "NOT_FOUND" } }]);
    }
    const { authorization } = request.headers;
    const { message = {} } = JSON.parse(body) as { message?: FcmMessage };
    requests.push({ message, authorization });
    if (!valid.has(authorization?.replace("Bearer ", "") ?? "")) {
      return answer([
        401,
        { error: { code: 401, message: "Invalid credentials.", status: "UNAUTHENTICATED" } },
      ]);
    }
    if (state.redirectTo) {
      response.writeHead(307, { location: `${state.redirectTo}${request.url}` }).end();
      return;
    }
    const result = send(message);
    if (result) answer(result, result[0] === 503 ? { "retry-after": "30" } : {});
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    urls: { apiUrl: url, tokenUrl: `${url}/token` },
    requests,
    state,
    shown: () => [...shown.values()],
    /** As when an administrator takes the account's tokens back. */
    revokeTokens: () => valid.clear(),
    /** A new registration token whose messages are treated so. */
    token(mode: FcmMode = "accept"): string {
      const token = `${crypto.randomUUID()}:APA91b${mode}`;
      modes.set(token, mode);
      return token;
    },
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export type FcmServer = Awaited<ReturnType<typeof startFcm>>;

function googleError(code: number, status: string, errorCode: string, message: string): [number, unknown] {
  const details = [{ "@type": FCM_ERROR, errorCode }];
  return [code, { error: { code, message, status, details } }];
}
