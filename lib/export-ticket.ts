import { decrypt, type EncryptionKeys, encrypt } from "./encryption.ts";

const AAD = "export-ticket";

/**
 * The permission to read all data of a user for an export, which Identity makes for a signed-in user. An export goes on
 * after the user's access token has expired. Only services know the key.
 */
export function exportTicket(userId: string, expiresAtMs: number, keys: EncryptionKeys): string {
  return encrypt(JSON.stringify({ userId, expiresAtMs }), keys, AAD);
}

/** The user of a ticket; undefined for a ticket that is invalid or has expired. */
export function userOfTicket(ticket: string, keys: EncryptionKeys, nowMs: number): string | undefined {
  try {
    const { userId, expiresAtMs } = JSON.parse(decrypt(ticket, keys, AAD)) as {
      userId: string;
      expiresAtMs: number;
    };
    return nowMs < expiresAtMs ? userId : undefined;
  } catch {
    return undefined;
  }
}
