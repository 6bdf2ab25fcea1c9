import type { Context } from "moleculer";
import { call, type Params } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Caller, Meta } from "../../../contracts/meta.ts";
import { partOfRequestTimeout } from "../../../mixins/retry-deadline/request-timeout.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { withAddressLock } from "../use-cases/address-lock.ts";
import { ownProfile } from "../use-cases/own-profile.ts";
import { eraseAccount } from "../workers/erasure.ts";
import { requirePassword } from "./passwords.ts";
import { endSessions } from "./sessions.ts";

const ORDERS_TIMEOUT_MS = 700;

/**
 * Erases the caller: picture, profile, personal data and, at the provider, account and sessions. Only the user id
 * remains. The picture is deleted first, while the access token is still valid.
 * @throws INVALID_CREDENTIALS, TOO_MANY_REQUESTS; OPEN_ORDERS with their ids, unless `confirm` is set;
 *   SERVICE_UNAVAILABLE and OVERLOADED before anything was erased
 */
export async function deleteAccount(
  deps: IdentityDependencies,
  ctx: Context,
  caller: Caller,
  { password, confirm = false }: Params<"identity.deleteAccount">,
): Promise<void> {
  const profile = await ownProfile(deps, caller.id);
  await requirePassword(deps, profile, password, ctx.meta as Meta);
  if (!confirm) await refuseOpenOrders(ctx);
  if (profile.hasAvatar) await call(ctx, "media.deleteAvatar", {});
  await withAddressLock(deps, profile.email, async () => {
    await endSessions(deps, ctx, caller.id);
    await eraseAccount(deps, caller.id);
  });
}

/** An open order needs its customer for the handover and for a refund. */
async function refuseOpenOrders(ctx: Context): Promise<void> {
  const { orderIds } = await call(
    ctx,
    "orders.openOf",
    {},
    { timeout: partOfRequestTimeout(ctx.broker, ORDERS_TIMEOUT_MS) },
  ).catch((error: Error) => {
    ctx.broker.logger.warn("The open orders of an account to be deleted could not be read:", String(error));
    throw fail("SERVICE_UNAVAILABLE", "Your orders cannot be looked up now.");
  });
  if (orderIds.length === 0) return;
  throw fail("OPEN_ORDERS", "They go on without you: delete with confirm to accept that.", { orderIds });
}
