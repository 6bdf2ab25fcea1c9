import { call, type Params } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import { type Caller, type Ctx, isOperator } from "../../../contracts/meta.ts";
import { shorten } from "../../../lib/text.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { partOfRequestTimeout } from "../../../mixins/retry-deadline/request-timeout.ts";
import type { Actor } from "../domain/order-model.ts";
import type { Owner } from "../store/order-lists.repository.ts";
import type { Reader, Viewer } from "../store/orders.repository.ts";
import { actorInTrace } from "../use-cases/order-trace.ts";

/** Short enough to leave time for the order's own transaction. */
const LOOKUP_TIMEOUT_MS = 500;
/** The most couriers that the refusal of an ambiguous name lists. */
const NAMESAKES_MAX = 5;

/** The orders that a caller may change, if the operation is for the caller's role at all. @throws FORBIDDEN for staff without a partner */
export function viewerOf(caller: Caller): Viewer {
  const owner = ownerOf(caller);
  return owner.role === "admin" ? { role: "anybody" } : owner;
}

/** The orders that a caller may read: their own in any role, and those of their work. @throws FORBIDDEN */
export function readerOf(caller: Caller): Reader {
  const { role, id, partnerId } = caller;
  if (isOperator(role)) return { role: "anybody" };
  if (role !== "partner") return { role: "person", id, carries: role === "deliverer" };
  if (!partnerId) throw fail("FORBIDDEN");
  return { role: "person", id, carries: false, partnerId };
}

/** The owner of the orders in the caller's own list. @throws FORBIDDEN for staff without a partner */
export function ownerOf({ role, id, partnerId }: Caller): Owner {
  if (isOperator(role)) return { role: "admin" };
  if (role !== "partner") return { role, id };
  if (!partnerId) throw fail("FORBIDDEN");
  return { role, partnerId, id };
}

/** The caller as an actor in the table of moves. */
export function actorOf({ role, id }: Caller): Actor {
  return actorInTrace(isOperator(role) ? "admin" : role, id);
}

/**
 * Whether the photo of a handover, if there is one, was uploaded for this order. The caller reports a missing photo only
 * after it has checked that the order is the deliverer's own.
 * @throws SERVICE_UNAVAILABLE if Media does not answer
 */
export async function photoExists(ctx: Ctx<Params<"orders.deliver">>): Promise<boolean> {
  callerOf(ctx, "deliverer");
  const { orderId, photoId } = ctx.params;
  if (!photoId) return true;
  const { exists } = await lookUp(
    call(
      ctx,
      "media.hasProof",
      { orderId, photoId },
      { timeout: partOfRequestTimeout(ctx.broker, LOOKUP_TIMEOUT_MS) },
    ),
    "Photos cannot be looked up now.",
  );
  return exists;
}

/**
 * Checks that a user is a deliverer: no other user could deliver an order.
 * @param field the parameter that names the user
 * @throws VALIDATION_ERROR, SERVICE_UNAVAILABLE if Identity does not answer
 */
export async function requireDeliverer(
  ctx: Ctx<unknown>,
  userId: string | undefined,
  field: string,
): Promise<void> {
  callerOf(ctx, "admin");
  if (!userId) return;
  const { role } = await lookUp(
    call(
      ctx,
      "identity.findRole",
      { userId },
      { timeout: partOfRequestTimeout(ctx.broker, LOOKUP_TIMEOUT_MS) },
    ),
    "Users cannot be looked up now.",
  );
  if (role !== "deliverer") throw invalidField(field, "deliverer", "This is no deliverer.");
}

/**
 * The deliverer of a reassignment, given by id or by name.
 * @returns undefined if none is given
 * @throws VALIDATION_ERROR if no active deliverer is meant, or several are; SERVICE_UNAVAILABLE if Identity does not answer
 */
export async function givenDeliverer(ctx: Ctx<Params<"orders.reassign">>): Promise<string | undefined> {
  const { delivererId, courier } = ctx.params;
  if (courier === undefined) {
    await requireDeliverer(ctx, delivererId, "delivererId");
    return delivererId;
  }
  callerOf(ctx, "admin");
  if (delivererId !== undefined)
    throw invalidField("courier", "exclusive", "Give an id or a name, not both.");
  const filter = { role: "deliverer", state: "active", q: courier, limit: NAMESAKES_MAX } as const;
  const timeout = partOfRequestTimeout(ctx.broker, LOOKUP_TIMEOUT_MS);
  const { items } = await lookUp(
    call(ctx, "identity.users", filter, { timeout }),
    "Users cannot be looked up now.",
  );
  const [found, ...others] = items;
  if (!found) throw invalidField("courier", "unknown", "No active courier has this name.");
  if (others.length === 0) return found.id;
  const names = items.map(({ firstName, lastName, email }) => `${firstName} ${lastName} <${email}>`);
  throw invalidField("courier", "ambiguous", shorten(`Write more of the name: ${names.join(", ")}`, 500));
}

/** The names of users by id, on behalf of an operator. Empty while Identity does not answer. */
export async function namesOf(ctx: Ctx<unknown>, userIds: string[]): Promise<ReadonlyMap<string, string>> {
  if (userIds.length === 0) return new Map();
  const timeout = partOfRequestTimeout(ctx.broker, LOOKUP_TIMEOUT_MS);
  try {
    const { items } = await call(ctx, "identity.names", { userIds }, { timeout });
    return new Map(items.map(({ id, name }) => [id, name]));
  } catch {
    return new Map();
  }
}

async function lookUp<T>(answer: Promise<T>, detail: string): Promise<T> {
  try {
    return await answer;
  } catch {
    throw fail("SERVICE_UNAVAILABLE", detail);
  }
}
