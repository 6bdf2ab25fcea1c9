import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export type SecretName =
  | "BRIDGE_SECRET"
  | "HANDOVER_SECRET"
  | "SEAL_SECRET"
  | "ADMIN_PASSWORD"
  | "OPERATOR_PASSWORD";
export type KeptSecrets = Partial<Record<SecretName, string>>;

export function secretsFile(dataDir: string): string {
  return join(dataDir, "secrets.json");
}

/**
 * Returns secrets that the environment does not set. It generates missing ones and stores them in a file that only its
 * owner can read, because encrypted and signed data must remain readable after a restart.
 * @throws Error in one line when the file is invalid
 */
export function keepSecrets<N extends SecretName>(dataDir: string, needed: readonly N[]): Record<N, string> {
  const path = secretsFile(dataDir);
  const kept = readSecrets(dataDir);
  const missing = needed.filter((name) => !kept[name]);
  const all = { ...kept, ...Object.fromEntries(missing.map((name) => [name, newSecret()])) };
  if (missing.length > 0) {
    const half = `${path}.half`;
    writeFileSync(half, `${JSON.stringify(all, undefined, 2)}\n`, { mode: 0o600 });
    renameSync(half, path);
  }
  return all as Record<N, string>;
}

/** The stored secrets. @throws Error in one line when the file is invalid */
export function readSecrets(dataDir: string): KeptSecrets {
  const path = secretsFile(dataDir);
  if (!existsSync(path)) return {};
  chmodSync(path, 0o600);
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof value === "object" && value !== null) return value as KeptSecrets;
  } catch {
    // The error below does not contain the file's text, which is secret.
  }
  throw new Error(
    `${path} cannot be read as JSON: restore it, because data encrypted with it cannot be read without it`,
  );
}

function newSecret(): string {
  return randomBytes(32).toString("base64url");
}
