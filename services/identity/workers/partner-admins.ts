import { tryEach } from "../../../lib/try-each.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { addAudit } from "../store/audit.repository.ts";
import {
  deletePendingGrant,
  type PendingGrant,
  pendingGrants,
  profileById,
  setProfileGrant,
} from "../store/profiles.repository.ts";
import { withAddressLock } from "../use-cases/address-lock.ts";
import { userMessage } from "../use-cases/messages.ts";

const BATCH = 100;

/**
 * Makes the staff that migration 0052 chose admins of their partner, here and at the provider. A migration cannot call
 * Keycloak.
 * @throws Error with the number of failures, after all were tried
 */
export async function applyPendingGrants(deps: IdentityDependencies, stopping?: AbortSignal): Promise<void> {
  const due = await pendingGrants(deps.postgres.db, BATCH);
  await tryEach("grants", due, (one) => makeAdmin(deps, one), stopping);
}

async function makeAdmin(deps: IdentityDependencies, { userId, partnerId }: PendingGrant): Promise<void> {
  const { db } = deps.postgres;
  const profile = await profileById(db, userId);
  if (profile?.partnerId !== partnerId) return deletePendingGrant(db, userId); // it has left the partner
  const grant = { role: "partner", partnerId, partnerAdmin: true } as const;
  await withAddressLock(deps, profile.email, async () => {
    await deps.provider.setGrant(userId, grant);
    await deps.postgres.transact(async (trx) => {
      const changed = await setProfileGrant(trx, userId, profile, grant);
      await deletePendingGrant(trx, userId);
      if (!changed) return;
      const detail = `partner ${partnerId} as its admin, which had none`;
      await addAudit(trx, { action: "role.granted", subject: userId, detail });
      await deps.outbox.add(trx, [userMessage("user.updated", changed)]);
    });
  });
}
