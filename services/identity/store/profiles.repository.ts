import type { pushToken } from "../../../contracts/identity.ts";
import type { Infer } from "../../../contracts/schema.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import type { Grant } from "../../../providers/identity/index.ts";

export type PushToken = Infer<typeof pushToken>;

export interface Person {
  firstName: string;
  /** Empty for a person without a last name. */
  lastName: string;
  phone?: string | undefined;
  birthDate?: string | undefined;
  language: string;
}

export interface ProfileRow extends Person, Grant {
  id: string;
  email: string;
  emailConfirmed: boolean;
  pendingEmail?: string;
  partnerAdmin: boolean;
  hasAvatar: boolean;
  avatarVersion: number;
  pushToken?: PushToken;
  suspendedAt?: string;
  suspensionReason?: string;
  version: number;
  createdAt: string;
}

export const PROFILE = `id, email, email_confirmed, pending_email, first_name, last_name, phone,
  to_char(birth_date, 'YYYY-MM-DD') AS birth_date, language, role, partner_id, partner_admin, has_avatar,
  avatar_version, push_token, suspended_at, suspension_reason, version, created_at`;

export async function profileById(db: Db, id: string): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(db, `SELECT ${PROFILE} FROM profiles WHERE id = ?`, [id]);
}

/** The profiles that exist, in any order. */
export async function profilesById(db: Db, ids: readonly string[]): Promise<ProfileRow[]> {
  return rows<ProfileRow>(db, `SELECT ${PROFILE} FROM profiles WHERE id = ANY(?::uuid[])`, [ids]);
}

export async function profileByEmail(db: Db, email: string): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(db, `SELECT ${PROFILE} FROM profiles WHERE email = ?`, [email]);
}

export interface NewProfile extends Omit<Person, "lastName"> {
  lastName?: string | undefined;
  id: string;
  email: string;
  emailConfirmed: boolean;
  grant: Grant;
  pushToken?: PushToken | undefined;
}

/**
 * Saves the profile of a registration and replaces an earlier unconfirmed one. Both cases run the same statements, so
 * that the response time does not reveal which one happened.
 * @returns undefined when the id or the address belongs to a profile that was confirmed
 */
export async function saveNewProfile(db: Db, profile: NewProfile): Promise<ProfileRow | undefined> {
  const { id, email, emailConfirmed, grant, pushToken } = profile;
  const values = {
    ...{ id, email, emailConfirmed },
    firstName: profile.firstName,
    lastName: profile.lastName ?? "",
    phone: profile.phone ?? null,
    birthDate: profile.birthDate ?? null,
    language: profile.language,
    role: grant.role,
    partnerId: grant.partnerId ?? null,
    partnerAdmin: grant.partnerAdmin ?? false,
    pushToken: pushToken ? JSON.stringify(pushToken) : null,
  };
  const replaced = await row<ProfileRow>(
    db,
    `UPDATE profiles SET email_confirmed = :emailConfirmed, first_name = :firstName, last_name = :lastName,
       phone = :phone, birth_date = :birthDate, language = :language, role = :role, partner_id = :partnerId,
       partner_admin = :partnerAdmin, push_token = :pushToken,
       version = version + :emailConfirmed::boolean::integer, updated_at = now()
     WHERE id = :id AND email = :email AND NOT email_confirmed RETURNING ${PROFILE}`,
    values,
  );
  const made = await row<ProfileRow>(
    db,
    `INSERT INTO profiles (email_confirmed, first_name, last_name, phone, birth_date, language, role, partner_id,
       partner_admin, push_token, id, email)
     VALUES (:emailConfirmed, :firstName, :lastName, :phone, :birthDate, :language, :role, :partnerId,
       :partnerAdmin, :pushToken, :id, :email)
     ON CONFLICT DO NOTHING RETURNING ${PROFILE}`,
    values,
  );
  return replaced ?? made;
}

/** Marks the address as confirmed. @returns undefined when it was already */
export async function confirmProfile(db: Db, id: string): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(
    db,
    `UPDATE profiles SET email_confirmed = true, version = version + 1, updated_at = now()
     WHERE id = ? AND NOT email_confirmed RETURNING ${PROFILE}`,
    [id],
  );
}

/** Takes the push token of the registration off the profile. @returns undefined when it was taken before */
export async function takePushToken(db: Db, id: string): Promise<ProfileRow | undefined> {
  const before = await row<ProfileRow>(
    db,
    `SELECT ${PROFILE} FROM profiles WHERE id = ? AND push_token IS NOT NULL FOR UPDATE`,
    [id],
  );
  if (before)
    await affected(db, "UPDATE profiles SET push_token = NULL, updated_at = now() WHERE id = ?", [id]);
  return before;
}

/** Null removes an optional field. */
export interface Changes extends Partial<Omit<Person, "lastName" | "phone" | "birthDate">> {
  lastName?: string | null | undefined;
  phone?: string | null | undefined;
  birthDate?: string | null | undefined;
  pendingEmail?: string | undefined;
}

