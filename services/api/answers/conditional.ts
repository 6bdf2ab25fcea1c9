import { hash } from "node:crypto";
import { fail } from "../../../contracts/errors.ts";
import { VERSION_MAX } from "../../../contracts/schema.ts";

const HASH_LENGTH = 22;

/**
 * The entity tag of an answer: the resource's version, where it has one, and a digest of the representation.
 * One tag so serves both conditions: If-None-Match compares it whole (the same version looks different to its
 * customer and to its partner), If-Match only reads the version.
 */
export function etagOf(body: string | Buffer, version?: number): string {
  const digest = hash("sha1", body, "base64url").slice(0, HASH_LENGTH);
  return version === undefined ? `"${digest}"` : `"${version}-${digest}"`;
}

/** Whether the client's copy is current, by the weak comparison of RFC 9110, section 13.1.2. */
export function isFresh(ifNoneMatch: string | undefined, etag: string): boolean {
  if (!ifNoneMatch) return false;
  if (ifNoneMatch.trim() === "*") return true;
  return ifNoneMatch.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag);
}

/** `*`, or entity tags: RFC 9110, section 13.1.1. */
export const IF_MATCH = /^(?:\*|(?:W\/)?"[\x21\x23-\x7e]*"(?: *, *(?:W\/)?"[\x21\x23-\x7e]*")*)$/;

/** Our tag, and what proxies that compress make of it: a weak one, or one with the coding behind it ("…-gzip"). */
const OURS = /^(?:W\/)?"(\d{1,10})(?:-[\w-]+)?"$/;

/**
 * The version that the client wants to change; undefined where it does not say or does not mind (`*`). A weak tag
 * counts too, against RFC 9110's letter: our version says the same of every encoding of the answer.
 * @throws BAD_REQUEST for what is no entity tag, PRECONDITION_FAILED for one that no version of ours ever had
 */
export function expectedVersion(ifMatch: string | undefined): number | undefined {
  if (ifMatch === undefined || ifMatch.trim() === "*") return undefined;
  if (!IF_MATCH.test(ifMatch.trim())) throw fail("BAD_REQUEST", "If-Match holds no ETag.");
  const version = OURS.exec(ifMatch.trim())?.[1];
  if (version === undefined || Number(version) < 1 || Number(version) > VERSION_MAX) {
    throw fail("PRECONDITION_FAILED", "If-Match does not hold the ETag of this resource.");
  }
  return Number(version);
}

/**
 * Of an operation that compares no version, a condition is refused: whoever sends one relies on it. `*` asks for no
 * more than that the resource is there, which the operation finds out itself.
 * @throws BAD_REQUEST
 */
export function refuseCondition(ifMatch: string | undefined): void {
  if (ifMatch === undefined || ifMatch.trim() === "*") return;
  throw fail("BAD_REQUEST", "This operation compares no version: leave If-Match out.");
}
