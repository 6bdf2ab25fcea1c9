import { open, type SealKeys, seal } from "../../../lib/seal.ts";
import type { EndpointRow } from "./endpoint.repository.ts";

const placeOf = (partnerId: string) => `partners/${partnerId}`;

export function sealSecret(secret: string, keys: SealKeys, partnerId: string): string {
  return seal(secret, keys, placeOf(partnerId));
}

/** The secrets that hold at this moment, the current one first; none before the endpoint was set up. */
export function secretsOf(
  endpoint: Omit<EndpointRow, "apiUrl" | "webhookEnabled">,
  keys: SealKeys,
  partnerId: string,
  nowMs: number,
): string[] {
  const { webhookSecret, webhookPreviousSecret, webhookPreviousUntil } = endpoint;
  const previousHolds = webhookPreviousUntil !== undefined && Date.parse(webhookPreviousUntil) > nowMs;
  return [webhookSecret, previousHolds ? webhookPreviousSecret : undefined]
    .filter((sealed) => sealed !== undefined)
    .map((sealed) => open(sealed, keys, placeOf(partnerId)));
}