/** Changes only the given fields. @returns undefined when the profile is gone or has another version */
export async function updateProfileRow(
  db: Db,
  id: string,
  changes: Changes,
  expectedVersion?: number,
): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(
    db,
    `UPDATE profiles SET first_name = coalesce(:firstName, first_name), last_name = coalesce(:lastName, last_name),
       phone = CASE WHEN :removePhone THEN NULL ELSE coalesce(:phone, phone) END,
       birth_date = CASE WHEN :removeBirthDate THEN NULL ELSE coalesce(:birthDate, birth_date) END,
       language = coalesce(:language, language), pending_email = coalesce(:pendingEmail, pending_email),
       version = version + 1, updated_at = now()
     WHERE id = :id AND version = coalesce(:expectedVersion, version) RETURNING ${PROFILE}`,
    {
      id,
      firstName: changes.firstName ?? null,
      lastName: changes.lastName === null ? "" : (changes.lastName ?? null),
      removePhone: changes.phone === null,
      phone: changes.phone ?? null,
      removeBirthDate: changes.birthDate === null,
      birthDate: changes.birthDate ?? null,
      language: changes.language ?? null,
      pendingEmail: changes.pendingEmail ?? null,
      expectedVersion: expectedVersion ?? null,
    },
  );
}

/** Makes the pending address the profile's own. @returns undefined when it is no longer the pending one */
export async function applyPendingEmail(db: Db, id: string, email: string): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(
    db,
    `UPDATE profiles SET email = pending_email, pending_email = NULL, version = version + 1, updated_at = now()
     WHERE id = ? AND pending_email = ? RETURNING ${PROFILE}`,
    [id, email],
  );
}

/** Restores the former address and removes a pending one. */
export async function restoreEmail(db: Db, id: string, email: string): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(
    db,
    `UPDATE profiles SET email = ?, pending_email = NULL, version = version + 1, updated_at = now()
     WHERE id = ? RETURNING ${PROFILE}`,
    [email, id],
  );
}

/** Replaces the grant if it is still `from`. @returns undefined when it changed meanwhile */
export async function setProfileGrant(
  db: Db,
  id: string,
  from: Grant,
  to: Grant,
): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(
    db,
    `UPDATE profiles SET role = :role, partner_id = :partnerId, partner_admin = :partnerAdmin,
       version = version + 1, updated_at = now()
     WHERE id = :id AND role = :formerRole AND partner_id IS NOT DISTINCT FROM :formerPartnerId::uuid
       AND partner_admin = :formerPartnerAdmin
     RETURNING ${PROFILE}`,
    {
      id,
      role: to.role,
      partnerId: to.partnerId ?? null,
      partnerAdmin: to.partnerAdmin ?? false,
      formerRole: from.role,
      formerPartnerId: from.partnerId ?? null,
      formerPartnerAdmin: from.partnerAdmin ?? false,
    },
  );
}

/** @returns undefined when the user is gone or suspended already */
export async function suspendProfile(db: Db, id: string, reason: string): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(
    db,
    `UPDATE profiles SET suspended_at = now(), suspension_reason = :reason, version = version + 1, updated_at = now()
     WHERE id = :id AND suspended_at IS NULL RETURNING ${PROFILE}`,
    { id, reason },
  );
}

/** @returns undefined when the user is gone or not suspended */
export async function restoreProfile(db: Db, id: string): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(
    db,
    `UPDATE profiles SET suspended_at = NULL, suspension_reason = NULL, version = version + 1, updated_at = now()
     WHERE id = ? AND suspended_at IS NOT NULL RETURNING ${PROFILE}`,
    [id],
  );
}

/** A member of staff who shall become an admin of the partner. */
export interface PendingGrant {
  userId: string;
  partnerId: string;
}

export async function pendingGrants(db: Db, limit: number): Promise<PendingGrant[]> {
  return rows<PendingGrant>(db, "SELECT user_id, partner_id FROM pending_grants ORDER BY user_id LIMIT ?", [
    limit,
  ]);
}

export async function deletePendingGrant(db: Db, userId: string): Promise<void> {
  await affected(db, "DELETE FROM pending_grants WHERE user_id = ?", [userId]);
}

/** Each new picture gets a new version number, also after a removal, so that no cache shows an old picture. */
export async function setAvatarRow(db: Db, id: string, present: boolean): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(
    db,
    `UPDATE profiles SET has_avatar = ?, avatar_version = avatar_version + ?::integer,
       version = version + 1, updated_at = now()
     WHERE id = ? RETURNING ${PROFILE}`,
    [present, present ? 1 : 0, id],
  );
}

/** @returns the last version of the profile; undefined when there is none */
export async function deleteProfileRow(db: Db, id: string): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(db, `DELETE FROM profiles WHERE id = ? RETURNING ${PROFILE}`, [id]);
}

/**
 * The same for an unconfirmed profile.
 * @param olderThanDays only if the profile did not change for this time. Default: 0
 */
export async function deleteUnconfirmedRow(
  db: Db,
  id: string,
  olderThanDays = 0,
): Promise<ProfileRow | undefined> {
  return row<ProfileRow>(
    db,
    `DELETE FROM profiles
     WHERE id = ? AND NOT email_confirmed AND updated_at <= clock_timestamp() - ? * interval '1 day'
     RETURNING ${PROFILE}`,
    [id, olderThanDays],
  );
}

/** Unconfirmed profiles that did not change for this time, the oldest first. */
export async function unconfirmedProfiles(
  db: Db,
  olderThanDays: number,
  limit: number,
): Promise<{ id: string; email: string }[]> {
  return rows<{ id: string; email: string }>(
    db,
    `SELECT id, email FROM profiles WHERE NOT email_confirmed AND updated_at < now() - ? * interval '1 day'
     ORDER BY updated_at LIMIT ?`,
    [olderThanDays, limit],
  );
}
