import { affected, type Db, row } from "../../mixins/postgres/database.ts";

export const purposes = ["confirm-email", "change-email", "reset-password"] as const;
export type Purpose = (typeof purposes)[number];

/** The only live code for this purpose and subject; an earlier one is worth nothing from now on. */
export async function saveCode(
  db: Db,
  code: { purpose: Purpose; subject: string; codeHash: string; lifeSeconds: number },
): Promise<void> {
  await affected(
    db,
    `INSERT INTO verification_codes (purpose, subject, code_hash, expires_at)
     VALUES (?, ?, ?, now() + ? * interval '1 second')
     ON CONFLICT (purpose, subject) DO UPDATE
       SET code_hash = excluded.code_hash, expires_at = excluded.expires_at, tries = 0, updated_at = now()`,
    [code.purpose, code.subject, code.codeHash, code.lifeSeconds],
  );
}

/** Counts a try and tells what the code would have to be; undefined when there is none or it was tried out. */
export async function tryCode(
  db: Db,
  purpose: Purpose,
  subject: string,
  maxTries: number,
): Promise<string | undefined> {
  const found = await row<{ codeHash: string }>(
    db,
    `UPDATE verification_codes SET tries = tries + 1, updated_at = now()
     WHERE purpose = ? AND subject = ? AND tries < ? AND expires_at > now() RETURNING code_hash`,
    [purpose, subject, maxTries],
  );
  return found?.codeHash;
}

/** Uses the code up. @returns false when another use was faster */
export async function deleteCode(
  db: Db,
  purpose: Purpose,
  subject: string,
  codeHash: string,
): Promise<boolean> {
  const count = await affected(
    db,
    "DELETE FROM verification_codes WHERE purpose = ? AND subject = ? AND code_hash = ?",
    [purpose, subject, codeHash],
  );
  return count === 1;
}

/** Makes whatever code there is worth nothing. */
export async function dropCode(db: Db, purpose: Purpose, subject: string): Promise<void> {
  await affected(db, "DELETE FROM verification_codes WHERE purpose = ? AND subject = ?", [purpose, subject]);
}

/** Forgets up to `limit` codes that have expired. @returns how many */
export async function sweepCodes(db: Db, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM verification_codes WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM verification_codes WHERE expires_at < now()
       ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [limit],
  );
}
