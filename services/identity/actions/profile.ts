import type { Params } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Profile } from "../../../contracts/identity.ts";
import type { Caller } from "../../../contracts/meta.ts";
import { isEmptyChange } from "../../../lib/changes.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { checkBirthDate } from "../domain/profile-fields.ts";
import { profileByEmail, profileById, setAvatarRow, updateProfileRow } from "../store/profiles.repository.ts";
import { issueCode } from "../use-cases/codes.ts";
import { consumeMailLimitOfUser } from "../use-cases/limits.ts";
import { deviceMessage, mailMessage, profileView, userMessage } from "../use-cases/messages.ts";
import { ownProfile } from "../use-cases/own-profile.ts";
import { emailChangeCode } from "./email-change.ts";
import { requirePassword } from "./passwords.ts";

/**
 * Changes the given fields; null removes an optional one. A new address needs the current password and becomes valid with
 * the code that is sent there. If it belongs to another account, its owner gets a mail instead, and the answer is the
 * same.
 * @throws PRECONDITION_FAILED when the profile has another version than expected, VALIDATION_ERROR,
 *   INVALID_CREDENTIALS, TOO_MANY_REQUESTS after too many wrong passwords or mails to the address
 */
export async function updateProfile(
  deps: IdentityDependencies,
  caller: Caller,
  { expectedVersion, pushToken, email, currentPassword, ...changes }: Params<"identity.updateProfile">,
  clientIp: string | undefined,
): Promise<Profile> {
  checkBirthDate(changes.birthDate ?? undefined, deps.clock.now());
  const present = await ownProfile(deps, caller.id);
  const pendingEmail = email === present.email ? undefined : email;
  if (isEmptyChange({ ...changes, pushToken, pendingEmail })) {
    if (expectedVersion !== undefined && expectedVersion !== present.version)
      throw fail("PRECONDITION_FAILED");
    return profileView(present);
  }
  if (pendingEmail) {
    // The address controls the account, so a stolen access token must not be enough to change it.
    if (currentPassword === undefined) {
      throw invalidField("currentPassword", "required", "A new e-mail address needs the current password.");
    }
    await requirePassword(deps, present, currentPassword, { clientIp });
    await consumeMailLimitOfUser(deps, deps.postgres.db, pendingEmail, caller.id);
  }
  return deps.postgres.transact(async (trx) => {
    const updated = await updateProfileRow(trx, caller.id, { ...changes, pendingEmail }, expectedVersion);
    if (!updated) throw fail((await profileById(trx, caller.id)) ? "PRECONDITION_FAILED" : "NOT_FOUND");
    // Both messages contain the push token, for consumers of a release that does not know `user.device_added`.
    await deps.outbox.add(trx, [userMessage("user.updated", updated, pushToken)]);
    if (pushToken) await deps.outbox.add(trx, [deviceMessage(updated, caller.sessionId, pushToken)]);
    if (pendingEmail) {
      const { id: userId, language } = updated;
      const values = await issueCode(deps, trx, emailChangeCode(userId));
      const other = await profileByEmail(trx, pendingEmail);
      const mailRequest = other?.emailConfirmed
        ? mailMessage(deps, {
            template: "account-exists",
            email: pendingEmail,
            language: other.language,
            userId: other.id,
          })
        : mailMessage(deps, { template: "change-email", email: pendingEmail, language, userId, values });
      await deps.outbox.add(trx, [mailRequest]);
    }
    return profileView(updated);
  });
}

/** Stores whether there is a picture and counts its version up. The media service calls it. */
export async function setAvatar(
  { postgres }: IdentityDependencies,
  caller: Caller,
  present: boolean,
): Promise<Profile> {
  const updated = await setAvatarRow(postgres.db, caller.id, present);
  if (!updated) throw fail("NOT_FOUND");
  return profileView(updated);
}
