import { message } from "../../../contracts/messages.ts";
import { tryEach } from "../../../lib/try-each.ts";
import type { NewAccount } from "../../../providers/identity/index.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { addAudit } from "../store/audit.repository.ts";
import {
  deleteErasure,
  eraseTraces,
  insertErasure,
  isErased,
  pendingErasures,
  postponeErasure,
} from "../store/erasures.repository.ts";
import {
  deleteProfileRow,
  deleteUnconfirmedRow,
  type ProfileRow,
  unconfirmedProfiles,
} from "../store/profiles.repository.ts";
import { withAddressDigestLock, withAddressLock } from "../use-cases/address-lock.ts";

const BATCH = 100;
/** An unconfirmed registration is deleted after this time without a change. */
const UNCONFIRMED_RETENTION_DAYS = 7;

/**
 * Erases a person here and at the provider. Call it while holding the lock of the person's address. A failure at the
 * provider is recorded, and the sweep repeats that part.
 */
export async function eraseAccount(deps: IdentityDependencies, userId: string): Promise<void> {
  const gone = await deps.postgres.transact(async (trx) => {
    const row = await deleteProfileRow(trx, userId);
    if (!row) return false;
    await recordErasure(deps, trx, row);
    await addAudit(trx, { actorId: userId, action: "account.deleted", subject: userId });
    return true;
  });
  if (gone) await removeFromProvider(deps, userId).catch(() => undefined);
}

/**
 * Removes an unconfirmed account with all its data. Call it while holding the lock of its address.
 * @param olderThanDays only if the account did not change for this time. Default: 0
 * @returns false when it was confirmed or changed meanwhile; then it stays
 */
export async function eraseUnconfirmed(
  deps: IdentityDependencies,
  userId: string,
  olderThanDays?: number,
): Promise<boolean> {
  const gone = await deps.postgres.transact(async (trx) => {
    const row = await deleteUnconfirmedRow(trx, userId, olderThanDays);
    if (row) await recordErasure(deps, trx, row);
    return row !== undefined;
  });
  if (gone) await removeFromProvider(deps, userId);
  return gone;
}

/**
 * Creates the account at the provider. An interrupted erasure of the same address is completed first, so that the new
 * account has nothing of the former one, not even its id. Call it while holding the lock of the address.
 * @throws password_refused, overloaded, unavailable as the provider does
 */
export async function registerAccount(
  deps: IdentityDependencies,
  account: NewAccount,
): Promise<{ userId: string; taken: boolean }> {
  const made = await deps.provider.register(account);
  if (!(await isErased(deps.postgres.db, made.userId))) return made;
  await removeFromProvider(deps, made.userId);
  return deps.provider.register(account);
}

/**
 * Completes interrupted erasures and removes registrations that were never confirmed.
 * @throws Error with the number of failures, after all were tried
 */
export async function sweepAccounts(deps: IdentityDependencies, stopping?: AbortSignal): Promise<void> {
  const { db } = deps.postgres;
  const old = await unconfirmedProfiles(db, UNCONFIRMED_RETENTION_DAYS, BATCH);
  const eraseOld = ({ id, email }: (typeof old)[number]) =>
    withAddressLock(deps, email, () => eraseUnconfirmed(deps, id, UNCONFIRMED_RETENTION_DAYS));
  const pending = await pendingErasures(db, BATCH);
  const complete = async ({ userId, address }: (typeof pending)[number]) => {
    await postponeErasure(db, userId); // a failing one moves to the end of the queue
    const remove = () => removeFromProvider(deps, userId);
    await (address ? withAddressDigestLock(deps, address, remove) : remove());
  };
  const due = [...pending.map((one) => () => complete(one)), ...old.map((one) => () => eraseOld(one))];
  await tryEach("erasures", due, (work) => work(), stopping);
}

async function recordErasure(
  { outbox, digest }: IdentityDependencies,
  trx: Parameters<Parameters<IdentityDependencies["postgres"]["transact"]>[0]>[0],
  { id, email, pendingEmail = email, version }: ProfileRow,
): Promise<void> {
  await eraseTraces(trx, { id, email, subjects: [id, digest(email), digest(pendingEmail)] });
  await insertErasure(trx, id, digest(email));
  await outbox.add(trx, [message("user.deleted", id, { version: version + 1, userId: id })]);
}

async function removeFromProvider(
  { postgres, provider }: IdentityDependencies,
  userId: string,
): Promise<void> {
  await provider.remove(userId);
  await deleteErasure(postgres.db, userId);
}
