import { call, type Params } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";

/** Within the caller's budget there is time for the order's own transaction after it. */
const TIMEOUT_MS = 500;

/**
 * Whoever hands over may state a photo only that was taken of this very order, or a proof would prove nothing. That
 * there is none is told once it is clear that the order is theirs: others do not hear of an order's photos.
 * @throws SERVICE_UNAVAILABLE when nobody can say
 */
export async function photoIsThere(ctx: Ctx<Params<"orders.deliver">>): Promise<boolean> {
  callerOf(ctx, "deliverer");
  const { orderId, photoId } = ctx.params;
  if (!photoId) return true;
  const { exists } = await answered(
    call(ctx, "media.hasProof", { orderId, photoId }, { timeout: TIMEOUT_MS }),
    "Photos cannot be looked up now.",
  );
  return exists;
}

/**
 * An order is given to deliverers only: nobody else could hand it over.
 * @throws VALIDATION_ERROR, SERVICE_UNAVAILABLE when nobody can say
 */
export async function requireDeliverer(ctx: Ctx<Params<"orders.reassign">>): Promise<void> {
  callerOf(ctx, "admin");
  const { delivererId: userId } = ctx.params;
  if (!userId) return;
  const { role } = await answered(
    call(ctx, "identity.findRole", { userId }, { timeout: TIMEOUT_MS }),
    "Users cannot be looked up now.",
  );
  if (role !== "deliverer") throw invalidField("delivererId", "deliverer", "This is no deliverer.");
}

/** What another service says; that it cannot say anything is no fault of the caller's. */
async function answered<T>(asked: Promise<T>, detail: string): Promise<T> {
  try {
    return await asked;
  } catch {
    throw fail("SERVICE_UNAVAILABLE", detail);
  }
}
