import { createHash, randomBytes } from "node:crypto";
import type { Context } from "moleculer";
import type { Params } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Profile } from "../../../contracts/identity.ts";
import type { Caller } from "../../../contracts/meta.ts";
import type { Db } from "../../../lib/sql/database.ts";
import { type IdentityDependencies, isKind } from "../dependencies.ts";
import { refuseCommonPassword } from "../domain/password-policy.ts";
import { withAddressLock } from "../store/address-lock.ts";
import { addAudit } from "../store/audit.repository.ts";
import { type CodeOf, dropCode } from "../store/codes.repository.ts";
import { checkCode, invalidCode, subjectOf } from "../store/codes.ts";
import { findUndo, insertUndo, useUndo } from "../store/email-undos.repository.ts";
import { mail, profileView, userMessage } from "../store/messages.ts";
import { ownProfile } from "../store/people.ts";
import { adoptEmail, profileByEmail, profileById, restoreEmail } from "../store/profiles.repository.ts";
import { eraseUnconfirmed } from "../workers/erasure.ts";
import { endSessions } from "./sessions.ts";

/** For how long the former address can undo a change. */
const UNDO_DAYS = 7;
const TOKEN_BYTES = 32;

/**
 * Takes the code from the new address back: it is the profile's own from now on, the other sessions end, and the former
 * address gets a link that undoes it. An account that somebody made there and never confirmed gives way.
 * @throws CODE_INVALID; EMAIL_TAKEN when another account confirmed the address meanwhile
 */
export async function confirmEmail(
  parts: IdentityDependencies,
  ctx: Context,
  caller: Caller,
  code: string,
): Promise<Profile> {
  const { clientIp: ip } = ctx.meta as { clientIp?: string };
  const { useUp } = await checkCode(parts, ownCode(caller.id), ip, code);
  const { email: former, pendingEmail } = await ownProfile(parts, caller.id);
  if (!pendingEmail) throw invalidCode();
  const changed = await withAddressLock(parts, pendingEmail, () =>
    moveTo(parts, caller.id, { former, pendingEmail, useUp }),
  );
  await endSessions(parts, ctx, caller.id, caller.sessionId);
  return changed;
}

/** The code of a change belongs to the user, from wherever it is entered. */
export function ownCode(userId: string): CodeOf {
  return { purpose: "change-email", address: userId, requester: "self" };
}

async function moveTo(
  parts: IdentityDependencies,
  id: string,
  change: { former: string; pendingEmail: string; useUp: (trx: Db) => Promise<void> },
): Promise<Profile> {
  const { former, pendingEmail, useUp } = change;
  await takeAddress(parts, id, pendingEmail);
  return parts.postgres.transact(async (trx) => {
    await useUp(trx);
    const updated = await adoptEmail(trx, id, pendingEmail);
    if (!updated) throw invalidCode();
    const { id: userId, language } = updated;
    const token = randomBytes(TOKEN_BYTES).toString("base64url");
    const lifeSeconds = UNDO_DAYS * 86_400;
    await insertUndo(trx, { tokenHash: hashOf(token), userId, formerEmail: former, lifeSeconds });
    await addAudit(trx, { actorId: userId, action: "email.changed", subject: userId });
    const values = { link: `${parts.publicUrl}/email/undo#${token}`, days: String(UNDO_DAYS) };
    await parts.out.add(trx, [
      userMessage("user.updated", updated),
      mail(parts, { template: "email-changed", email: former, language, userId, values }),
    ]);
    return profileView(updated);
  });
}

/**
 * Gives the account its former address back, by the link that was sent there, ends all its sessions and, where one is
 * given, sets a new password: who changed the address knew the old one. The link is used up last, so that one that was
 * interrupted can be used again.
 * @throws CODE_INVALID for a link that was used or whose time is over, EMAIL_TAKEN when another account has the
 *   address by now, PASSWORD_TOO_COMMON, OVERLOADED
 */
export async function undoEmailChange(
  parts: IdentityDependencies,
  ctx: Context,
  { token, newPassword }: Params<"identity.undoEmailChange">,
): Promise<void> {
  const tokenHash = hashOf(token);
  const undo = await findUndo(parts.postgres.db, tokenHash);
  const owner = undo && (await profileById(parts.postgres.db, undo.userId));
  if (!undo || !owner) throw noSuchLink();
  const { userId, formerEmail } = undo;
  if (newPassword) refuseCommonPassword(newPassword, [formerEmail, owner.firstName, owner.lastName]);
  await withAddressLock(parts, formerEmail, async () => {
    await takeAddress(parts, userId, formerEmail);
    if (newPassword) await parts.provider.setPassword(userId, newPassword);
    await parts.postgres.transact(async (trx) => {
      if (!(await useUndo(trx, tokenHash, undo))) throw noSuchLink();
      const updated = await restoreEmail(trx, userId, formerEmail);
      if (!updated) throw noSuchLink();
      await dropCode(trx, "change-email", subjectOf(ownCode(userId)));
      await addAudit(trx, { actorId: userId, action: "email.change-undone", subject: userId });
      await parts.out.add(trx, [userMessage("user.updated", updated)]);
    });
  });
  await endSessions(parts, ctx, userId);
}

/** @throws EMAIL_TAKEN */
async function takeAddress(parts: IdentityDependencies, userId: string, email: string): Promise<void> {
  const other = await profileByEmail(parts.postgres.db, email);
  const isFree = !other || other.id === userId || (await eraseUnconfirmed(parts, other.id));
  if (!isFree) throw fail("EMAIL_TAKEN");
  await parts.provider.changeEmail(userId, email).catch((error) => {
    throw isKind(error, "email_taken") ? fail("EMAIL_TAKEN") : error;
  });
}

function noSuchLink(): Error {
  return fail("CODE_INVALID", "This link was used, or its time is over.");
}

/** A token of 256 random bits needs no slow hash. */
function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("base64url");
}
