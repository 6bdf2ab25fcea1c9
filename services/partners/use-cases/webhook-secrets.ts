import { decrypt, type EncryptionKeys, encrypt } from "../../../lib/encryption.ts";
import type { EndpointRow, ReplacedSecret } from "../store/webhook-endpoint.repository.ts";

const aadOf = (partnerId: string) => `partners/${partnerId}`;

export function encryptSecret(secret: string, keys: EncryptionKeys, partnerId: string): string {
  return encrypt(secret, keys, aadOf(partnerId));
}

/** Decrypts the valid secrets, the current one first; empty before the endpoint was set up. */
export function validSecrets(
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
  const encrypted = [webhookSecret, ...validOldSecrets(endpoint, nowMs).map(({ secret }) => secret)];
  return encrypted.map((secret) => decryptSecret(secret, keys, partnerId));
}

/** @throws DecryptionError when it was encrypted with a key that is no longer configured */
export function decryptSecret(encrypted: string, keys: EncryptionKeys, partnerId: string): string {
  return decrypt(encrypted, keys, aadOf(partnerId));
}

/** The valid replaced secrets, the newest first. */
export function validOldSecrets(
  {
    webhookPreviousSecret: secret,
    webhookPreviousUntil: until,
    webhookOlderSecrets: older,
  }: Pick<EndpointRow, "webhookPreviousSecret" | "webhookPreviousUntil" | "webhookOlderSecrets">,
  nowMs: number,
): ReplacedSecret[] {
  const previous = secret !== undefined && until !== undefined ? [{ secret, until }] : [];
  return [...previous, ...older].filter((old) => Date.parse(old.until) > nowMs);
}
