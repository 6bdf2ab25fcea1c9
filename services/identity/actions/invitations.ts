import { createHash, randomBytes } from "node:crypto";
import type { Context } from "moleculer";
import type { Params, Result } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Caller, Ctx } from "../../../contracts/meta.ts";
import { newId } from "../../../lib/ids.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { Grant } from "../../../providers/identity/index.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { refuseCommonPassword } from "../domain/password-policy.ts";
import { withAddressLock } from "../store/address-lock.ts";
import { addAudit } from "../store/audit.repository.ts";
import {
  acceptInvitationRow,
  claimInvitation,
  type InvitationRow,
  insertInvitation,
  releaseInvitation,
} from "../store/invitations.repository.ts";
import { takeMailOf } from "../store/limits.ts";
import { mail, userMessage } from "../store/messages.ts";
import { DEFAULT_LANGUAGE } from "../store/people.ts";
import {
  type ProfileRow,
  profileByEmail,
  profileById,
  saveNewProfile,
  setProfileGrant,
} from "../store/profiles.repository.ts";
import { registerAccount } from "../workers/erasure.ts";
import { requirePassword } from "./passwords.ts";
import { endSessions } from "./sessions.ts";

const LIFE_SECONDS = 7 * 86_400;
const TOKEN_BYTES = 32;

/**
 * Sends an invitation. An admin invites anyone, a partner's admin staff of that partner that are no admins of it; nobody learns whether
 * the address has an account.
 * @throws FORBIDDEN, VALIDATION_ERROR, TOO_MANY_REQUESTS
 */
export async function invite(
  parts: IdentityDependencies,
  ctx: Ctx<Params<"identity.invite">>,
  caller: Caller,
): Promise<Result<"identity.invite">> {
  const { email } = ctx.params;
  const grant = grantFor(caller, ctx.params);
  return idempotent(parts.postgres, ctx, "identity.invite", async (trx) => {
    await takeMailOf(parts, trx, email, caller.id);
    const inviter = await profileById(trx, caller.id);
    const token = randomBytes(TOKEN_BYTES).toString("base64url");
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
    await addAudit(trx, {
      actorId: caller.id,
      action: "invitation.sent",
      subject: id,
      detail: describe(grant),
      ip: ctx.meta.clientIp,
    });
    const language = inviter?.language ?? DEFAULT_LANGUAGE;
    await parts.out.add(trx, [
      mail(parts, { template: "invitation", email, language, subject: id, values: { token } }),
    ]);
    return { invitationId: id, expiresAt };
  });
}

/** What the caller may give away. @throws FORBIDDEN, VALIDATION_ERROR */
function grantFor(caller: Caller, asked: Params<"identity.invite">): Grant {
  if (caller.role !== "admin") {
    const own = asked.partnerId === undefined || asked.partnerId === caller.partnerId;
    if (!caller.partnerAdmin || asked.role !== "partner" || !own) throw fail("FORBIDDEN");
    if (asked.partnerAdmin) throw fail("FORBIDDEN", "An operator says who is an admin of the partner.");
  }
  if (asked.role !== "partner") {
    if (asked.partnerId) throw invalidField("partnerId", "role", "Only staff belong to a partner.");
    if (asked.partnerAdmin)
      throw invalidField("partnerAdmin", "role", "Only staff can be a partner's admin.");
    return { role: asked.role };
  }
  const partnerId = caller.partnerId ?? asked.partnerId;
  if (!partnerId) throw invalidField("partnerId", "role", "Say which partner the staff is of.");
  return { role: "partner", partnerId, partnerAdmin: asked.partnerAdmin ?? false };
}

/**
 * Makes the account that the invitation is for. The token came by mail, so the address is proved. A customer
 * who is there already keeps their account and name, gives its password and gets the role.
 * @throws INVITATION_INVALID; EMAIL_TAKEN for somebody with another role; INVALID_CREDENTIALS,
 *   PASSWORD_TOO_COMMON, TOO_MANY_REQUESTS
 */
