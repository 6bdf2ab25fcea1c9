import { createHash, randomBytes } from "node:crypto";
import type { Context } from "moleculer";
import type { Params, Result } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Caller, Ctx, Role } from "../../../contracts/meta.ts";
import { cursorOf, idsOf } from "../../../lib/cursor.ts";
import { newId } from "../../../lib/ids.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { Grant } from "../../../providers/identity/index.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { refuseCommonPassword } from "../domain/password-policy.ts";
import { DEFAULT_LANGUAGE } from "../domain/profile-fields.ts";
import { addAudit } from "../store/audit.repository.ts";
import {
  acceptInvitationRow,
  claimInvitation,
  type InvitationRow,
  insertInvitation,
  invitationsPage,
  lockInvitation,
  releaseInvitation,
  renewInvitation,
  withdrawInvitationRow,
} from "../store/invitations.repository.ts";
import {
  type ProfileRow,
  profileByEmail,
  profileById,
  saveNewProfile,
  setProfileGrant,
} from "../store/profiles.repository.ts";
import { withAddressLock } from "../use-cases/address-lock.ts";
import { consumeMailLimitOfUser } from "../use-cases/limits.ts";
import { mailMessage, userMessage } from "../use-cases/messages.ts";
import { registerAccount } from "../workers/erasure.ts";
import { requirePassword } from "./passwords.ts";
import { endSessions } from "./sessions.ts";

const LIFE_DAYS = 7;
const LIFE_SECONDS = LIFE_DAYS * 86_400;
const TOKEN_BYTES = 32;
const PAGE_SIZE = 20;

/**
 * Sends an invitation. An admin may invite any role. A partner's admin may invite staff of that partner, but no partner
 * admins. The answer does not reveal whether the address has an account.
 * @throws FORBIDDEN, VALIDATION_ERROR, TOO_MANY_REQUESTS
 */
export async function invite(
  deps: IdentityDependencies,
  ctx: Ctx<Params<"identity.invite">>,
  caller: Caller,
): Promise<Result<"identity.invite">> {
  const { email } = ctx.params;
  const grant = grantFor(caller, ctx.params);
  return idempotent(deps.postgres, ctx, "identity.invite", async (trx) => {
    const token = newToken();
    const id = newId();
    const { expiresAt } = await insertInvitation(trx, {
      id,
      email,
      grant,
      tokenHash: hashOf(token),
      invitedBy: caller.id,
      sessionId: caller.sessionId,
      lifeSeconds: LIFE_SECONDS,
    });
    // After the invitations, as in the erasure of an account.
    await consumeMailLimitOfUser(deps, trx, email, caller.id);
    await addAudit(trx, {
      actorId: caller.id,
      action: "invitation.sent",
      subject: id,
      detail: describeGrant(grant),
      ip: ctx.meta.clientIp,
    });
    await sendToken(deps, trx, caller, { id, email, role: grant.role, token });
    return { invitationId: id, expiresAt };
  });
}

/** The invitations that the caller may see, the newest first. @throws FORBIDDEN, VALIDATION_ERROR */
export async function listInvitations(
  { postgres }: IdentityDependencies,
  caller: Caller,
  { cursor, limit = PAGE_SIZE, state }: Params<"identity.invitations">,
): Promise<Result<"identity.invitations">> {
  const [before] = cursor === undefined ? [] : (idsOf(cursor, 1) ?? []);
  if (cursor !== undefined && !before)
    throw invalidField("cursor", "cursor", "This cursor did not come from this list.");
  const found = await invitationsPage(postgres.db, { ...scopeOf(caller), state, before, limit: limit + 1 });
  const items = found.slice(0, limit);
  return { items, ...(found.length > limit && { nextCursor: cursorOf(items.at(-1)?.id as string) }) };
}

/** Ends an open invitation. A repeat changes nothing. @throws FORBIDDEN, NOT_FOUND, INVITATION_ENDED */
export async function withdrawInvitation(
  { postgres }: IdentityDependencies,
  ctx: Ctx<Params<"identity.withdrawInvitation">>,
  caller: Caller,
): Promise<void> {
  const { invitationId } = ctx.params;
  const scope = scopeOf(caller);
  await postgres.transact(async (trx) => {
    const present = await lockInvitation(trx, invitationId, scope);
    if (!present) throw fail("NOT_FOUND");
    if (present.state === "accepted") throw fail("INVITATION_ENDED");
    if (!(await withdrawInvitationRow(trx, invitationId))) return;
    await addAudit(trx, {
      ...{ actorId: caller.id, action: "invitation.withdrawn", subject: invitationId },
      ip: ctx.meta.clientIp,
    });
  });
}

