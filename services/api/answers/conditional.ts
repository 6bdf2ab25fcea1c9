import { hash } from "node:crypto";
import { fail } from "../../../contracts/errors.ts";
import { VERSION_MAX } from "../../../contracts/schema.ts";

const HASH_LENGTH = 22;

/**
 * The entity tag of an answer: the version of the resource, if it has one, and a digest of the representation.
 * If-None-Match compares the whole tag, because a customer and a partner see the same version differently. If-Match
 * compares only the version.
 */
export function etagOf(body: string | Buffer, version?: number): string {
  const digest = hash("sha1", body, "base64url").slice(0, HASH_LENGTH);
  return version === undefined ? `"${digest}"` : `"${version}-${digest}"`;
}

/** Whether the client has the current representation, by the weak comparison of RFC 9110, section 13.1.2. */
export function isFresh(ifNoneMatch: string | undefined, etag: string): boolean {
  if (!ifNoneMatch) return false;
  if (ifNoneMatch.trim() === "*") return true;
  return ifNoneMatch.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag);
}

/** `*` or entity tags: RFC 9110, section 13.1.1. */
export const IF_MATCH = /^(?:\*|(?:W\/)?"[\x21\x23-\x7e]*"(?: *, *(?:W\/)?"[\x21\x23-\x7e]*")*)$/;

/** Our tag, also as compressing proxies change it: to a weak tag, or with a suffix ("…-gzip"). */
const OUR_ETAG = /^(?:W\/)?"(\d{1,10})(?:-[\w-]+)?"$/;

/**
 * The version that the client wants to change; undefined without a condition and for `*`. Weak tags are accepted,
 * against RFC 9110, because our version is the same for every encoding of the answer.
 * @throws BAD_REQUEST if the header is no entity tag, PRECONDITION_FAILED for a tag that this API never sends
 */
export function expectedVersion(ifMatch: string | undefined): number | undefined {
  if (ifMatch === undefined || ifMatch.trim() === "*") return undefined;
  if (!IF_MATCH.test(ifMatch.trim())) throw fail("BAD_REQUEST", "If-Match holds no ETag.");
  const version = OUR_ETAG.exec(ifMatch.trim())?.[1];
  if (version === undefined || Number(version) < 1 || Number(version) > VERSION_MAX) {
    throw fail("PRECONDITION_FAILED", "If-Match does not hold the ETag of this resource.");
  }
  return Number(version);
}

/**
 * Refuses If-Match for an operation that compares no version, because the client would rely on it. `*` is accepted: it
 * only requires that the resource exists, which the operation checks itself.
 * @throws BAD_REQUEST
 */
export function refuseCondition(ifMatch: string | undefined): void {
  if (ifMatch === undefined || ifMatch.trim() === "*") return;
  throw fail("BAD_REQUEST", "This operation compares no version: leave If-Match out.");
}