export async function acceptInvitation(
  parts: IdentityDependencies,
  ctx: Context,
  params: Params<"identity.acceptInvitation">,
): Promise<Result<"identity.acceptInvitation">> {
  const { postgres } = parts;
  const invitation = await claimInvitation(postgres.db, hashOf(params.token));
  if (!invitation) throw fail("INVITATION_INVALID");
  try {
    return await withAddressLock(parts, invitation.email, () => accept(parts, ctx, invitation, params));
  } catch (error) {
    await releaseInvitation(postgres.db, invitation.id);
    throw error;
  }
}

async function accept(
  parts: IdentityDependencies,
  ctx: Context,
  invitation: InvitationRow,
  { password, token: _, ...person }: Params<"identity.acceptInvitation">,
): Promise<Result<"identity.acceptInvitation">> {
  const { postgres, out } = parts;
  const { id, email } = invitation;
  const grant = grantOf(invitation);
  const present = await profileByEmail(postgres.db, email);
  const userId = present?.emailConfirmed
    ? await promote(parts, ctx, present, grant, password)
    : await openAccount(parts, { email, password, grant }, [person.firstName, person.lastName]);
  await postgres.transact(async (trx) => {
    if (!(await acceptInvitationRow(trx, id, userId))) throw fail("INVITATION_INVALID");
    const language = person.language ?? DEFAULT_LANGUAGE;
    const profile = present?.emailConfirmed
      ? await setProfileGrant(trx, userId, present, grant)
      : await saveNewProfile(trx, { ...person, id: userId, email, emailConfirmed: true, language, grant });
    if (!profile) throw fail("EMAIL_TAKEN");
    const entry = { actorId: userId, subject: userId, detail: `${describe(grant)} by invitation ${id}` };
    await addAudit(trx, { ...entry, action: "role.granted" });
    const type = present?.emailConfirmed ? "user.updated" : "user.registered";
    await out.add(trx, [userMessage(type, profile)]);
  });
  return { userId, email };
}

/**
 * Gives the role to an account that is there: to a customer, or to staff of the same partner, which become its admin or
 * are it no longer.
 * @throws EMAIL_TAKEN, INVALID_CREDENTIALS, TOO_MANY_REQUESTS
 */
async function promote(
  parts: IdentityDependencies,
  ctx: Context,
  profile: ProfileRow,
  grant: Grant,
  password: string,
): Promise<string> {
  const repeated = profile.role === grant.role && profile.partnerId === grant.partnerId;
  if (profile.role !== "customer" && !repeated) {
    throw fail("EMAIL_TAKEN", "This address has an account with another role.");
  }
  await requirePassword(parts, profile, password, ctx.meta as { clientIp?: string });
  await parts.provider.setGrant(profile.id, grant);
  await endSessions(parts, ctx, profile.id); // their tokens still state the former role
  return profile.id;
}

/**
 * Makes a confirmed account with the provider, in the turn of its address. One that it has although we know no profile
 * was left behind by an acceptance that was interrupted; the bearer of the token may go on with it.
 * @throws PASSWORD_TOO_COMMON
 */
export async function openAccount(
  parts: IdentityDependencies,
  { email, password, grant }: { email: string; password: string; grant: Grant },
  names: (string | undefined)[],
): Promise<string> {
  refuseCommonPassword(password, [email, ...names]);
  const { userId, taken } = await registerAccount(parts, { email, password, confirmed: true, grant });
  if (taken) {
    await parts.provider.setPassword(userId, password);
    await parts.provider.setGrant(userId, grant);
  }
  return userId;
}

function grantOf({ role, partnerId, partnerAdmin }: Grant): Grant {
  return role === "partner" && partnerId
    ? { role, partnerId, partnerAdmin: partnerAdmin ?? false }
    : { role };
}

function describe({ role, partnerId, partnerAdmin }: Grant): string {
  return partnerId ? `${role} ${partnerId}${partnerAdmin ? " as its admin" : ""}` : role;
}

/** A token of 256 random bits needs no slow hash. */
function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("base64url");
}