/**
 * Sends an open or expired invitation again, with a new token and a new time limit. The former token is void.
 * @throws FORBIDDEN, NOT_FOUND, INVITATION_ENDED, TOO_MANY_REQUESTS
 */
export async function resendInvitation(
  deps: IdentityDependencies,
  ctx: Ctx<Params<"identity.resendInvitation">>,
  caller: Caller,
): Promise<Result<"identity.resendInvitation">> {
  const { invitationId } = ctx.params;
  const scope = scopeOf(caller);
  return idempotent(deps.postgres, ctx, "identity.resendInvitation", async (trx) => {
    const present = await lockInvitation(trx, invitationId, scope);
    if (!present) throw fail("NOT_FOUND");
    if (present.state === "accepted" || present.state === "withdrawn") throw fail("INVITATION_ENDED");
    await consumeMailLimitOfUser(deps, trx, present.email, caller.id);
    const token = newToken();
    const renewal = { tokenHash: hashOf(token), sessionId: caller.sessionId, lifeSeconds: LIFE_SECONDS };
    const { expiresAt } = await renewInvitation(trx, invitationId, renewal);
    await addAudit(trx, {
      ...{ actorId: caller.id, action: "invitation.resent", subject: invitationId },
      ip: ctx.meta.clientIp,
    });
    await sendToken(deps, trx, caller, {
      ...{ id: invitationId, token },
      ...{ email: present.email, role: present.role },
    });
    return { invitationId, expiresAt };
  });
}

/** Admins manage all invitations, admins of a partner those of their partner. @throws FORBIDDEN */
function scopeOf({ role, partnerId, partnerAdmin }: Caller): { partnerId?: string } {
  if (role === "admin") return {};
  if (!partnerAdmin || !partnerId) throw fail("FORBIDDEN");
  return { partnerId };
}

async function sendToken(
  deps: IdentityDependencies,
  trx: Transaction,
  caller: Caller,
  { id, email, role, token }: { id: string; email: string; role: Role; token: string },
): Promise<void> {
  const inviter = await profileById(trx, caller.id);
  const language = inviter?.language ?? DEFAULT_LANGUAGE;
  const values = { token, role, days: String(LIFE_DAYS) };
  const mail = { template: "invitation", email, language, subject: id, values } as const;
  await deps.outbox.add(trx, [mailMessage(deps, mail)]);
}

function newToken(): string {
  return randomBytes(TOKEN_BYTES).toString("base64url");
}

/** The requested grant, if the caller may give it. @throws FORBIDDEN, VALIDATION_ERROR */
export function grantFor(
  caller: Caller,
  requested: { role: Role; partnerId?: string; partnerAdmin?: boolean },
): Grant {
  if (caller.role !== "admin") {
    const own = requested.partnerId === undefined || requested.partnerId === caller.partnerId;
    if (!caller.partnerAdmin || requested.role !== "partner" || !own) throw fail("FORBIDDEN");
    if (requested.partnerAdmin) throw fail("FORBIDDEN", "An operator says who is an admin of the partner.");
  }
  if (requested.role !== "partner") {
    if (requested.partnerId) throw invalidField("partnerId", "role", "Only staff belong to a partner.");
    if (requested.partnerAdmin)
      throw invalidField("partnerAdmin", "role", "Only staff can be a partner's admin.");
    return { role: requested.role };
  }
  const partnerId = caller.partnerId ?? requested.partnerId;
  if (!partnerId) throw invalidField("partnerId", "role", "Say which partner the staff is of.");
  return { role: "partner", partnerId, partnerAdmin: requested.partnerAdmin ?? false };
}

/**
 * Creates the account that the invitation is for. The token was sent by mail, so it proves the address. An existing
 * customer keeps account and name, confirms with the current password and gets the role.
 * @throws INVITATION_INVALID; EMAIL_TAKEN for a user with another role; ACCOUNT_SUSPENDED, INVALID_CREDENTIALS,
 *   PASSWORD_TOO_COMMON, TOO_MANY_REQUESTS
 */
