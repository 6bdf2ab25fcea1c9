import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { fail } from "../../../contracts/errors.ts";
import type { Caller, Meta } from "../../../contracts/meta.ts";
import type { TokenVerifier } from "../../../mixins/caller/token-verifier.ts";
import { requestContextOf } from "../edge/request-context.ts";
import type { Endpoint } from "./endpoint.ts";

const BEARER = /^Bearer +([\w.~+/-]+=*) *$/i;
/** Plain text, or a string of RFC 9651 in quotes. */
export const IDEMPOTENCY_KEY = /^(?:"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255}))$/;

/** The caller, and the token that proves it. */
export interface Authentication {
  token: string;
  caller: Caller;
}

/**
 * Verifies the access token. Undefined for operations that need no sign-in; their Authorization header is ignored.
 * @throws UNAUTHENTICATED, SESSION_REVOKED
 */
export async function authenticate(
  { route: { access } }: Endpoint,
  req: IncomingMessage,
  verifier: TokenVerifier,
): Promise<Authentication | undefined> {
  if (access === "public" || access === "signed") return undefined;
  const { authorization } = req.headers;
  if (authorization === undefined)
    throw fail("UNAUTHENTICATED", "Send an access token: Authorization: Bearer …");
  const token = BEARER.exec(authorization)?.[1];
  if (token === undefined) throw fail("UNAUTHENTICATED", "The Authorization header holds no bearer token.");
  return { token, caller: await verifier.verify(token) };
}

/** @throws FORBIDDEN unless the operation allows the caller's role */
export function authorize({ route: { access } }: Endpoint, { caller }: Authentication): void {
  if (!Array.isArray(access) || access.includes(caller.role)) return;
  if (!(caller.partnerAdmin && access.includes("partner_admin"))) throw fail("FORBIDDEN");
}

/**
 * Makes the meta of the call. Meta is written nowhere else.
 * @param body the bytes as received; their hash detects a repeated Idempotency-Key with another body
 * @throws BAD_REQUEST, IDEMPOTENCY_KEY_REQUIRED
 */
export function metaOf(
  endpoint: Endpoint,
  req: IncomingMessage,
  authentication: Authentication | undefined,
  body: Buffer | undefined,
): Meta {
  const { requestId, clientIp } = requestContextOf(req);
  const key = idempotencyKeyOf(endpoint, req);
  return {
    requestId,
    clientIp,
    ...(authentication && { token: authentication.token }),
    ...(key !== undefined && { idempotency: { key, bodyHash: hashOf(req, body) } }),
  };
}

function idempotencyKeyOf({ idempotencyKey }: Endpoint, req: IncomingMessage): string | undefined {
  if (idempotencyKey === "never") return undefined;
  const header = req.headers["idempotency-key"];
  if (header === undefined) {
    if (idempotencyKey === "required")
      throw fail("IDEMPOTENCY_KEY_REQUIRED", "Any unique text, e.g. a UUID.");
    return undefined;
  }
  const [, quoted, bare] = IDEMPOTENCY_KEY.exec(String(header)) ?? [];
  const key = quoted ?? bare;
  if (key === undefined)
    throw fail("BAD_REQUEST", "Idempotency-Key takes 1 to 255 visible ASCII characters.");
  return key;
}

/** Includes method and path: the same key for another resource is a different request. */
function hashOf(req: IncomingMessage, body: Buffer | undefined): string {
  const hash = createHash("sha256").update(`${req.method} ${req.url}\n`);
  if (body) hash.update(body);
  return hash.digest("hex");
}
