import type { Context } from "moleculer";
import type { Params, Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Caller } from "../../../contracts/meta.ts";
import type { Client, IssuedTokens } from "../../../providers/identity/index.ts";
import { broadcastRevoked, type IdentityDependencies, isKind } from "../dependencies.ts";
import { addAudit } from "../store/audit.repository.ts";
import { withdrawInvitations } from "../store/invitations.repository.ts";
import { limitedPasswordTry } from "../store/limits.ts";
import { publishEndedSessions } from "../workers/ended-sessions.ts";
import { provisionJustInTime } from "./just-in-time-provisioning.ts";

/**
 * Signs a user in.
 * @throws INVALID_CREDENTIALS, for an unknown address after the same time; EMAIL_NOT_CONFIRMED if the password is
 *   right; EMAIL_TAKEN for an account created at the provider whose address belongs to another profile;
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
    return tokensView(await deps.provider.refresh(refreshToken, client));
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
  if (!(await deps.provider.endSession(caller.id, sessionId))) throw fail("NOT_FOUND");
  await announceEnd(deps, ctx, caller.id, [sessionId]);
  if (sessionId !== caller.sessionId) await withdrawInvitations(deps.postgres.db, [sessionId]);
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
