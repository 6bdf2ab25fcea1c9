import { affected, type Db, row } from "../../../lib/sql/database.ts";

export const purposes = ["confirm-email", "change-email", "reset-password"] as const;
export type Purpose = (typeof purposes)[number];

/** Identifies a code: one per purpose, address and requester. */
export interface CodeKey {
  purpose: Purpose;
  /** A digest of the address that it is sent to, or for a change of address the id of the user. */
  address: string;
  /** The requester of the code: see `requesterOf` in limits.ts. */
  requester: string;
}

export interface NewCode extends CodeKey {
  subject: string;
  codeHash: string;
  lifeSeconds: number;
  /** The registration that the code confirms, and how long it is kept. */
  registration?: { encrypted: string; retentionSeconds: number } | undefined;
}

const LIVE = "expires_at > now() AND coalesce(valid_until, expires_at) > now()";

/** Saves the requester's code for this purpose and address. It replaces an earlier one. */
export async function saveCode(db: Db, code: NewCode): Promise<void> {
  const { registration, lifeSeconds } = code;
  await affected(
    db,
    `INSERT INTO verification_codes
       (purpose, subject, address, requester, code_hash, valid_until, expires_at, registration_sealed)
     VALUES (:purpose, :subject, :address, :requester, :codeHash, now() + :lifeSeconds * interval '1 second',
       now() + :retentionSeconds * interval '1 second', :registrationSealed)
     ON CONFLICT (purpose, subject) DO UPDATE
       SET code_hash = excluded.code_hash, valid_until = excluded.valid_until, expires_at = excluded.expires_at,
           registration_sealed = excluded.registration_sealed, tries = 0, updated_at = now()`,
    {
      purpose: code.purpose,
      subject: code.subject,
      address: code.address,
      requester: code.requester,
      codeHash: code.codeHash,
      lifeSeconds,
      retentionSeconds: registration?.retentionSeconds ?? lifeSeconds,
      registrationSealed: registration?.encrypted ?? null,
    },
  );
}

/** The stored code that an entered one is compared with. */
export interface TriedCode {
  subject: string;
  codeHash: string;
  registrationSealed?: string;
}

/**
 * Counts a try and returns the expected code: the requester's own, otherwise the only live one of the address. Tries of
 * other requesters are not counted here, so that they cannot use up the code; limits.ts counts them.
 * @returns undefined when there is none or its tries are used up
 */
export async function tryCode(
  db: Db,
  { purpose, address, requester }: CodeKey,
  maxTries: number,
): Promise<TriedCode | undefined> {
  return row<TriedCode>(
    db,
    `WITH live AS (
       SELECT subject, requester = :requester AS own FROM verification_codes
       WHERE purpose = :purpose AND address = :address AND ${LIVE}
     ), chosen AS (
       SELECT subject, own FROM live WHERE own OR (SELECT count(*) FROM live) = 1 ORDER BY own DESC LIMIT 1
     )
     UPDATE verification_codes AS code SET tries = tries + CASE WHEN own THEN 1 ELSE 0 END, updated_at = now()
     FROM chosen
     WHERE code.purpose = :purpose AND code.subject = chosen.subject AND tries < :maxTries AND ${LIVE}
     RETURNING code.subject, code_hash, registration_sealed`,
    { purpose, address, requester, maxTries },
  );
}

/** Whether the requester has a live code. */
export async function hasOwnCode(db: Db, { purpose, address, requester }: CodeKey): Promise<boolean> {
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
  { purpose, address, requester }: CodeKey,
): Promise<string | undefined> {
  const found = await row<{ subject: string }>(
    db,
    `WITH stored AS (
       SELECT subject, requester = ? AS own, (${LIVE}) AS live FROM verification_codes
       WHERE purpose = ? AND address = ? AND expires_at > now()
     )
     SELECT subject FROM stored WHERE own OR (NOT live AND (SELECT count(*) FROM stored) = 1)
     ORDER BY own DESC LIMIT 1`,
    [requester, purpose, address],
  );
  return found?.subject;
}

/** Replaces the code and keeps the registration that it confirms. */
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

/** Uses the code up and keeps the registration for another code. @returns false when it was used meanwhile */
export async function useCode(db: Db, purpose: Purpose, subject: string, codeHash: string): Promise<boolean> {
  const count = await affected(
    db,
    `UPDATE verification_codes SET valid_until = 'epoch', updated_at = now()
     WHERE purpose = ? AND subject = ? AND code_hash = ? AND ${LIVE}`,
    [purpose, subject, codeHash],
  );
  return count === 1;
}

/** Deletes a code and the registration that it confirms. */
export async function deleteCode(db: Db, purpose: Purpose, subject: string): Promise<void> {
  await affected(db, "DELETE FROM verification_codes WHERE purpose = ? AND subject = ?", [purpose, subject]);
}

/** Deletes up to `limit` expired codes. @returns how many */
export async function sweepCodes(db: Db, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM verification_codes WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM verification_codes WHERE expires_at < now()
       ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [limit],
  );
}
