import { createHash, timingSafeEqual } from "node:crypto";

/** Maximum difference between the time of a report and ours, in both directions. */
export const TOLERANCE_SECONDS = 300;

/**
 * Whether one of the signatures equals one of the expected ones. Compares every pair in constant time. Compares hashes,
 * because timingSafeEqual requires equal lengths.
 */
export function oneMatches(signatures: readonly string[], expected: readonly string[]): boolean {
  let matches = 0;
  for (const signature of signatures) {
    for (const one of expected) matches += timingSafeEqual(hashOf(signature), hashOf(one)) ? 1 : 0;
  }
  return matches > 0;
}

function hashOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
