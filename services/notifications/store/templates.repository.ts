import type { OwnTemplate, TemplateChannel, TemplateEvent } from "../../../contracts/templates.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";

/** Enough for every event and channel in more languages than an operator writes. */
export const OWN_TEMPLATES_MAX = 1_000;
const COLUMNS = "id, event, language, channel, title, body, enabled, version";

export interface TemplateRow
  extends Pick<OwnTemplate, "id" | "language" | "title" | "body" | "enabled" | "version"> {
  event: TemplateEvent;
  channel: TemplateChannel;
}

export async function allTemplates(db: Db): Promise<TemplateRow[]> {
  return rows<TemplateRow>(db, `SELECT ${COLUMNS} FROM templates ORDER BY event, language, channel LIMIT ?`, [
    OWN_TEMPLATES_MAX,
  ]);
}

/** @returns false when there is one for this event, language and channel, or when the maximum is reached */
export async function insertTemplate(db: Db, template: TemplateRow): Promise<boolean> {
  const count = await affected(
    db,
    `INSERT INTO templates (id, event, language, channel, title, body, enabled, version)
     SELECT :id::uuid, :event, :language, :channel, :title, :body, :enabled::boolean, :version::integer
     WHERE (SELECT count(*) FROM templates) < :max
     ON CONFLICT (event, language, channel) DO NOTHING`,
    { ...template, max: OWN_TEMPLATES_MAX },
  );
  return count === 1;
}

export async function hasCapacity(db: Db): Promise<boolean> {
  const counted = await row<{ count: number }>(db, "SELECT count(*) AS count FROM templates");
  return (counted?.count ?? 0) < OWN_TEMPLATES_MAX;
}

export async function lockTemplate(db: Db, id: string): Promise<TemplateRow | undefined> {
  return row<TemplateRow>(db, `SELECT ${COLUMNS} FROM templates WHERE id = ? FOR UPDATE`, [id]);
}

/** Replaces the previous version. @returns false when another change was faster */
export async function replaceTemplate(db: Db, template: TemplateRow): Promise<boolean> {
  const count = await affected(
    db,
    `UPDATE templates SET title = :title, body = :body, enabled = :enabled, version = :version, updated_at = now()
     WHERE id = :id AND version = :formerVersion`,
    { ...template, formerVersion: template.version - 1 },
  );
  return count === 1;
}
