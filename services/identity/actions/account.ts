import type { Context } from "moleculer";
import { call, type Params, type Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Caller, Meta } from "../../../contracts/meta.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { withAddressLock } from "../store/address-lock.ts";
import { auditOf } from "../store/audit.repository.ts";
import { profileView } from "../store/messages.ts";
import { ownProfile } from "../store/people.ts";
import { eraseOwn } from "../workers/erasure.ts";
import { requirePassword } from "./passwords.ts";
import { endSessions, listSessions } from "./sessions.ts";

const MAX_EXPORTED_ENTRIES = 1_000;
const ORDERS_TIMEOUT_MS = 700;

/**
 * Erases the caller: picture, profile, traces and, with the provider, account and sessions. What is left is an
 * id without a person. The picture goes first, while the token is still good.
 * @throws INVALID_CREDENTIALS, TOO_MANY_REQUESTS; OPEN_ORDERS naming them, unless it is confirmed; SERVICE_UNAVAILABLE and OVERLOADED when nothing was erased yet
 */
export async function deleteAccount(
  parts: IdentityDependencies,
  ctx: Context,
  caller: Caller,
  { password, confirm = false }: Params<"identity.deleteAccount">,
): Promise<void> {
  const profile = await ownProfile(parts, caller.id);
  await requirePassword(parts, profile, password, ctx.meta as Meta);
  if (!confirm) await refuseOpenOrders(ctx);
  if (profile.hasAvatar) await call(ctx, "media.deleteAvatar", {});
  await withAddressLock(parts, profile.email, async () => {
    await endSessions(parts, ctx, caller.id);
    await eraseOwn(parts, caller.id);
  });
}

/** An order under way needs its customer: who opens the door, and who gets the money back. */
async function refuseOpenOrders(ctx: Context): Promise<void> {
  const { orderIds } = await call(ctx, "orders.openOf", {}, { timeout: ORDERS_TIMEOUT_MS }).catch(
    (error: Error) => {
      ctx.broker.logger.warn("the open orders of an account to be deleted are not known:", String(error));
      throw fail("SERVICE_UNAVAILABLE", "Your orders cannot be looked up now.");
    },
  );
  if (orderIds.length === 0) return;
  throw fail("OPEN_ORDERS", "They go on without you: delete with confirm to accept that.", { orderIds });
}

/** Everything that is kept of the caller here. */
export async function exportData(
  parts: IdentityDependencies,
  caller: Caller,
): Promise<Result<"identity.exportData">> {
  const [profile, sessions, audit] = await Promise.all([
    ownProfile(parts, caller.id),
    listSessions(parts, caller),
    auditOf(parts.postgres.db, caller.id, MAX_EXPORTED_ENTRIES),
  ]);
  return { profile: profileView(profile), sessions: sessions.items, audit };
}
