import type { MessageData } from "../../../contracts/messages.ts";
import type { OperatorRole, Role } from "../../../contracts/meta.ts";
import type { Preferences } from "../../../contracts/notifications.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";

/** A user as in the latest message of identity. */
export interface Recipient {
  userId: string;
  email: string;
  firstName: string;
  language: string;
  role: Role;
}

const OPERATORS_MAX = 100;
/** How many of a partner's staff are notified of an order. */
export const STAFF_MAX = 50;
const COLUMNS = "user_id, email, first_name, language, role";

/** Saves the user of an identity message, unless a newer version is stored. @returns whether it was saved */
export async function saveRecipient(db: Db, user: MessageData<"user.registered">): Promise<boolean> {
  const count = await affected(
    db,
    `INSERT INTO recipients AS known (user_id, version, email, first_name, language, role, suspended, partner_id)
     VALUES (:userId, :version, :email, :firstName, :language, :role, :suspended, :partnerId)
     ON CONFLICT (user_id) DO UPDATE
       SET version = excluded.version, email = excluded.email, first_name = excluded.first_name,
           language = excluded.language, role = excluded.role, suspended = excluded.suspended,
           partner_id = excluded.partner_id, updated_at = now()
       WHERE known.version < excluded.version AND known.deleted_at IS NULL`,
    { ...user, suspended: user.suspended ?? false, partnerId: user.partnerId ?? null },
  );
  return count === 1;
}

/**
 * Erases a user. A row without personal data remains, so that older messages do not restore the user. Locks preferences,
 * notifications, their deferrals and devices in this order, as every other transaction does.
 */
export async function eraseRecipient(db: Db, userId: string, version: number): Promise<void> {
  await affected(
    db,
    `INSERT INTO recipients (user_id, version, deleted_at) VALUES (?, ?, now())
     ON CONFLICT (user_id) DO UPDATE
       SET version = greatest(recipients.version, excluded.version), deleted_at = now(),
           email = NULL, first_name = NULL, language = NULL, role = NULL, partner_id = NULL, updated_at = now()`,
    [userId, version],
  );
  await affected(db, "DELETE FROM preferences WHERE user_id = ?", [userId]);
  await affected(
    db,
    `WITH locked AS MATERIALIZED (
       SELECT id FROM notifications WHERE user_id = :userId ORDER BY id FOR UPDATE),
     deferrals AS MATERIALIZED (
       SELECT h.notification_id FROM locked JOIN held_notifications h ON h.notification_id = locked.id
       ORDER BY h.notification_id FOR UPDATE OF h)
     DELETE FROM notifications WHERE user_id = :userId AND (SELECT count(*) FROM deferrals) >= 0`,
    { userId },
  );
  await affected(
    db,
    `DELETE FROM devices WHERE id = ANY (ARRAY(
       SELECT id FROM devices WHERE user_id = ? ORDER BY id FOR UPDATE))`,
    [userId],
  );
  await affected(db, "DELETE FROM ended_sessions WHERE user_id = ?", [userId]);
}

export async function recipientsOf(db: Db, userIds: readonly string[]): Promise<Map<string, Recipient>> {
  const found = await rows<Recipient>(
    db,
    `SELECT ${COLUMNS} FROM recipients WHERE user_id = ANY(?::uuid[]) AND deleted_at IS NULL`,
    [userIds],
  );
  return new Map(found.map((recipient) => [recipient.userId, recipient]));
}

/**
 * These users, and the staff of a partner that are not suspended, at most 50. One statement.
 * @param partnerId absent: no staff
 */
export async function recipientsWithStaff(
  db: Db,
  userIds: readonly string[],
  partnerId: string | undefined,
): Promise<{ people: Map<string, Recipient>; staff: string[] }> {
  const found = await rows<Recipient & { isStaff: boolean }>(
    db,
    `SELECT ${COLUMNS}, false AS is_staff FROM recipients
     WHERE user_id = ANY(:userIds::uuid[]) AND deleted_at IS NULL
     UNION ALL
     (SELECT ${COLUMNS}, true AS is_staff FROM recipients
      WHERE partner_id = :partnerId::uuid AND NOT suspended ORDER BY user_id LIMIT ${STAFF_MAX})`,
    { userIds, partnerId: partnerId ?? null },
  );
  return {
    people: new Map(found.map(({ isStaff: _, ...recipient }) => [recipient.userId, recipient])),
    staff: found.flatMap(({ isStaff, userId }) => (isStaff ? [userId] : [])),
  };
}

/** The operators with these roles that are not suspended, at most 100. */
export async function listOperators(db: Db, roles: readonly OperatorRole[]): Promise<Recipient[]> {
  return rows<Recipient>(
    db,
    `SELECT ${COLUMNS} FROM recipients
     WHERE role IN ('support', 'finance', 'admin') AND role = ANY(?::text[]) AND NOT suspended
     ORDER BY user_id LIMIT ?`,
    [roles, OPERATORS_MAX],
  );
}

export async function isErased(db: Db, userId: string): Promise<boolean> {
  const found = await row(
    db,
    "SELECT 1 AS one FROM recipients WHERE user_id = ? AND deleted_at IS NOT NULL",
    [userId],
  );
  return found !== undefined;
}

export interface PreferencesRow extends Partial<Pick<Preferences, "push" | "email">> {
  quietFromMinute?: number;
  quietUntilMinute?: number;
  quietTimeZone?: string;
}

/** Default: both channels, without quiet hours. */
export async function preferencesOf(db: Db, userId: string): Promise<Preferences> {
  const chosen = await row<PreferencesRow>(
    db,
    `SELECT push, email, quiet_from_minute, quiet_until_minute, quiet_time_zone
     FROM preferences WHERE user_id = ?`,
    [userId],
  );
  return preferencesFrom(chosen);
}

/** @param chosen without values, or undefined, when the user has chosen nothing */
export function preferencesFrom(chosen: PreferencesRow = {}): Preferences {
  const { push = true, email = true, quietFromMinute, quietUntilMinute, quietTimeZone } = chosen;
  if (quietFromMinute === undefined || quietUntilMinute === undefined || quietTimeZone === undefined) {
    return { push, email };
  }
  const quietHours = {
    fromMinute: quietFromMinute,
    untilMinute: quietUntilMinute,
    timeZone: quietTimeZone,
  };
  return { push, email, quietHours };
}

export async function savePreferences(
  db: Db,
  userId: string,
  { push, email, quietHours }: Preferences,
): Promise<void> {
  await affected(
    db,
    `INSERT INTO preferences (user_id, push, email, quiet_from_minute, quiet_until_minute, quiet_time_zone)
     VALUES (:userId, :push, :email, :quietFromMinute, :quietUntilMinute, :quietTimeZone)
     ON CONFLICT (user_id) DO UPDATE
       SET push = excluded.push, email = excluded.email, quiet_from_minute = excluded.quiet_from_minute,
           quiet_until_minute = excluded.quiet_until_minute, quiet_time_zone = excluded.quiet_time_zone,
           updated_at = now()`,
    {
      ...{ userId, push, email },
      quietFromMinute: quietHours?.fromMinute ?? null,
      quietUntilMinute: quietHours?.untilMinute ?? null,
      quietTimeZone: quietHours?.timeZone ?? null,
    },
  );
}
