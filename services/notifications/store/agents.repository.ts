import type { Agent } from "../../../contracts/notifications.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";

const AGENTS_MAX = 1_000;
const VIEW = "id, name, priority, providers, enabled, version";

export interface AgentRow extends Agent {
  settingsSealed: string;
}

export async function allAgents(db: Db): Promise<Agent[]> {
  return rows<Agent>(db, `SELECT ${VIEW} FROM agents ORDER BY priority, id LIMIT ?`, [AGENTS_MAX]);
}

/** The agent that sends: the enabled one with the lowest priority number; of several the oldest. */
export async function sendingAgent(db: Db): Promise<AgentRow | undefined> {
  return row<AgentRow>(
    db,
    `SELECT ${VIEW}, settings_sealed FROM agents WHERE enabled ORDER BY priority, id LIMIT 1`,
  );
}

export async function insertAgent(db: Db, agent: AgentRow): Promise<void> {
  await affected(
    db,
    `INSERT INTO agents (id, name, priority, providers, settings_sealed, enabled, version)
     VALUES (:id, :name, :priority, :providers, :settingsSealed, :enabled, :version)`,
    { ...agent },
  );
}

export async function lockAgent(db: Db, id: string): Promise<AgentRow | undefined> {
  return row<AgentRow>(db, `SELECT ${VIEW}, settings_sealed FROM agents WHERE id = ? FOR UPDATE`, [id]);
}

/** Replaces the previous version. @returns false when another change was faster */
export async function replaceAgent(db: Db, agent: AgentRow): Promise<boolean> {
  const count = await affected(
    db,
    `UPDATE agents SET name = :name, priority = :priority, providers = :providers,
       settings_sealed = :settingsSealed, enabled = :enabled, version = :version, updated_at = now()
     WHERE id = :id AND version = :formerVersion`,
    { ...agent, formerVersion: agent.version - 1 },
  );
  return count === 1;
}
