import { message } from "../../../contracts/messages.ts";
import type { IdentityDependencies } from "../dependencies.ts";

export const ENDED_SESSIONS_BATCH = 100;

/**
 * Publishes the end of up to a hundred sessions that ended for any reason.
 * @param userId only sessions of this user. Default: all users
 * @returns how many were published
 */
export async function publishEndedSessions(
  { provider, postgres, outbox }: IdentityDependencies,
  userId?: string,
): Promise<number> {
  const over = await provider.endedSessions(ENDED_SESSIONS_BATCH, userId);
  if (over.length === 0) return 0;
  const byUser = [...Map.groupBy(over, (session) => session.userId)];
  await postgres.transact((trx) =>
    outbox.add(
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
  // After a crash here the sweep publishes them again. Consumers handle the repetition.
  await provider.markPublished(over.map(({ id }) => id));
  return over.length;
}
