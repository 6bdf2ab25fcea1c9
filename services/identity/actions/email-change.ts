import { createHash, randomBytes } from "node:crypto";
import type { Context } from "moleculer";
import type { Params } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Profile } from "../../../contracts/identity.ts";
import type { Caller } from "../../../contracts/meta.ts";
import type { Db } from "../../../lib/sql/database.ts";
import { type IdentityDependencies, isKind } from "../dependencies.ts";
import { refuseCommonPassword } from "../domain/password-policy.ts";
import { addAudit } from "../store/audit.repository.ts";
import type { CodeKey } from "../store/codes.repository.ts";
import { findUndo, insertUndo, useUndo } from "../store/email-undos.repository.ts";
import {
  applyPendingEmail,
  profileByEmail,
  profileById,
  restoreEmail,
} from "../store/profiles.repository.ts";
import { withAddressLock } from "../use-cases/address-lock.ts";
import { checkCode, invalidCode } from "../use-cases/codes.ts";
import { mailMessage, profileView, userMessage } from "../use-cases/messages.ts";
import { ownProfile } from "../use-cases/own-profile.ts";
import { eraseUnconfirmed } from "../workers/erasure.ts";
import { endSessions } from "./sessions.ts";

/** How long the owner of the former address can undo a change. */
const UNDO_DAYS = 7;
const TOKEN_BYTES = 32;

/**
 * Checks the code that was sent to the new address and makes this address the profile's own. The other sessions end, and
 * the former address gets a link that undoes the change. An unconfirmed account with the new address is erased.
 * @throws CODE_INVALID; EMAIL_TAKEN when another account confirmed the address meanwhile
 */
export async function confirmEmail(
  deps: IdentityDependencies,
  ctx: Context,
  caller: Caller,
  code: string,
): Promise<Profile> {
  const { clientIp: ip } = ctx.meta as { clientIp?: string };
  const { useUp } = await checkCode(deps, emailChangeCode(caller.id), ip, code);
  const { email: former, pendingEmail } = await ownProfile(deps, caller.id);
  if (!pendingEmail) throw invalidCode();
  const changed = await withAddressLock(deps, pendingEmail, () =>
    changeAddress(deps, caller.id, { former, pendingEmail, useUp }),
  );
  await endSessions(deps, ctx, caller.id, caller.sessionId);
  return changed;
}

/** The code of a change belongs to the user, so any client of the user may enter it. */
export function emailChangeCode(userId: string): CodeKey {
  return { purpose: "change-email", address: userId, requester: "self" };
}

async function changeAddress(
  deps: IdentityDependencies,
  id: string,
  change: { former: string; pendingEmail: string; useUp: (trx: Db) => Promise<void> },
): Promise<Profile> {
  const { former, pendingEmail, useUp } = change;
  await claimAddress(deps, id, pendingEmail);
  return deps.postgres.transact(async (trx) => {
    // The profile first, as in every transaction: see the erasure of an account.
    const updated = await applyPendingEmail(trx, id, pendingEmail);
    if (!updated) throw invalidCode();
    await useUp(trx);
    const { id: userId, language } = updated;
    const token = randomBytes(TOKEN_BYTES).toString("base64url");
    const lifeSeconds = UNDO_DAYS * 86_400;
    await insertUndo(trx, { tokenHash: hashOf(token), userId, formerEmail: former, lifeSeconds });
    await addAudit(trx, { actorId: userId, action: "email.changed", subject: userId });
    const values = { link: `${deps.publicUrl}/email/undo#${token}`, days: String(UNDO_DAYS) };
    await deps.outbox.add(trx, [
      userMessage("user.updated", updated),
      mailMessage(deps, { template: "email-changed", email: former, language, userId, values }),
    ]);
    return profileView(updated);
  });
}

/**
 * Restores the former address of an account by the link that was sent there, ends all sessions and sets the new password
 * if one is given, since the person who changed the address knew the old one. The link is used up last, so that it still
 * works after an interruption.
 * @throws CODE_INVALID for a used or expired link, EMAIL_TAKEN when another account has the address meanwhile,
 *   PASSWORD_TOO_COMMON, OVERLOADED
 */
export async function undoEmailChange(
  deps: IdentityDependencies,
  ctx: Context,
  { token, newPassword }: Params<"identity.undoEmailChange">,
): Promise<void> {
  const tokenHash = hashOf(token);
  const undo = await findUndo(deps.postgres.db, tokenHash);
  const owner = undo && (await profileById(deps.postgres.db, undo.userId));
  if (!undo || !owner) throw invalidLink();
  const { userId, formerEmail } = undo;
  if (newPassword) await refuseCommonPassword(newPassword, [formerEmail, owner.firstName, owner.lastName]);
  await withAddressLock(deps, formerEmail, async () => {
    await claimAddress(deps, userId, formerEmail);
    if (newPassword) await deps.provider.setPassword(userId, newPassword);
    await deps.postgres.transact(async (trx) => {
      const updated = await restoreEmail(trx, userId, formerEmail);
      if (!updated || !(await useUndo(trx, tokenHash, undo))) throw invalidLink();
      await addAudit(trx, { actorId: userId, action: "email.change-undone", subject: userId });
      await deps.outbox.add(trx, [userMessage("user.updated", updated)]);
    });
  });
  await endSessions(deps, ctx, userId);
}

/** @throws EMAIL_TAKEN */
async function claimAddress(deps: IdentityDependencies, userId: string, email: string): Promise<void> {
  const other = await profileByEmail(deps.postgres.db, email);
  const isFree = !other || other.id === userId || (await eraseUnconfirmed(deps, other.id));
  if (!isFree) throw fail("EMAIL_TAKEN");
  await deps.provider.changeEmail(userId, email).catch((error) => {
    throw isKind(error, "email_taken") ? fail("EMAIL_TAKEN") : error;
  });
}

function invalidLink(): Error {
  return fail("CODE_INVALID", "This link was used, or its time is over.");
}

/** A token of 256 random bits needs no slow hash. */
function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("base64url");
}
