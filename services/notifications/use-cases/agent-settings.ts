import { decrypt, type EncryptionKeys } from "../../../lib/encryption.ts";
import type { Db } from "../../../lib/sql/database.ts";
import type { Sender } from "../dependencies.ts";
import { type AgentRow, sendingAgent } from "../store/agents.repository.ts";

/** The agent that sends now, with its decrypted settings. @throws DecryptionError when the secret is lost */
export async function openSender(db: Db, keys: EncryptionKeys): Promise<Sender | undefined> {
  const agent = await sendingAgent(db);
  if (!agent) return undefined;
  const settings = settingsOf(agent, keys);
  return {
    name: agent.name,
    providers: agent.providers.map((name) => ({ name, settings: settings[name] ?? {} })),
  };
}

export function settingsOf({ id, settingsSealed }: AgentRow, keys: EncryptionKeys): SettingsByProvider {
  return JSON.parse(decrypt(settingsSealed, keys, aadOf(id))) as SettingsByProvider;
}

export function aadOf(id: string): string {
  return `agents/${id}`;
}

/** The settings of each provider, encrypted in the row. */
export type SettingsByProvider = Record<string, Record<string, string>>;
