import { createHash, timingSafeEqual } from "node:crypto";

/** How far a report's time may be from ours, in both directions. */
export const TOLERANCE_SECONDS = 300;

/**
 * Whether one of the signatures is one of the expected ones. Every pair is compared, in a time that says nothing of
 * where they differ; of hashes, because the comparison wants equal lengths.
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
