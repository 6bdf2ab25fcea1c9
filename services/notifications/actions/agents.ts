import type { Params } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Agent } from "../../../contracts/notifications.ts";
import { isEmptyChange } from "../../../lib/changes.ts";
import { type EncryptionKeys, encrypt } from "../../../lib/encryption.ts";
import { newId } from "../../../lib/ids.ts";
import type { Db } from "../../../lib/sql/database.ts";
import type { PushProvider } from "../../../providers/push/index.ts";
import { aadOf, type SettingsByProvider, settingsOf } from "../store/agent-settings.ts";
import { insertAgent, lockAgent, replaceAgent } from "../store/agents.repository.ts";

type Providers = ReadonlyMap<string, PushProvider>;
type SettingsList = Params<"notifications.createAgent">["settings"];

export interface AgentDeps {
  push: Providers;
  keys: EncryptionKeys;
}

/** @throws VALIDATION_ERROR when a provider is not there or its settings are not what it needs */
export async function createAgent(
  trx: Db,
  { push, keys }: AgentDeps,
  { settings, ...fields }: Params<"notifications.createAgent">,
): Promise<Agent> {
  const id = newId();
  const byProvider = merged({}, settings);
  check(push, fields.providers, byProvider);
  const agent: Agent = { id, ...fields, version: 1 };
  await insertAgent(trx, {
    ...agent,
    settingsSealed: encrypt(JSON.stringify(byProvider), keys, aadOf(id)),
  });
  return agent;
}

/**
 * Settings that are given replace those of their provider; the others stay.
 * @throws NOT_FOUND, PRECONDITION_FAILED, VALIDATION_ERROR
 */
export async function updateAgent(
  trx: Db,
  { push, keys }: AgentDeps,
  { agentId, expectedVersion, settings = [], ...changes }: Params<"notifications.updateAgent">,
): Promise<Agent> {
  const known = await lockAgent(trx, agentId);
  if (!known) throw fail("NOT_FOUND", "There is no such agent.");
  if (expectedVersion !== undefined && expectedVersion !== known.version) throw fail("PRECONDITION_FAILED");
  const { settingsSealed, ...agent } = known;
  if (settings.length === 0 && isEmptyChange(changes)) return agent;
  const next: Agent = { ...agent, ...changes, version: known.version + 1 };
  const byProvider = merged(settingsOf(known, keys), settings);
  check(push, next.providers, byProvider);
  const sealed = encrypt(JSON.stringify(byProvider), keys, aadOf(agentId));
  if (!(await replaceAgent(trx, { ...next, settingsSealed: sealed }))) throw fail("PRECONDITION_FAILED");
  return next;
}

function check(push: Providers, wanted: readonly string[], settings: SettingsByProvider): void {
  for (const name of new Set([...wanted, ...Object.keys(settings)])) {
    const provider = push.get(name);
    if (!provider) throw invalidField("providers", "enum", `${name} is not available here.`);
    const given = settings[name];
    const problem = given || wanted.includes(name) ? provider.check(given ?? {}) : undefined;
    if (problem) throw invalidField("settings", name, `${name}: ${problem}.`);
  }
  if (new Set(wanted).size !== wanted.length) {
    throw invalidField("providers", "unique", "Each provider stands once.");
  }
}

function merged(known: SettingsByProvider, given: SettingsList): SettingsByProvider {
  return { ...known, ...Object.fromEntries(given.map(({ provider, values }) => [provider, values])) };
}
