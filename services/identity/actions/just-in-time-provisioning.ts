import { fail } from "../../../contracts/errors.ts";
import type { Grant, IssuedTokens } from "../../../providers/identity/index.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { DEFAULT_LANGUAGE, storableName } from "../domain/profile-fields.ts";
import { addAudit } from "../store/audit.repository.ts";
import { isErased } from "../store/erasures.repository.ts";
import { profileById, saveNewProfile, setProfileGrant, takePushToken } from "../store/profiles.repository.ts";
import { deviceMessage, userMessage } from "../use-cases/messages.ts";
import { publishConfirmed } from "./sign-up.ts";

const NAMES = {
  customer: "Customer",
  deliverer: "Deliverer",
  partner: "Partner",
  support: "Support",
  finance: "Finance",
  admin: "Admin",
} as const;

/**
 * Brings the profile in line with an account that was created or changed at the provider itself, as in Keycloak's
 * console. At the first sign-in a missing profile is created and published to the other services. The role in the token
 * decides, and the profile follows it. A confirmation that was interrupted after the provider's part is completed here,
 * since a user cannot sign in before the address is proved. The push token of the registration goes to the first
 * session.
 * @throws INVALID_CREDENTIALS for an account that is being erased; EMAIL_TAKEN when the address belongs to the profile of another account
 */
export async function provisionJustInTime(
  deps: IdentityDependencies,
  { userId, sessionId, grant }: IssuedTokens,
): Promise<void> {
  const { postgres, outbox, provider } = deps;
  const profile = await profileById(postgres.db, userId);
  if (profile?.emailConfirmed && same(profile, grant) && !profile.pushToken) return;
  const holder = profile ? undefined : await provider.holder(userId);
  await postgres.transact(async (trx) => {
    const entry = { actorId: userId, subject: userId, detail: grant.role };
    if (profile) {
      await publishConfirmed(deps, trx, userId);
      const { pushToken, ...owner } = (await takePushToken(trx, userId)) ?? {};
      if (pushToken) await outbox.add(trx, [deviceMessage({ ...profile, ...owner }, sessionId, pushToken)]);
      if (same(profile, grant)) return;
      const changed = await setProfileGrant(trx, userId, profile, grant);
      if (!changed) return;
      await addAudit(trx, { ...entry, action: "role.adopted" });
      return outbox.add(trx, [userMessage("user.updated", changed)]);
    }
    if (!holder || (await isErased(trx, userId))) throw fail("INVALID_CREDENTIALS");
    const [firstName = NAMES[grant.role], lastName = ""] = [holder.firstName, holder.lastName]
      .map(storableName)
      .filter((name) => name !== "");
    const { email } = holder;
    const person = { firstName, lastName, language: DEFAULT_LANGUAGE };
    const made = await saveNewProfile(trx, { ...person, id: userId, email, emailConfirmed: true, grant });
    if (made) {
      await addAudit(trx, { ...entry, action: "account.adopted" });
      return outbox.add(trx, [userMessage("user.registered", made)]);
    }
    if (!(await profileById(trx, userId))) throw fail("EMAIL_TAKEN"); // otherwise another sign-in created it meanwhile
  });
}

function same(profile: Grant, grant: Grant): boolean {
  return (
    profile.role === grant.role &&
    profile.partnerId === grant.partnerId &&
    (profile.partnerAdmin ?? false) === (grant.partnerAdmin ?? false)
  );
}
