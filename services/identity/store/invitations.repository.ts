import type { Result } from "../../../contracts/actions.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import type { Grant } from "../../../providers/identity/index.ts";

export interface InvitationRow extends Grant {
  id: string;
  email: string;
  expiresAt: string;
}

const INVITATION = "id, email, role, partner_id, partner_admin, expires_at";
const CLAIM_SECONDS = 30;

/** Inserts an invitation. It replaces an open one to the same address for the same role and partner. */
export async function insertInvitation(
  db: Db,
  invitation: {
    id: string;
    email: string;
    grant: Grant;
    tokenHash: string;
    invitedBy: string;
    /** The session of the inviter. */
    sessionId: string;
    lifeSeconds: number;
  },
): Promise<{ expiresAt: string }> {
  const { id, email, grant, tokenHash, invitedBy, sessionId, lifeSeconds } = invitation;
  await affected(
    db,
    `UPDATE invitations SET expires_at = now(), withdrawn_at = now(), updated_at = now() WHERE id = ANY (ARRAY(
       SELECT id FROM invitations
       WHERE accepted_by IS NULL AND email = ? AND role = ? AND partner_id IS NOT DISTINCT FROM ?::uuid
         AND expires_at > now()
       ORDER BY id FOR UPDATE))`,
    [email, grant.role, grant.partnerId ?? null],
  );
  const made = await row<{ expiresAt: string }>(
    db,
    `INSERT INTO invitations (id, email, role, partner_id, partner_admin, token_hash, invited_by, session_id,
       expires_at)
     VALUES (:id, :email, :role, :partnerId, :partnerAdmin, :tokenHash, :invitedBy, :sessionId,
       now() + :lifeSeconds * interval '1 second') RETURNING expires_at`,
    {
      ...{ id, email, tokenHash, invitedBy, sessionId, lifeSeconds },
      role: grant.role,
      partnerId: grant.partnerId ?? null,
      partnerAdmin: grant.partnerAdmin ?? false,
    },
  );
  return made as { expiresAt: string };
}

/** Claims an open invitation for half a minute. @returns undefined when there is none or another acceptance has it */
export async function claimInvitation(db: Db, tokenHash: string): Promise<InvitationRow | undefined> {
  return row<InvitationRow>(
    db,
    `UPDATE invitations SET claimed_until = now() + ${CLAIM_SECONDS} * interval '1 second', updated_at = now()
     WHERE token_hash = ? AND accepted_by IS NULL AND expires_at > now() AND claimed_until < now()
     RETURNING ${INVITATION}`,
    [tokenHash],
  );
}

export async function releaseInvitation(db: Db, id: string): Promise<void> {
  await affected(
    db,
    "UPDATE invitations SET claimed_until = 'epoch', updated_at = now() WHERE id = ? AND accepted_by IS NULL",
    [id],
  );
}

/** Uses the invitation up. @returns false when it was used meanwhile */
export async function acceptInvitationRow(db: Db, id: string, userId: string): Promise<boolean> {
  const count = await affected(
    db,
    "UPDATE invitations SET accepted_by = ?, updated_at = now() WHERE id = ? AND accepted_by IS NULL",
    [userId, id],
  );
  return count === 1;
}

/** Ends the open invitations that these sessions sent. */
export async function withdrawInvitations(db: Db, sessionIds: readonly string[]): Promise<void> {
  if (sessionIds.length === 0) return;
  await affected(
    db,
    `UPDATE invitations SET expires_at = now(), withdrawn_at = now(), updated_at = now() WHERE id = ANY (ARRAY(
       SELECT id FROM invitations WHERE session_id = ANY(?) AND accepted_by IS NULL AND expires_at > now()
       ORDER BY id FOR UPDATE))`,
    [sessionIds],
  );
}

export type InvitationView = Result<"identity.invitations">["items"][number];

// An acceptance in progress may have granted the role at the provider already.
const STATE = `CASE WHEN accepted_by IS NOT NULL OR claimed_until > now() THEN 'accepted' WHEN withdrawn_at IS NOT NULL THEN 'withdrawn'
  WHEN expires_at > now() THEN 'open' ELSE 'expired' END`;
const VIEW = `id, email, role, partner_id, CASE WHEN role = 'partner' THEN partner_admin END AS partner_admin,
  ${STATE} AS state, invited_by, accepted_by, expires_at, created_at`;

/** The newest first, from the one after `before`. @param partnerId only those of this partner */
export async function invitationsPage(
  db: Db,
  {
    partnerId,
    state,
    before,
    limit,
  }: {
    partnerId?: string;
    state?: InvitationView["state"] | undefined;
    before?: string | undefined;
    limit: number;
  },
): Promise<InvitationView[]> {
  const conditions = [
    ...(partnerId ? ["partner_id = :partnerId"] : []),
    ...(state ? [`${STATE} = :state`] : []),
    ...(before ? ["id < :before"] : []),
  ];
  return rows<InvitationView>(
    db,
    `SELECT ${VIEW} FROM invitations ${conditions.length > 0 ? `WHERE ${conditions.join(" AND ")}` : ""}
     ORDER BY id DESC LIMIT :limit`,
    { limit, ...(partnerId && { partnerId }), ...(state && { state }), ...(before && { before }) },
  );
}

/** Locks an invitation. @param partnerId only one of this partner */
export async function lockInvitation(
  trx: Db,
  id: string,
  { partnerId }: { partnerId?: string },
): Promise<InvitationView | undefined> {
  return row<InvitationView>(
    trx,
    `SELECT ${VIEW} FROM invitations
     WHERE id = :id AND (:partnerId::uuid IS NULL OR partner_id = :partnerId::uuid) FOR UPDATE`,
    { id, partnerId: partnerId ?? null },
  );
}

/** @returns false when it was withdrawn before */
export async function withdrawInvitationRow(db: Db, id: string): Promise<boolean> {
  const count = await affected(
    db,
    `UPDATE invitations SET expires_at = least(expires_at, now()), withdrawn_at = now(), updated_at = now()
     WHERE id = ? AND accepted_by IS NULL AND withdrawn_at IS NULL`,
    [id],
  );
  return count === 1;
}

/** Replaces the token of an invitation and begins its time anew. */
export async function renewInvitation(
  db: Db,
  id: string,
  { tokenHash, sessionId, lifeSeconds }: { tokenHash: string; sessionId: string; lifeSeconds: number },
): Promise<{ expiresAt: string }> {
  const renewed = await row<{ expiresAt: string }>(
    db,
    `UPDATE invitations SET token_hash = :tokenHash, session_id = :sessionId,
       expires_at = now() + :lifeSeconds * interval '1 second', updated_at = now()
     WHERE id = :id RETURNING expires_at`,
    { id, tokenHash, sessionId, lifeSeconds },
  );
  return renewed as { expiresAt: string };
}

/** Deletes up to `limit` invitations that expired more than `afterDays` ago. @returns how many */
export async function sweepInvitations(db: Db, afterDays: number, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM invitations WHERE id = ANY (ARRAY(
       SELECT id FROM invitations WHERE expires_at < now() - ? * interval '1 day'
       ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [afterDays, limit],
  );
}
