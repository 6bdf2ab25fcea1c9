import { createHmac, timingSafeEqual } from "node:crypto";
import { CLOCK_TOLERANCE_MS, type Clock, systemClock } from "../../lib/clock.ts";

/** The metadata key that a call's credential stands in. */
export const CREDENTIAL_KEY = "waybill-credential";

const LIFETIME_MS = 30_000;
const MAX_LENGTH = 512;

export interface CredentialOptions {
  /** BRIDGE_SECRET. */
  secret: string;
  /** The method's path, `/waybill.orders.v1.Orders/Confirm`: the credential opens no other. */
  path: string;
  /** Who calls: a node's id, or the name of a plain client. */
  node: string;
  clock?: Clock;
}

/**
 * What a gRPC client sends as `waybill-credential` with one call: who calls which method until when, with a MAC
 * over it. It lives for 30 seconds, so whoever reads one off the wire can repeat that method for so long at most.
 */
export function bridgeCredential({ secret, path, node, clock = systemClock }: CredentialOptions): string {
  const claims = `${Buffer.from(node).toString("base64url")}.${clock.now() + LIFETIME_MS}`;
  return `v1.${claims}.${mac(secret, path, claims)}`;
}

export interface ProofOptions {
  /** BRIDGE_SECRET. */
  secret: string;
  /** The one that is accepted beside it, while it is being replaced. */
  previousSecret?: string | undefined;
  path: string;
  clock: Clock;
}

/** Who calls, and by which of the secrets that is proven. */
export interface Proof {
  node: string;
  secret: string;
}

/** What a credential proves for this method now; undefined for anything that proves nothing. */
export function proven(
  credential: unknown,
  { secret, previousSecret, path, clock }: ProofOptions,
): Proof | undefined {
  if (typeof credential !== "string" || credential.length > MAX_LENGTH) return undefined;
  const [, node, expires, signature] = /^v1\.([\w-]{1,300})\.(\d{1,15})\.([\w-]{43})$/.exec(credential) ?? [];
  if (node === undefined || expires === undefined || signature === undefined) return undefined;
  const genuine = (by: string) => {
    // As text: several texts stand for the same bytes in base64, and only one of them is ours.
    const wanted = mac(by, path, `${node}.${expires}`);
    return timingSafeEqual(Buffer.from(signature), Buffer.from(wanted));
  };
  const by = [secret, previousSecret].find((each) => each && genuine(each));
  if (by === undefined) return undefined;
  const leftMs = Number(expires) - clock.now();
  if (leftMs < -CLOCK_TOLERANCE_MS || leftMs > LIFETIME_MS + CLOCK_TOLERANCE_MS) return undefined;
  return { node: Buffer.from(node, "base64url").toString(), secret: by };
}

function mac(secret: string, path: string, claims: string): string {
  return createHmac("sha256", secret).update(`waybill bridge v1\n${path}\n${claims}`).digest("base64url");
}
