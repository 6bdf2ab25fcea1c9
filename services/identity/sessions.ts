import type { Context } from "moleculer";
import type { Params, Result } from "../../contracts/actions.ts";
import { fail } from "../../contracts/errors.ts";
import type { Caller } from "../../contracts/meta.ts";
import type { Client, IssuedTokens } from "../../providers/identity/index.ts";
import { adopt } from "./adoption.ts";
import { addAudit } from "./audit.repository.ts";
import { limitedPasswordTry } from "./limits.ts";
import { broadcastRevoked, isKind, type Parts } from "./parts.ts";

/**
 * @throws INVALID_CREDENTIALS, also and after the same time for an address that nobody has;
 *   EMAIL_NOT_CONFIRMED to whoever knows the password; EMAIL_TAKEN for an account made at the provider whose
 *   address is the profile of another; TOO_MANY_REQUESTS with `retryAfterSeconds`
 */
export async function signIn(
  parts: Parts,
  { email, password }: Params<"identity.signIn">,
  client: Client,
): Promise<Result<"identity.signIn">> {
  const issued = await limitedPasswordTry(parts, { email, ip: client.ip }, () =>
    parts.provider.signIn(email, password, client),
  );
  await adopt(parts, issued);
  return tokensView(issued);
}

/** @throws SESSION_REVOKED, also when this very re-use of a used-up token ended the session; UNAUTHENTICATED */
export async function refresh(
  parts: Parts,
  ctx: Context,
  refreshToken: string,
  client: Client,
): Promise<Result<"identity.refresh">> {
  try {
    return tokensView(await parts.provider.refresh(refreshToken, client));
  } catch (error) {
    if (isKind(error, "session_ended") && error.reused) {
      const { userId, sessionId } = error.reused;
      await broadcastRevoked(ctx, [sessionId]);
      await addAudit(parts.postgres.db, {
        action: "session.reuse-detected",
        subject: userId,
        detail: sessionId,
      });
    }
    throw error;
  }
}

export async function listSessions(parts: Parts, caller: Caller): Promise<Result<"identity.sessions">> {
  const live = await parts.provider.sessions(caller.id);
  return { items: live.map((session) => ({ ...session, current: session.id === caller.sessionId })) };
}

/** Ends one of the caller's sessions, the one that calls unless told otherwise. @throws NOT_FOUND for another's */
export async function signOut(
  parts: Parts,
  ctx: Context,
  caller: Caller,
  sessionId: string = caller.sessionId,
): Promise<void> {
  if (!(await parts.provider.endSession(caller.id, sessionId))) throw fail("NOT_FOUND");
  await broadcastRevoked(ctx, [sessionId]);
  await addAudit(parts.postgres.db, {
    actorId: caller.id,
    action: "session.ended",
    subject: caller.id,
    detail: sessionId,
  });
}

export async function signOutEverywhere(parts: Parts, ctx: Context, caller: Caller): Promise<void> {
  await endSessions(parts, ctx, caller.id);
  await addAudit(parts.postgres.db, { actorId: caller.id, action: "sessions.ended", subject: caller.id });
}

/** Ends sessions of a user and tells all nodes. @param except goes on */
export async function endSessions(
  { provider }: Parts,
  ctx: Context,
  userId: string,
  except?: string,
): Promise<void> {
  await broadcastRevoked(ctx, await provider.endSessions(userId, except));
}

function tokensView({
  accessToken,
  refreshToken,
  expiresInSeconds,
}: IssuedTokens): Result<"identity.signIn"> {
  return { accessToken, tokenType: "Bearer", expiresInSeconds, refreshToken };
}
