import type { OwnTemplate, TemplateChannel, TemplateEvent } from "../../../contracts/templates.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";

/** What is told to whom has some dozens of events; so many languages no operator writes. */
export const OWN_TEMPLATES_MAX = 1_000;
const COLUMNS = "id, event, language, channel, title, body, enabled, version";

export interface TemplateRow
  extends Pick<OwnTemplate, "id" | "language" | "title" | "body" | "enabled" | "version"> {
  event: TemplateEvent;
  channel: TemplateChannel;
}

export async function listTemplates(db: Db): Promise<TemplateRow[]> {
  return rows<TemplateRow>(db, `SELECT ${COLUMNS} FROM templates ORDER BY event, language, channel LIMIT ?`, [
    OWN_TEMPLATES_MAX,
  ]);
}

/** @returns false when there is one for this event, language and channel, or no room for any more */
export async function insertTemplate(db: Db, template: TemplateRow): Promise<boolean> {
  const { id, event, language, channel, title, body, enabled, version } = template;
  const count = await affected(
    db,
    `INSERT INTO templates (id, event, language, channel, title, body, enabled, version)
     SELECT ?::uuid, ?, ?, ?, ?, ?, ?::boolean, ?::integer WHERE (SELECT count(*) FROM templates) < ?
     ON CONFLICT (event, language, channel) DO NOTHING`,
    [id, event, language, channel, title, body, enabled, version, OWN_TEMPLATES_MAX],
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

/** Writes the next version over the one before it. @returns whether that was still the one there */
export async function replaceTemplate(db: Db, template: TemplateRow): Promise<boolean> {
  const { id, title, body, enabled, version } = template;
  const count = await affected(
    db,
    `UPDATE templates SET title = ?, body = ?, enabled = ?, version = ?, updated_at = now()
     WHERE id = ? AND version = ?`,
    [title, body, enabled, version, id, version - 1],
  );
  return count === 1;
}
