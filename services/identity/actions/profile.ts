import type { Params } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Profile } from "../../../contracts/identity.ts";
import type { Caller } from "../../../contracts/meta.ts";
import { isEmptyChange } from "../../../lib/changes.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { issueCode } from "../store/codes.ts";
import { takeMailOf } from "../store/limits.ts";
import { deviceMessage, mail, profileView, userMessage } from "../store/messages.ts";
import { checkBirthDate, ownProfile } from "../store/people.ts";
import { profileByEmail, profileById, setAvatarRow, updateProfileRow } from "../store/profiles.repository.ts";
import { ownCode } from "./email-change.ts";
import { requirePassword } from "./passwords.ts";

/**
 * Changes the fields that are given; null takes an optional one away. A new address needs the current password and waits
 * for the code that is sent there; when it is another account's, its owner is told instead, and the answer does not tell
 * the difference.
 * @throws PRECONDITION_FAILED when the profile has another version than expected, VALIDATION_ERROR,
 *   INVALID_CREDENTIALS, TOO_MANY_REQUESTS after too many wrong passwords or mails to the address
 */
export async function updateProfile(
  parts: IdentityDependencies,
  caller: Caller,
  { expectedVersion, pushToken, email, currentPassword, ...changes }: Params<"identity.updateProfile">,
  clientIp: string | undefined,
): Promise<Profile> {
  checkBirthDate(parts, changes.birthDate ?? undefined);
  const present = await ownProfile(parts, caller.id);
  const pendingEmail = email === present.email ? undefined : email;
  if (isEmptyChange({ ...changes, pushToken, pendingEmail })) {
    if (expectedVersion !== undefined && expectedVersion !== present.version)
      throw fail("PRECONDITION_FAILED");
    return profileView(present);
  }
  if (pendingEmail) {
    // The address is the account: a stolen token must not be enough to take it.
    if (currentPassword === undefined) {
      throw invalidField("currentPassword", "required", "A new e-mail address needs the current password.");
    }
    await requirePassword(parts, present, currentPassword, { clientIp });
    await takeMailOf(parts, parts.postgres.db, pendingEmail, caller.id);
  }
  return parts.postgres.transact(async (trx) => {
    const updated = await updateProfileRow(trx, caller.id, { ...changes, pendingEmail }, expectedVersion);
    if (!updated) throw fail((await profileById(trx, caller.id)) ? "PRECONDITION_FAILED" : "NOT_FOUND");
    // The token stands in both for readers of a release that knows no devices of sessions.
    await parts.out.add(trx, [userMessage("user.updated", updated, pushToken)]);
    if (pushToken) await parts.out.add(trx, [deviceMessage(updated, caller.sessionId, pushToken)]);
    if (pendingEmail) {
      const { id: userId, language } = updated;
      const values = await issueCode(parts, trx, ownCode(userId));
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

/** Keeps whether there is a picture, and the number that changes with it; media calls it. */
export async function setAvatar(
  { postgres }: IdentityDependencies,
  caller: Caller,
  present: boolean,
): Promise<Profile> {
  const updated = await setAvatarRow(postgres.db, caller.id, present);
  if (!updated) throw fail("NOT_FOUND");
  return profileView(updated);
}
