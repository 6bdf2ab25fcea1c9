import { tryEach } from "../../../lib/try-each.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { withAddressLock } from "../store/address-lock.ts";
import { addAudit } from "../store/audit.repository.ts";
import { userMessage } from "../store/messages.ts";
import {
  deletePendingGrant,
  type PendingGrant,
  pendingGrants,
  profileById,
  setProfileGrant,
} from "../store/profiles.repository.ts";

const BATCH = 100;

/**
 * Makes admins of the staff that migration 0052 chose, here and with the provider: a migration cannot ask Keycloak.
 * @throws Error that says how many failed, after all were tried
 */
export async function applyPendingGrants(parts: IdentityDependencies, stopping?: AbortSignal): Promise<void> {
  const due = await pendingGrants(parts.postgres.db, BATCH);
  await tryEach("grants", due, (one) => makeAdmin(parts, one), stopping);
}

async function makeAdmin(parts: IdentityDependencies, { userId, partnerId }: PendingGrant): Promise<void> {
  const { db } = parts.postgres;
  const profile = await profileById(db, userId);
  if (profile?.partnerId !== partnerId) return deletePendingGrant(db, userId); // it has left the partner
  const grant = { role: "partner", partnerId, partnerAdmin: true } as const;
  await withAddressLock(parts, profile.email, async () => {
    await parts.provider.setGrant(userId, grant);
    await parts.postgres.transact(async (trx) => {
      const changed = await setProfileGrant(trx, userId, profile, grant);
      await deletePendingGrant(trx, userId);
      if (!changed) return;
      const detail = `partner ${partnerId} as its admin, which had none`;
      await addAudit(trx, { action: "role.granted", subject: userId, detail });
      await parts.out.add(trx, [userMessage("user.updated", changed)]);
    });
  });
}
