import type { Context } from "moleculer";
import type { Params, Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import { message } from "../../../contracts/messages.ts";
import type { Caller } from "../../../contracts/meta.ts";
import type { Client, IssuedTokens } from "../../../providers/identity/index.ts";
import { broadcastRevoked, type IdentityDependencies, isKind } from "../dependencies.ts";
import { addAudit } from "../store/audit.repository.ts";
import { withdrawInvitations } from "../store/invitations.repository.ts";
import { limitedPasswordTry } from "../store/limits.ts";
import { provisionJustInTime } from "./just-in-time-provisioning.ts";

export const ENDED_BATCH = 100;

/**
 * @throws INVALID_CREDENTIALS, also and after the same time for an address that nobody has;
 *   EMAIL_NOT_CONFIRMED to whoever knows the password; EMAIL_TAKEN for an account made at the provider whose
 *   address is the profile of another; TOO_MANY_REQUESTS with `retryAfterSeconds`
 */
export async function signIn(
  parts: IdentityDependencies,
  { email, password }: Params<"identity.signIn">,
  client: Client,
): Promise<Result<"identity.signIn">> {
  const issued = await limitedPasswordTry(parts, { email, ip: client.ip }, () =>
    parts.provider.signIn(email, password, client),
  );
  await provisionJustInTime(parts, issued);
  return tokensView(issued);
}

/** @throws SESSION_REVOKED, also when this very re-use of a used-up token ended the session; UNAUTHENTICATED */
export async function refresh(
  parts: IdentityDependencies,
  ctx: Context,
  refreshToken: string,
  client: Client,
): Promise<Result<"identity.refresh">> {
  try {
    return tokensView(await parts.provider.refresh(refreshToken, client));
  } catch (error) {
    if (isKind(error, "session_ended") && error.reused) {
      const { userId, sessionId } = error.reused;
      await tellOfEnd(parts, ctx, userId, [sessionId]);
      await withdrawInvitations(parts.postgres.db, [sessionId]);
      await addAudit(parts.postgres.db, {
        action: "session.reuse-detected",
        subject: userId,
        detail: sessionId,
      });
    }
    throw error;
  }
}

export async function listSessions(
  parts: IdentityDependencies,
  caller: Caller,
): Promise<Result<"identity.sessions">> {
  const live = await parts.provider.sessions(caller.id);
  return { items: live.map((session) => ({ ...session, current: session.id === caller.sessionId })) };
}

/**
 * Ends one of the caller's sessions, the one that calls unless told otherwise, and with it its devices; one that is not
 * the caller's own session loses the invitations that it sent, too. @throws NOT_FOUND for another's
 */
export async function signOut(
  parts: IdentityDependencies,
  ctx: Context,
  caller: Caller,
  sessionId: string = caller.sessionId,
): Promise<void> {
  if (!(await parts.provider.endSession(caller.id, sessionId))) throw fail("NOT_FOUND");
  await tellOfEnd(parts, ctx, caller.id, [sessionId]);
  if (sessionId !== caller.sessionId) await withdrawInvitations(parts.postgres.db, [sessionId]);
  await addAudit(parts.postgres.db, {
    actorId: caller.id,
    action: "session.ended",
    subject: caller.id,
    detail: sessionId,
  });
}

export async function signOutEverywhere(
  parts: IdentityDependencies,
  ctx: Context,
  caller: Caller,
): Promise<void> {
  await endSessions(parts, ctx, caller.id);
  await addAudit(parts.postgres.db, { actorId: caller.id, action: "sessions.ended", subject: caller.id });
}

/**
 * Ends sessions of a user, and with them their devices and the invitations that they sent and that are still open.
 * @param except goes on
 */
export async function endSessions(
  parts: IdentityDependencies,
  ctx: Context,
  userId: string,
  except?: string,
): Promise<void> {
  const ended = await parts.provider.endSessions(userId, except);
  await tellOfEnd(parts, ctx, userId, ended);
  await withdrawInvitations(parts.postgres.db, ended);
}

/** Tells all nodes at once, which must not arrive, and the other services by a message, which must. */
async function tellOfEnd(
  parts: IdentityDependencies,
  ctx: Context,
  userId: string,
  sessionIds: readonly string[],
): Promise<void> {
  await broadcastRevoked(ctx, sessionIds);
  await tellOfEndedSessions(parts, userId).catch(() => undefined); // the sweep does it
}

/**
 * Says of sessions that are over, however they ended, that they are: up to a hundred.
 * @param userId those of this user alone
 * @returns how many
 */
export async function tellOfEndedSessions(
  { provider, postgres, out }: IdentityDependencies,
  userId?: string,
): Promise<number> {
  const over = await provider.endedSessions(ENDED_BATCH, userId);
  if (over.length === 0) return 0;
  const byUser = [...Map.groupBy(over, (session) => session.userId)];
  await postgres.transact((trx) =>
    out.add(
      trx,
      byUser.map(([id, sessions]) =>
        message("user.signed_out", id, {
          version: 1,
          userId: id,
          sessionIds: sessions.map((session) => session.id),
        }),
      ),
    ),
  );
  // A crash before this says it twice, which does no harm.
  await provider.markTold(over.map(({ id }) => id));
  return over.length;
}

function tokensView({
  accessToken,
  refreshToken,
  expiresInSeconds,
}: IssuedTokens): Result<"identity.signIn"> {
  return { accessToken, tokenType: "Bearer", expiresInSeconds, refreshToken };
}
