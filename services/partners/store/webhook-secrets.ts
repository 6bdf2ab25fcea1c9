import { decrypt, type EncryptionKeys, encrypt } from "../../../lib/encryption.ts";
import type { EndpointRow, OldSecret } from "./webhook-endpoint.repository.ts";

const placeOf = (partnerId: string) => `partners/${partnerId}`;

export function sealSecret(secret: string, keys: EncryptionKeys, partnerId: string): string {
  return encrypt(secret, keys, placeOf(partnerId));
}

/** The secrets that hold at this moment, the current one first; none before the endpoint was set up. */
export function secretsOf(
  endpoint: Pick<
    EndpointRow,
    "webhookSecret" | "webhookPreviousSecret" | "webhookPreviousUntil" | "webhookOlderSecrets"
  >,
  keys: EncryptionKeys,
  partnerId: string,
  nowMs: number,
): string[] {
  const { webhookSecret } = endpoint;
  if (webhookSecret === undefined) return [];
  const sealed = [webhookSecret, ...validOldSecrets(endpoint, nowMs).map(({ secret }) => secret)];
  return sealed.map((secret) => openSecret(secret, keys, partnerId));
}

/** @throws SealError when it was encrypted by a secret that is gone */
export function openSecret(sealed: string, keys: EncryptionKeys, partnerId: string): string {
  return decrypt(sealed, keys, placeOf(partnerId));
}

/** The replaced secrets that are still valid, the newest first. */
export function validOldSecrets(
  {
    webhookPreviousSecret: secret,
    webhookPreviousUntil: until,
    webhookOlderSecrets: older,
  }: Pick<EndpointRow, "webhookPreviousSecret" | "webhookPreviousUntil" | "webhookOlderSecrets">,
  nowMs: number,
): OldSecret[] {
  const previous = secret !== undefined && until !== undefined ? [{ secret, until }] : [];
  return [...previous, ...older].filter((old) => Date.parse(old.until) > nowMs);
}
