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

/** The signature headers of a call. */
export interface SignedHeaders {
  "webhook-id": string;
  "webhook-timestamp": string;
  "webhook-signature": string;
}

/** @param secrets all valid secrets; each adds one signature */
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
 * Verifies a call and returns its message id; undefined for an invalid one. The package is used for signing only: its
 * verification reads the clock itself and accepts "1700000000x" as a timestamp and "v1,signature,x" as a signature.
 * @param headers with names in lower case
 */
export function verifiedMessageId(
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
  const genuine = expected.filter((signature) =>
    given.some((other) => timingSafeEqualText(signature, other)),
  );
  return genuine.length > 0 ? id : undefined;
}

/** Compares digests, so that the duration reveals neither content nor length. */
function timingSafeEqualText(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
