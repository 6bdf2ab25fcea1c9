import type { Params } from "../../contracts/actions.ts";
import { fail, invalidField } from "../../contracts/errors.ts";
import type { Agent } from "../../contracts/notifications.ts";
import { isEmptyChange } from "../../lib/changes.ts";
import { newId } from "../../lib/ids.ts";
import { open, type SealKeys, seal } from "../../lib/seal.ts";
import type { Db } from "../../mixins/postgres/database.ts";
import type { PushProvider } from "../../providers/push/index.ts";
import { type AgentRow, insertAgent, lockAgent, replaceAgent, sendingAgent } from "./agents.repository.ts";
import type { Sender } from "./delivery.ts";

type Providers = ReadonlyMap<string, PushProvider>;
type SettingsList = Params<"notifications.createAgent">["settings"];
/** By provider; what stands sealed in the row. */
type SettingsByProvider = Record<string, Record<string, string>>;

export interface AgentDeps {
  push: Providers;
  keys: SealKeys;
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
  await insertAgent(trx, { ...agent, settingsSealed: seal(JSON.stringify(byProvider), keys, placeOf(id)) });
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
  const sealed = seal(JSON.stringify(byProvider), keys, placeOf(agentId));
  if (!(await replaceAgent(trx, { ...next, settingsSealed: sealed }))) throw fail("PRECONDITION_FAILED");
  return next;
}

/** The agent that sends now, with its settings opened. @throws SealError when they were sealed by a lost secret */
export async function openSender(db: Db, keys: SealKeys): Promise<Sender | undefined> {
  const agent = await sendingAgent(db);
  if (!agent) return undefined;
  const settings = settingsOf(agent, keys);
  return {
    name: agent.name,
    providers: agent.providers.map((name) => ({ name, settings: settings[name] ?? {} })),
  };
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

function settingsOf({ id, settingsSealed }: AgentRow, keys: SealKeys): SettingsByProvider {
  return JSON.parse(open(settingsSealed, keys, placeOf(id))) as SettingsByProvider;
}

function placeOf(id: string): string {
  return `agents/${id}`;
}
