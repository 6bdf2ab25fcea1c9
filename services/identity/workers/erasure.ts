import { message } from "../../../contracts/messages.ts";
import { tryEach } from "../../../lib/try-each.ts";
import type { NewAccount } from "../../../providers/identity/index.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { inTurnOf, withAddressLock } from "../store/address-lock.ts";
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

const BATCH = 100;
/** A registration that is not confirmed for so long is forgotten. */
const UNCONFIRMED_KEPT_DAYS = 7;

/**
 * Erases a person here and with the provider. Call it in the turn of the person's address. What fails at the provider
 * is written down, and the sweep does it.
 */
export async function eraseOwn(parts: IdentityDependencies, userId: string): Promise<void> {
  const gone = await parts.postgres.transact(async (trx) => {
    const row = await deleteProfileRow(trx, userId);
    if (!row) return false;
    await erased(parts, trx, row);
    await addAudit(trx, { actorId: userId, action: "account.deleted", subject: userId });
    return true;
  });
  if (gone) await forgetAtProvider(parts, userId).catch(() => undefined);
}

/**
 * Removes an account that waits for its code, with everything of it. Call it in the turn of its address.
 * @param olderThanDays only when nothing of it changed for so long
 * @returns false when it was confirmed, or changed, meanwhile: then it stays
 */
export async function eraseUnconfirmed(
  parts: IdentityDependencies,
  userId: string,
  olderThanDays?: number,
): Promise<boolean> {
  const gone = await parts.postgres.transact(async (trx) => {
    const row = await deleteUnconfirmedRow(trx, userId, olderThanDays);
    if (row) await erased(parts, trx, row);
    return row !== undefined;
  });
  if (gone) await forgetAtProvider(parts, userId);
  return gone;
}

/**
 * Makes the account with the provider. Where an erasure was interrupted before the provider's part, that part is done
 * first: the new account has nothing of the former one, not even its id. Call it in the turn of the address.
 * @throws password_refused, overloaded, unavailable as the provider does
 */
export async function registerAccount(
  parts: IdentityDependencies,
  account: NewAccount,
): Promise<{ userId: string; taken: boolean }> {
  const made = await parts.provider.register(account);
  if (!(await isErased(parts.postgres.db, made.userId))) return made;
  await forgetAtProvider(parts, made.userId);
  return parts.provider.register(account);
}

/**
 * Ends erasures that were interrupted, and forgets registrations that were never confirmed.
 * @throws Error that says how many failed, after all were tried
 */
export async function sweepAccounts(parts: IdentityDependencies, stopping?: AbortSignal): Promise<void> {
  const { db } = parts.postgres;
  const old = await unconfirmedProfiles(db, UNCONFIRMED_KEPT_DAYS, BATCH);
  const eraseOld = ({ id, email }: (typeof old)[number]) =>
    withAddressLock(parts, email, () => eraseUnconfirmed(parts, id, UNCONFIRMED_KEPT_DAYS));
  const begun = await pendingErasures(db, BATCH);
  const end = async ({ userId, address }: (typeof begun)[number]) => {
    await postponeErasure(db, userId); // one that fails goes behind the others
    const forget = () => forgetAtProvider(parts, userId);
    await (address ? inTurnOf(parts, address, forget) : forget());
  };
  const due = [...begun.map((one) => () => end(one)), ...old.map((one) => () => eraseOld(one))];
  await tryEach("erasures", due, (work) => work(), stopping);
}

async function erased(
  { out, digest }: IdentityDependencies,
  trx: Parameters<Parameters<IdentityDependencies["postgres"]["transact"]>[0]>[0],
  { id, email, pendingEmail = email, version }: ProfileRow,
): Promise<void> {
  await eraseTraces(trx, { id, email, subjects: [id, digest(email), digest(pendingEmail)] });
  await insertErasure(trx, id, digest(email));
  await out.add(trx, [message("user.deleted", id, { version: version + 1, userId: id })]);
}

async function forgetAtProvider({ postgres, provider }: IdentityDependencies, userId: string): Promise<void> {
  await provider.remove(userId);
  await deleteErasure(postgres.db, userId);
}
