import type { Storage } from "../../../providers/storage/index.ts";

export const IMAGE_TYPE = "image/webp";

const PROOFS_PREFIX = "proofs/";

export function avatarKey(userId: string): string {
  return `avatars/${userId}.webp`;
}

export function proofKey(orderId: string, photoId: string): string {
  return `${PROOFS_PREFIX}${orderId}/${photoId}.webp`;
}

/**
 * Deletes the photos of orders before `beforeOrderId` among the first `limit` keys. An order's id is a UUIDv7, so the
 * first keys are the oldest.
 * @returns the number of deleted photos
 */
export async function pruneProofs(storage: Storage, beforeOrderId: string, limit: number): Promise<number> {
  const keys = await storage.list(PROOFS_PREFIX, limit);
  const old = keys.filter((key) => key < PROOFS_PREFIX + beforeOrderId);
  for (const key of old) await storage.delete(key);
  return old.length;
}

/** The id of the oldest order that has a photo. */
export async function oldestProofOrder(storage: Storage): Promise<string | undefined> {
  const [first] = await storage.list(PROOFS_PREFIX, 1);
  return first?.split("/")[1];
}
