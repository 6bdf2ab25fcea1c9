import type { Params, Result } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import type { Agent } from "../../../contracts/notifications.ts";
import { isEmptyChange } from "../../../lib/changes.ts";
import { DecryptionError, type EncryptionKeys, encrypt } from "../../../lib/encryption.ts";
import { newId } from "../../../lib/ids.ts";
import type { Db } from "../../../lib/sql/database.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { audit, fieldsOf } from "../../../mixins/outbox/audit.ts";
import type { Outbox } from "../../../mixins/outbox/outbox.mixin.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type { PushProvider } from "../../../providers/push/index.ts";
import {
  type AgentRow,
  allAgents,
  insertAgent,
  lockAgent,
  replaceAgent,
} from "../store/agents.repository.ts";
import { aadOf, type SettingsByProvider, settingsOf } from "../use-cases/agent-settings.ts";

type Providers = ReadonlyMap<string, PushProvider>;
type SettingsList = Params<"notifications.createAgent">["settings"];

export interface AgentDeps {
  postgres: Postgres;
  outbox: Pick<Outbox, "add">;
  push: Providers;
  keys: EncryptionKeys;
}

export async function listAgents(
  { postgres }: AgentDeps,
  ctx: Ctx<unknown>,
): Promise<Result<"notifications.agents">> {
  callerOf(ctx, "admin");
  return { items: await allAgents(postgres.db) };
}

/** @throws VALIDATION_ERROR for an unknown provider or settings that it refuses */
export async function createAgent(
  deps: AgentDeps,
  ctx: Ctx<Params<"notifications.createAgent">>,
): Promise<Agent> {
  callerOf(ctx, "admin");
  return await idempotent(deps.postgres, ctx, "agents.create", async (trx) => {
    const agent = await insertNew(trx, deps, ctx.params);
    await audit(deps.outbox, trx, ctx, agent.id);
    return agent;
  });
}

/**
 * Given settings replace those of their provider; the settings of other providers stay.
 * @throws NOT_FOUND, PRECONDITION_FAILED, VALIDATION_ERROR
 */
export async function updateAgent(
  deps: AgentDeps,
  ctx: Ctx<Params<"notifications.updateAgent">>,
): Promise<Agent> {
  callerOf(ctx, "admin");
  return await deps.postgres.transact(async (trx) => {
    const agent = await change(trx, deps, ctx.params);
    await audit(deps.outbox, trx, ctx, agent.id, fieldsOf(ctx.params));
    return agent;
  });
}

async function insertNew(
  trx: Db,
  { push, keys }: AgentDeps,
  { settings, ...fields }: Params<"notifications.createAgent">,
): Promise<Agent> {
  const id = newId();
  const byProvider = merged({}, settings);
  validateSettings(push, fields.providers, byProvider);
  const agent: Agent = { id, ...fields, version: 1 };
  await insertAgent(trx, {
    ...agent,
    settingsSealed: encrypt(JSON.stringify(byProvider), keys, aadOf(id)),
  });
  return agent;
}

async function change(
  trx: Db,
  { push, keys }: AgentDeps,
  { agentId, expectedVersion, settings = [], ...changes }: Params<"notifications.updateAgent">,
): Promise<Agent> {
  const known = await lockAgent(trx, agentId);
  if (!known) throw fail("NOT_FOUND", "There is no such agent.");
  if (expectedVersion !== undefined && expectedVersion !== known.version) throw fail("PRECONDITION_FAILED");
  const { settingsSealed: _, ...agent } = known;
  if (settings.length === 0 && isEmptyChange(changes)) return agent;
  const next: Agent = { ...agent, ...changes, version: known.version + 1 };
  const byProvider = merged(readableSettings(known, keys), settings);
  validateSettings(push, next.providers, byProvider);
  const settingsSealed = encrypt(JSON.stringify(byProvider), keys, aadOf(agentId));
  if (!(await replaceAgent(trx, { ...next, settingsSealed }))) throw fail("PRECONDITION_FAILED");
  return next;
}

function validateSettings(push: Providers, wanted: readonly string[], settings: SettingsByProvider): void {
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

/** None when the secret that encrypted them is lost: then the operator has to enter those of every provider again. */
function readableSettings(agent: AgentRow, keys: EncryptionKeys): SettingsByProvider {
  try {
    return settingsOf(agent, keys);
  } catch (error) {
    if (error instanceof DecryptionError) return {};
    throw error;
  }
}

function merged(known: SettingsByProvider, given: SettingsList): SettingsByProvider {
  return { ...known, ...Object.fromEntries(given.map(({ provider, values }) => [provider, values])) };
}
