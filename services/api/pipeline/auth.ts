import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { fail } from "../../../contracts/errors.ts";
import type { Caller, Meta } from "../../../contracts/meta.ts";
import type { TokenVerifier } from "../../../mixins/caller/token-verifier.ts";
import { exchangeOf } from "../edge/request-context.ts";
import type { Endpoint } from "./endpoint.ts";

const BEARER = /^Bearer +([\w.~+/-]+=*) *$/i;
/** Bare, or as a string of RFC 9651. */
export const IDEMPOTENCY_KEY = /^(?:"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255}))$/;

/** Who calls, and the token that proves it. */
export interface Proved {
  token: string;
  caller: Caller;
}

/**
 * Who sent the request; undefined for an operation that needs nobody signed in, whatever was sent along.
 * @throws UNAUTHENTICATED, SESSION_REVOKED, FORBIDDEN for a role that may not do this
 */
export async function authenticate(
  { route: { access } }: Endpoint,
  req: IncomingMessage,
  verifier: TokenVerifier,
): Promise<Proved | undefined> {
  if (access === "public" || access === "signed") return undefined;
  const { authorization } = req.headers;
  if (authorization === undefined)
    throw fail("UNAUTHENTICATED", "Send an access token: Authorization: Bearer …");
  const token = BEARER.exec(authorization)?.[1];
  if (token === undefined) throw fail("UNAUTHENTICATED", "The Authorization header holds no bearer token.");
  return { token, caller: await verifier.verify(token) };
}

/** @throws FORBIDDEN unless the operation is open to the caller's role */
export function authorize({ route: { access } }: Endpoint, { caller }: Proved): void {
  if (!Array.isArray(access) || access.includes(caller.role)) return;
  if (!(caller.partnerAdmin && access.includes("partner_admin"))) throw fail("FORBIDDEN");
}

/**
 * What travels with the call: the only place where meta is written.
 * @param body the bytes as they came, so that a repeat with another body is told apart
 * @throws BAD_REQUEST, IDEMPOTENCY_KEY_REQUIRED
 */
export function metaOf(
  endpoint: Endpoint,
  req: IncomingMessage,
  proved: Proved | undefined,
  body: Buffer | undefined,
): Meta {
  const { requestId, clientIp } = exchangeOf(req);
  const key = idempotencyKeyOf(endpoint, req);
  return {
    requestId,
    clientIp,
    ...(proved && { token: proved.token }),
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

/** The path counts too: the same key for another resource is another request. */
function hashOf(req: IncomingMessage, body: Buffer | undefined): string {
  const hash = createHash("sha256").update(`${req.method} ${req.url}\n`);
  if (body) hash.update(body);
  return hash.digest("hex");
}
