import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { Webhook } from "standardwebhooks";

const SECRET_BYTES = 32;
const TOLERANCE_SECONDS = 300;
const MAX_ID_LENGTH = 200;
const MAX_SIGNATURES = 10;

/** A new secret in the form of the Standard Webhooks specification. */
export function newSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString("base64")}`;
}

/** What every call carries. */
export interface SignedHeaders {
  "webhook-id": string;
  "webhook-timestamp": string;
  "webhook-signature": string;
}

/** @param secrets the current one and, while it is being replaced, the previous one: each signs */
export function signedHeaders(
  id: string,
  body: string,
  secrets: readonly string[],
  nowMs: number,
): SignedHeaders {
  const at = new Date(nowMs);
  return {
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(nowMs / 1000)),
    "webhook-signature": secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(" "),
  };
}

/**
 * The id of a genuine call; undefined for any other, whatever is wrong with it. The package only signs here: its
 * own verification reads the clock itself and takes "1700000000x" for a timestamp and "v1,signature,x" for a
 * signature.
 * @param headers with names in lower case
 */
export function genuineId(
  headers: Readonly<Record<string, string>>,
  body: string,
  secrets: readonly string[],
  nowMs: number,
): string | undefined {
  const id = headers["webhook-id"] ?? "";
  const timestamp = headers["webhook-timestamp"] ?? "";
  const given = (headers["webhook-signature"] ?? "").split(" ").slice(0, MAX_SIGNATURES);
  if (id === "" || id.length > MAX_ID_LENGTH || !/^[1-9]\d{0,11}$/.test(timestamp)) return undefined;
  if (Math.abs(Math.floor(nowMs / 1000) - Number(timestamp)) > TOLERANCE_SECONDS) return undefined;
  const at = new Date(Number(timestamp) * 1000);
  const expected = secrets.map((secret) => new Webhook(secret).sign(id, at, body));
  const genuine = expected.filter((signature) => given.some((other) => sameText(signature, other)));
  return genuine.length > 0 ? id : undefined;
}

/** Compares digests, so that neither content nor length shows in the time it takes. */
function sameText(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
