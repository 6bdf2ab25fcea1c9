import type { Context } from "moleculer";
import { call, type Result } from "../../contracts/actions.ts";
import { message } from "../../contracts/messages.ts";
import type { Caller, Meta } from "../../contracts/meta.ts";
import { addAudit, auditOf } from "./audit.repository.ts";
import { profileView } from "./messages.ts";
import type { Parts } from "./parts.ts";
import { requirePassword } from "./passwords.ts";
import { ownProfile } from "./people.ts";
import {
  deleteErasure,
  deleteProfileRow,
  eraseTraces,
  insertErasure,
  pendingErasures,
  unconfirmedIds,
} from "./profiles.repository.ts";
import { endSessions, listSessions } from "./sessions.ts";

const MAX_EXPORTED_ENTRIES = 1_000;
const ERASE_BATCH = 100;
/** Whoever did not confirm for so long has to register again. */
const UNCONFIRMED_KEPT_DAYS = 7;

/**
 * Erases the caller: picture, profile, traces and, with the provider, account and sessions. What is left is an
 * id without a person. The picture goes first, while the token is still good.
 * @throws INVALID_CREDENTIALS, TOO_MANY_REQUESTS; SERVICE_UNAVAILABLE when nothing was erased yet
 */
export async function deleteAccount(
  parts: Parts,
  ctx: Context,
  caller: Caller,
  password: string,
): Promise<void> {
  const profile = await ownProfile(parts, caller.id);
  await requirePassword(parts, profile, password, ctx.meta as Meta);
  if (profile.hasAvatar) await call(ctx, "media.deleteAvatar", {});
  await endSessions(parts, ctx, caller.id);
  await erase(parts, caller.id, caller.id);
  // It stands written that this has to be done: what fails now, the sweep does.
  await forgetAtProvider(parts, caller.id).catch(() => undefined);
}

/** Everything that is kept of the caller here. */
export async function exportData(parts: Parts, caller: Caller): Promise<Result<"identity.exportData">> {
  const [profile, sessions, audit] = await Promise.all([
    ownProfile(parts, caller.id),
    listSessions(parts, caller),
    auditOf(parts.postgres.db, caller.id, MAX_EXPORTED_ENTRIES),
  ]);
  return { profile: profileView(profile), sessions: sessions.items, audit };
}

/** Removes an account that nobody confirmed, with everything of it. */
export async function eraseUnconfirmed(parts: Parts, userId: string): Promise<void> {
  await erase(parts, userId);
  await forgetAtProvider(parts, userId);
}

/** Ends what was begun by erasures that were interrupted, and forgets who never confirmed. */
export async function sweepAccounts(parts: Parts): Promise<void> {
  for (const userId of await unconfirmedIds(parts.postgres.db, UNCONFIRMED_KEPT_DAYS, ERASE_BATCH)) {
    await erase(parts, userId);
  }
  for (const userId of await pendingErasures(parts.postgres.db, ERASE_BATCH)) {
    await forgetAtProvider(parts, userId);
  }
}

async function erase({ postgres, out, digest }: Parts, userId: string, actorId?: string): Promise<void> {
  await postgres.transact(async (trx) => {
    const gone = await deleteProfileRow(trx, userId);
    if (!gone) return;
    const { email, pendingEmail = email } = gone;
    await eraseTraces(trx, { id: userId, email, subjects: [userId, digest(email), digest(pendingEmail)] });
    await insertErasure(trx, userId);
    if (actorId) await addAudit(trx, { actorId, action: "account.deleted", subject: userId });
    await out.add(trx, [message("user.deleted", userId, { version: gone.version + 1, userId })]);
  });
}

async function forgetAtProvider({ postgres, provider }: Parts, userId: string): Promise<void> {
  await provider.remove(userId);
  await deleteErasure(postgres.db, userId);
}
