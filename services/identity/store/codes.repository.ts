import { affected, type Db, row } from "../../../lib/sql/database.ts";

export const purposes = ["confirm-email", "change-email", "reset-password"] as const;
export type Purpose = (typeof purposes)[number];

/** Whose code it is. */
export interface CodeOf {
  purpose: Purpose;
  /** A digest of the address that it is sent to, or the id of the user who changes it. */
  address: string;
  /** The requester of the code: see `requesterOf` in limits.ts. */
  requester: string;
}

export interface NewCode extends CodeOf {
  subject: string;
  codeHash: string;
  lifeSeconds: number;
  /** The registration that the code confirms, and how long it is kept. */
  registration?: { sealed: string; keptSeconds: number } | undefined;
}

const LIVE = "expires_at > now() AND coalesce(valid_until, expires_at) > now()";

/** The requester's only live code for this purpose and address; an earlier one is worth nothing from now on. */
export async function saveCode(db: Db, code: NewCode): Promise<void> {
  const { registration, lifeSeconds } = code;
  await affected(
    db,
    `INSERT INTO verification_codes
       (purpose, subject, address, requester, code_hash, valid_until, expires_at, registration_sealed)
     VALUES (?, ?, ?, ?, ?, now() + ? * interval '1 second', now() + ? * interval '1 second', ?)
     ON CONFLICT (purpose, subject) DO UPDATE
       SET code_hash = excluded.code_hash, valid_until = excluded.valid_until, expires_at = excluded.expires_at,
           registration_sealed = excluded.registration_sealed, tries = 0, updated_at = now()`,
    [
      code.purpose,
      code.subject,
      code.address,
      code.requester,
      code.codeHash,
      lifeSeconds,
      registration?.keptSeconds ?? lifeSeconds,
      registration?.sealed ?? null,
    ],
  );
}

/** The code that a try is compared with. */
export interface TriedCode {
  subject: string;
  codeHash: string;
  registrationSealed?: string;
}

/**
 * Counts a try and tells what the code would have to be: the requester's own code, else the only live one of the
 * address. Tries of others are not counted here, so that they use up nobody's code; limits.ts counts them.
 * @returns undefined when there is none or it was tried out
 */
export async function tryCode(
  db: Db,
  { purpose, address, requester }: CodeOf,
  maxTries: number,
): Promise<TriedCode | undefined> {
  return row<TriedCode>(
    db,
    `WITH live AS (
       SELECT subject, requester = ? AS own FROM verification_codes
       WHERE purpose = ? AND address = ? AND ${LIVE}
     ), chosen AS (
       SELECT subject, own FROM live WHERE own OR (SELECT count(*) FROM live) = 1 ORDER BY own DESC LIMIT 1
     )
     UPDATE verification_codes AS code SET tries = tries + CASE WHEN own THEN 1 ELSE 0 END, updated_at = now()
     FROM chosen
     WHERE code.purpose = ? AND code.subject = chosen.subject AND tries < ? AND ${LIVE}
     RETURNING code.subject, code_hash, registration_sealed`,
    [requester, purpose, address, purpose, maxTries],
  );
}

/** Whether the requester asked for a code that is live. */
export async function hasOwnCode(db: Db, { purpose, address, requester }: CodeOf): Promise<boolean> {
  const found = await row(
    db,
    `SELECT FROM verification_codes WHERE purpose = ? AND address = ? AND requester = ? AND ${LIVE} LIMIT 1`,
    [purpose, address, requester],
  );
  return found !== undefined;
}

/**
 * The code that a requester may renew: their own, else the only one of the address once it is no longer live.
 * A request never replaces the live code of another requester.
 */
export async function renewableCode(
  db: Db,
  { purpose, address, requester }: CodeOf,
): Promise<string | undefined> {
  const found = await row<{ subject: string }>(
    db,
    `WITH kept AS (
       SELECT subject, requester = ? AS own, (${LIVE}) AS live FROM verification_codes
       WHERE purpose = ? AND address = ? AND expires_at > now()
     )
     SELECT subject FROM kept WHERE own OR (NOT live AND (SELECT count(*) FROM kept) = 1)
     ORDER BY own DESC LIMIT 1`,
    [requester, purpose, address],
  );
  return found?.subject;
}

/** Puts a new code in the place of one; what it confirms stays. */
export async function renewCode(
  db: Db,
  {
    purpose,
    subject,
    codeHash,
    lifeSeconds,
  }: Pick<NewCode, "purpose" | "subject" | "codeHash" | "lifeSeconds">,
): Promise<void> {
  await affected(
    db,
    `UPDATE verification_codes
     SET code_hash = ?, valid_until = now() + ? * interval '1 second', tries = 0, updated_at = now()
     WHERE purpose = ? AND subject = ? AND expires_at > now()`,
    [codeHash, lifeSeconds, purpose, subject],
  );
}

/** Uses the code up; what it confirms stays for another code. @returns false when another use was faster */
export async function useCode(db: Db, purpose: Purpose, subject: string, codeHash: string): Promise<boolean> {
  const count = await affected(
    db,
    `UPDATE verification_codes SET valid_until = 'epoch', updated_at = now()
     WHERE purpose = ? AND subject = ? AND code_hash = ? AND ${LIVE}`,
    [purpose, subject, codeHash],
  );
  return count === 1;
}

/** Forgets a code and what it confirms. */
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