export async function acceptInvitation(
  deps: IdentityDependencies,
  ctx: Context,
  params: Params<"identity.acceptInvitation">,
): Promise<Result<"identity.acceptInvitation">> {
  const { postgres } = deps;
  const invitation = await claimInvitation(postgres.db, hashOf(params.token));
  if (!invitation) throw fail("INVITATION_INVALID");
  try {
    return await withAddressLock(deps, invitation.email, () => accept(deps, ctx, invitation, params));
  } catch (error) {
    await releaseInvitation(postgres.db, invitation.id);
    throw error;
  }
}

async function accept(
  deps: IdentityDependencies,
  ctx: Context,
  invitation: InvitationRow,
  { password, token: _, ...person }: Params<"identity.acceptInvitation">,
): Promise<Result<"identity.acceptInvitation">> {
  const { postgres, outbox } = deps;
  const { id, email } = invitation;
  const grant = grantOf(invitation);
  const present = await profileByEmail(postgres.db, email);
  const userId = present?.emailConfirmed
    ? await promote(deps, ctx, present, grant, password)
    : await openAccount(deps, { email, password, grant }, [person.firstName, person.lastName]);
  await postgres.transact(async (trx) => {
    if (!(await acceptInvitationRow(trx, id, userId))) throw fail("INVITATION_INVALID");
    const language = person.language ?? DEFAULT_LANGUAGE;
    const profile = present?.emailConfirmed
      ? await setProfileGrant(trx, userId, present, grant)
      : await saveNewProfile(trx, { ...person, id: userId, email, emailConfirmed: true, language, grant });
    if (!profile) throw fail("EMAIL_TAKEN");
    const entry = { actorId: userId, subject: userId, detail: `${describeGrant(grant)} by invitation ${id}` };
    await addAudit(trx, { ...entry, action: "role.granted" });
    const type = present?.emailConfirmed ? "user.updated" : "user.registered";
    await outbox.add(trx, [userMessage(type, profile)]);
  });
  return { userId, email };
}

/**
 * Gives the role to an existing account of a customer or of staff of the same partner, for example to make staff the
 * partner's admin or to take that back.
 * @throws EMAIL_TAKEN, INVALID_CREDENTIALS, TOO_MANY_REQUESTS
 */
async function promote(
  deps: IdentityDependencies,
  ctx: Context,
  profile: ProfileRow,
  grant: Grant,
  password: string,
): Promise<string> {
  const repeated = profile.role === grant.role && profile.partnerId === grant.partnerId;
  if (profile.role !== "customer" && !repeated) {
    throw fail("EMAIL_TAKEN", "This address has an account with another role.");
  }
  await requirePassword(deps, profile, password, ctx.meta as { clientIp?: string });
  if (profile.suspendedAt) throw fail("ACCOUNT_SUSPENDED");
  await deps.provider.setGrant(profile.id, grant);
  await endSessions(deps, ctx, profile.id); // their tokens contain the former role
  return profile.id;
}

/**
 * Creates a confirmed account at the provider. Call it while holding the lock of the address. An account at the provider
 * without a profile here comes from an interrupted acceptance: the bearer of the token may take it over.
 * @throws PASSWORD_TOO_COMMON
 */
export async function openAccount(
  deps: IdentityDependencies,
  { email, password, grant }: { email: string; password: string; grant: Grant },
  names: (string | undefined)[],
): Promise<string> {
  await refuseCommonPassword(password, [email, ...names]);
  const { userId, taken } = await registerAccount(deps, { email, password, confirmed: true, grant });
  if (taken) {
    await deps.provider.setPassword(userId, password);
    await deps.provider.setGrant(userId, grant);
  }
  return userId;
}

function grantOf({ role, partnerId, partnerAdmin }: Grant): Grant {
  return role === "partner" && partnerId
    ? { role, partnerId, partnerAdmin: partnerAdmin ?? false }
    : { role };
}

/** The rights as a text for the audit log. */
export function describeGrant({ role, partnerId, partnerAdmin }: Grant): string {
  return partnerId ? `${role} ${partnerId}${partnerAdmin ? " as its admin" : ""}` : role;
}

/** A token of 256 random bits needs no slow hash. */
function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("base64url");
}
