import { createHmac, timingSafeEqual } from "node:crypto";
import { DEFAULT_PREFIX } from "./wire-names.ts";

const LIFETIME_MS = 30_000;
/** How far the clocks of two machines may be apart. */
const CLOCK_TOLERANCE_MS = 5_000;
const MAX_LENGTH = 512;

export interface CredentialOptions {
  /** The bridge's `secret`. */
  secret: string;
  /** The method's path, `/shop.orders.v1.Orders/Confirm`: the credential is valid for no other. */
  path: string;
  /** The caller: a node's id, or the name of a plain client. */
  node: string;
  /** The bridge's `prefix`. */
  prefix?: string;
  now?: () => number;
}

/**
 * The credential of one call: the caller, the method and the expiry, with a MAC. A gRPC client sends it as metadata
 * `<prefix>-credential`. It is valid for 30 seconds: a reader of it can repeat that method for this time at most.
 */
export function callCredential(options: CredentialOptions): string {
  const { secret, path, node, prefix = DEFAULT_PREFIX, now = Date.now } = options;
  const claims = `${Buffer.from(node).toString("base64url")}.${now() + LIFETIME_MS}`;
  return `v1.${claims}.${mac(secret, prefix, path, claims)}`;
}

export interface VerifyOptions {
  secret: string;
  /** A second secret that is accepted, for rotation. */
  previousSecret?: string | undefined;
  path: string;
  prefix: string;
  now: () => number;
}

/** @returns the caller; undefined for a credential that is not valid for this method now */
export function verifyCredential(
  credential: unknown,
  { secret, previousSecret, path, prefix, now }: VerifyOptions,
): string | undefined {
  if (typeof credential !== "string" || credential.length > MAX_LENGTH) return undefined;
  const [, node, expires, signature] = /^v1\.([\w-]{1,300})\.(\d{1,15})\.([\w-]{43})$/.exec(credential) ?? [];
  if (node === undefined || expires === undefined || signature === undefined) return undefined;
  const isSignedBy = (candidate: string) => {
    // Compared as text: several base64 texts stand for the same bytes, and only one of them is accepted.
    const expected = mac(candidate, prefix, path, `${node}.${expires}`);
    return timingSafeEqual(Buffer.from(signature), Buffer.from(expected));
  };
  if (![secret, previousSecret].some((each) => each && isSignedBy(each))) return undefined;
  const leftMs = Number(expires) - now();
  if (leftMs < -CLOCK_TOLERANCE_MS || leftMs > LIFETIME_MS + CLOCK_TOLERANCE_MS) return undefined;
  return Buffer.from(node, "base64url").toString();
}

function mac(secret: string, prefix: string, path: string, claims: string): string {
  return createHmac("sha256", secret).update(`${prefix} bridge v1\n${path}\n${claims}`).digest("base64url");
}
