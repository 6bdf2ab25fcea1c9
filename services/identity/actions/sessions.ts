import type { Context } from "moleculer";
import type { Params, Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Caller } from "../../../contracts/meta.ts";
import type { Client, IssuedTokens } from "../../../providers/identity/index.ts";
import { broadcastRevoked, type IdentityDependencies, isKind } from "../dependencies.ts";
import { addAudit } from "../store/audit.repository.ts";
import { withdrawInvitations } from "../store/invitations.repository.ts";
import { profileById } from "../store/profiles.repository.ts";
import { limitedPasswordTry } from "../use-cases/limits.ts";
import { publishEndedSessions } from "../workers/ended-sessions.ts";
import { provisionJustInTime } from "./just-in-time-provisioning.ts";

/**
 * Signs a user in.
 * @throws INVALID_CREDENTIALS, for an unknown address after the same time; EMAIL_NOT_CONFIRMED if the password is
 *   right; ACCOUNT_SUSPENDED if the password is right; EMAIL_TAKEN for an account created at the provider whose address belongs to another profile;
 *   TOO_MANY_REQUESTS with `retryAfterSeconds`
 */
export async function signIn(
  deps: IdentityDependencies,
  { email, password }: Params<"identity.signIn">,
  client: Client,
): Promise<Result<"identity.signIn">> {
  const issued = await limitedPasswordTry(deps, { email, ip: client.ip }, () =>
    deps.provider.signIn(email, password, client),
  );
  if (await isSuspended(deps, issued)) throw fail("ACCOUNT_SUSPENDED", "Ask the operator of this platform.");
  await provisionJustInTime(deps, issued);
  return tokensView(issued);
}

/** @throws SESSION_REVOKED, also when the re-use of this token has just ended the session; UNAUTHENTICATED */
export async function refresh(
  deps: IdentityDependencies,
  ctx: Context,
  refreshToken: string,
  client: Client,
): Promise<Result<"identity.refresh">> {
  try {
    const issued = await deps.provider.refresh(refreshToken, client);
    if (await isSuspended(deps, issued)) throw fail("SESSION_REVOKED", "The account is suspended.");
    return tokensView(issued);
  } catch (error) {
    if (isKind(error, "session_ended") && error.reused) {
      const { userId, sessionId } = error.reused;
      await announceEnd(deps, ctx, userId, [sessionId]);
      await withdrawInvitations(deps.postgres.db, [sessionId]);
      await addAudit(deps.postgres.db, {
        action: "session.reuse-detected",
        subject: userId,
        detail: sessionId,
      });
    }
    throw error;
  }
}

/**
 * Whether the user is suspended; then the new session ends. It is stored before this check, so a suspension at the same
 * moment is seen here, or it ends the session.
 */
async function isSuspended(
  { postgres, provider }: IdentityDependencies,
  { userId, sessionId }: IssuedTokens,
): Promise<boolean> {
  if (!(await profileById(postgres.db, userId))?.suspendedAt) return false;
  await provider.endSession(userId, sessionId);
  return true;
}

export async function listSessions(
  deps: IdentityDependencies,
  caller: Caller,
): Promise<Result<"identity.sessions">> {
  const live = await deps.provider.sessions(caller.id);
  return { items: live.map((session) => ({ ...session, current: session.id === caller.sessionId })) };
}

/**
 * Ends one session of the caller with its devices. Another session than the calling one also loses the open invitations
 * that it sent.
 * @param sessionId default: the calling session
 * @throws NOT_FOUND for a session of another user
 */
export async function signOut(
  deps: IdentityDependencies,
  ctx: Context,
  caller: Caller,
  sessionId: string = caller.sessionId,
): Promise<void> {
  await endSession(deps, ctx, caller.id, sessionId, sessionId === caller.sessionId);
  await addAudit(deps.postgres.db, {
    actorId: caller.id,
    action: "session.ended",
    subject: caller.id,
    detail: sessionId,
  });
}

export async function signOutEverywhere(
  deps: IdentityDependencies,
  ctx: Context,
  caller: Caller,
): Promise<void> {
  await endSessions(deps, ctx, caller.id);
  await addAudit(deps.postgres.db, { actorId: caller.id, action: "sessions.ended", subject: caller.id });
}

/**
 * Ends one session of a user with its devices and the open invitations that it sent.
 * @param keepsInvitations the invitations stay open. Default: false
 * @throws NOT_FOUND for a session of another user
 */
export async function endSession(
  deps: IdentityDependencies,
  ctx: Context,
  userId: string,
  sessionId: string,
  keepsInvitations = false,
): Promise<void> {
  if (!(await deps.provider.endSession(userId, sessionId))) throw fail("NOT_FOUND");
  await announceEnd(deps, ctx, userId, [sessionId]);
  if (!keepsInvitations) await withdrawInvitations(deps.postgres.db, [sessionId]);
}

/**
 * Ends all sessions of a user with their devices and the open invitations that they sent.
 * @param except the id of a session that continues
 */
export async function endSessions(
  deps: IdentityDependencies,
  ctx: Context,
  userId: string,
  except?: string,
): Promise<void> {
  const ended = await deps.provider.endSessions(userId, except);
  await announceEnd(deps, ctx, userId, ended);
  await withdrawInvitations(deps.postgres.db, ended);
}

/** Broadcasts the end to all nodes, without a guarantee, and publishes it to the other services by a durable message. */
async function announceEnd(
  deps: IdentityDependencies,
  ctx: Context,
  userId: string,
  sessionIds: readonly string[],
): Promise<void> {
  await broadcastRevoked(ctx, sessionIds);
  await publishEndedSessions(deps, userId).catch(() => undefined); // the sweep repeats it
}

function tokensView({
  accessToken,
  refreshToken,
  expiresInSeconds,
}: IssuedTokens): Result<"identity.signIn"> {
  return { accessToken, tokenType: "Bearer", expiresInSeconds, refreshToken };
}
