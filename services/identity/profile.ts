import type { Params } from "../../contracts/actions.ts";
import { fail } from "../../contracts/errors.ts";
import type { Profile } from "../../contracts/identity.ts";
import type { Caller } from "../../contracts/meta.ts";
import { isEmptyChange } from "../../lib/changes.ts";
import type { Db } from "../../mixins/postgres/database.ts";
import { addAudit } from "./audit.repository.ts";
import { checkCode, invalidCode, issueCode } from "./codes.ts";
import { eraseUnconfirmed } from "./erasure.ts";
import { MAILS, takeOne } from "./limits.ts";
import { deviceMessage, mail, profileView, userMessage } from "./messages.ts";
import { isKind, type Parts } from "./parts.ts";
import { checkBirthDate, ownProfile } from "./people.ts";
import {
  adoptEmail,
  profileByEmail,
  profileById,
  setAvatarRow,
  updateProfileRow,
} from "./profiles.repository.ts";
import { inTurn } from "./turns.ts";

/**
 * Changes the fields that are given; null takes an optional one away. A new address waits for the code that is sent there; when it is another
 * account's, its owner is told instead, and the answer does not tell the difference.
 * @throws PRECONDITION_FAILED when the profile has another version than expected, VALIDATION_ERROR,
 *   TOO_MANY_REQUESTS after too many mails to the address
 */
export async function updateProfile(
  parts: Parts,
  caller: Caller,
  { expectedVersion, pushToken, email, ...changes }: Params<"identity.updateProfile">,
): Promise<Profile> {
  checkBirthDate(parts, changes.birthDate ?? undefined);
  const present = await ownProfile(parts, caller.id);
  const pendingEmail = email === present.email ? undefined : email;
  if (isEmptyChange({ ...changes, pushToken, pendingEmail })) {
    if (expectedVersion !== undefined && expectedVersion !== present.version)
      throw fail("PRECONDITION_FAILED");
    return profileView(present);
  }
  if (pendingEmail) await takeOne(parts.postgres.db, MAILS, parts.digest(pendingEmail));
  return parts.postgres.transact(async (trx) => {
    const updated = await updateProfileRow(trx, caller.id, { ...changes, pendingEmail }, expectedVersion);
    if (!updated) throw fail((await profileById(trx, caller.id)) ? "PRECONDITION_FAILED" : "NOT_FOUND");
    // The token stands in both for readers of a release that knows no devices of sessions.
    await parts.out.add(trx, [userMessage("user.updated", updated, pushToken)]);
    if (pushToken) await parts.out.add(trx, [deviceMessage(updated, caller.sessionId, pushToken)]);
    if (pendingEmail) {
      const { id: userId, language } = updated;
      const values = await issueCode(parts, trx, "change-email", userId);
      const other = await profileByEmail(trx, pendingEmail);
      const letter = other?.emailConfirmed
        ? mail(parts, {
            template: "account-exists",
            email: pendingEmail,
            language: other.language,
            userId: other.id,
          })
        : mail(parts, { template: "change-email", email: pendingEmail, language, userId, values });
      await parts.out.add(trx, [letter]);
    }
    return profileView(updated);
  });
}

/**
 * Takes the code from the new address back: it is the profile's own from now on, and the former one is told. An
 * account that somebody made there and never confirmed gives way.
 * @throws CODE_INVALID; EMAIL_TAKEN when another account confirmed the address meanwhile
 */
export async function confirmEmail(
  parts: Parts,
  caller: Caller,
  code: string,
  ip: string | undefined,
): Promise<Profile> {
  const useUp = await checkCode(parts, { purpose: "change-email", subject: caller.id, ip }, code);
  const { email: former, pendingEmail } = await ownProfile(parts, caller.id);
  if (!pendingEmail) throw invalidCode();
  return inTurn(parts, pendingEmail, () => moveTo(parts, caller.id, { former, pendingEmail, useUp }));
}

async function moveTo(
  parts: Parts,
  id: string,
  change: { former: string; pendingEmail: string; useUp: (trx: Db) => Promise<void> },
): Promise<Profile> {
  const { former, pendingEmail, useUp } = change;
  const other = await profileByEmail(parts.postgres.db, pendingEmail);
  const gaveWay = !other || (await eraseUnconfirmed(parts, other.id));
  if (!gaveWay) throw fail("EMAIL_TAKEN");
  await parts.provider.changeEmail(id, pendingEmail).catch((error) => {
    throw isKind(error, "email_taken") ? fail("EMAIL_TAKEN") : error;
  });
  return parts.postgres.transact(async (trx) => {
    await useUp(trx);
    const updated = await adoptEmail(trx, id, pendingEmail);
    if (!updated) throw invalidCode();
    const { id: userId, language } = updated;
    await addAudit(trx, { actorId: userId, action: "email.changed", subject: userId });
    await parts.out.add(trx, [
      userMessage("user.updated", updated),
      mail(parts, { template: "email-changed", email: former, language, userId }),
    ]);
    return profileView(updated);
  });
}

/** Keeps whether there is a picture, and the number that changes with it; media calls it. */
export async function setAvatar({ postgres }: Parts, caller: Caller, present: boolean): Promise<Profile> {
  const updated = await setAvatarRow(postgres.db, caller.id, present);
  if (!updated) throw fail("NOT_FOUND");
  return profileView(updated);
}
