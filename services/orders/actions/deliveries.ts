import type { Params, Result } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Caller, Ctx } from "../../../contracts/meta.ts";
import { formerNames, type OrderView } from "../../../contracts/orders.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { illegal } from "../domain/order.ts";
import { assign, deliver, failDelivery, pickUp, release, WRONG_PINS_MAX } from "../domain/order-delivery.ts";
import type { Order } from "../domain/order-model.ts";
import { decline } from "../domain/order-offers.ts";
import { admissionOf, findDutyPosition } from "../store/couriers.repository.ts";
import { offersTo, poolOrders } from "../store/order-lists.repository.ts";
import { findOrder, type LoadedOrder } from "../store/orders.repository.ts";
import { changeOrder } from "../store/unit-of-work.ts";
import { actorInTrace } from "../use-cases/order-trace.ts";
import { poolEntryOf } from "../use-cases/pool-entries.ts";
import { storePosition } from "./couriers.ts";
import { answerFor, viewOf } from "./views.ts";

const POOL_LIMIT_DEFAULT = 20;
/** Idempotency-Keys stay stored under the former names, so that processes of version 0.1 find the same keys. */
const ASSIGN_KEYS = formerNames["orders.assign"];
const RELEASE_KEYS = formerNames["orders.release"];

/** The orders that wait for a deliverer: with a position, given or of the caller's duty, the nearest first. */
export async function availableOrders(
  { postgres, offersOrders }: OrdersDependencies,
  ctx: Ctx<Params<"orders.available">>,
): Promise<Result<"orders.available">> {
  const caller = callerOf(ctx, "deliverer", "admin");
  const { latitude, longitude, limit = POOL_LIMIT_DEFAULT } = ctx.params;
  const given = latitude !== undefined && longitude !== undefined ? { latitude, longitude } : undefined;
  const from = given ?? (await findDutyPosition(postgres.db, caller.id));
  const found = await poolOrders(postgres.db, from, limit, { offered: offersOrders });
  return { items: found.map(poolEntryOf) };
}

/** The order that is offered to the caller now, in a list. */
export async function listOffers(
  { postgres }: OrdersDependencies,
  ctx: Ctx<unknown>,
): Promise<Result<"orders.offers">> {
  const { id } = callerOf(ctx, "deliverer");
  return { items: (await offersTo(postgres.db, id)).map(poolEntryOf) };
}

/** Declines an offer; the order is offered to the next courier. @throws NOT_FOUND for an order that is not offered to the caller */
export async function declineOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.decline">>,
): Promise<Record<string, never>> {
  const caller = callerOf(ctx, "deliverer");
  const actor = actorInTrace("deliverer", caller.id);
  const isFirst = await changeOrder(
    deps,
    ctx,
    "orders.decline",
    caller as Deliverer,
    ({ order, nowMs }) => decline(order, caller.id, actor, nowMs),
    (_, { transition }) => transition !== undefined,
  );
  if (isFirst) deps.offerCounts.declined++;
  return {};
}

/**
 * Of several concurrent calls, one succeeds.
 * @throws ALREADY_ASSIGNED, HANDOVER_LOCKED, NOT_FOUND, COURIER_FULL, FORBIDDEN for a former deliverer
 */
export async function assignOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.assign">>,
): Promise<OrderView> {
  const caller = callerOf(ctx, "deliverer");
  const actor = actorInTrace("deliverer", caller.id);
  let wasOffered = false;
  const view = await changeOrder(
    deps,
    ctx,
    ASSIGN_KEYS,
    { role: "anybody" },
    async ({ order, nowMs }, trx) => {
      // Decides first, so that of many concurrent calls only the successful one reads the deliverer.
      const decision = assign(order, caller.id, actor, nowMs);
      const { isFormer, underWay, ordersAtOnce = deps.courierOrdersMax } = await admissionOf(trx, caller.id);
      if (isFormer) throw fail("FORBIDDEN", "You are no deliverer any more.");
      if (decision.next !== order && underWay >= ordersAtOnce) {
        throw fail("COURIER_FULL", `You deliver ${underWay} orders: ${ordersAtOnce} at once are allowed.`);
      }
      wasOffered = order.offeredTo === caller.id;
      return decision;
    },
    viewOf,
  );
  if (wasOffered) deps.offerCounts.accepted++;
  return answerFor(deps, ctx, caller, view);
}

/** Releases an order into the pool. @throws NOT_FOUND if the caller is not its deliverer */
export async function releaseOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.release">>,
): Promise<OrderView> {
  const caller = callerOf(ctx, "deliverer");
  const actor = actorInTrace("deliverer", caller.id);
  const view = await changeOrder(
    deps,
    ctx,
    RELEASE_KEYS,
    caller as Deliverer,
    ({ order, nowMs }) => release(order, actor, nowMs, ctx.params.reason),
    viewOf,
  );
  return answerFor(deps, ctx, caller, view);
}

/** The deliverer confirms the pickup at the partner. @throws WRONG_PICKUP_CODE, NOT_FOUND if the caller is not its deliverer */
export async function pickUpOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.pickUp">>,
): Promise<OrderView> {
  const caller = callerOf(ctx, "deliverer");
  const actor = actorInTrace("deliverer", caller.id);
  const { orderId } = ctx.params;
  const code = ctx.params.code.toUpperCase();
  const view = await changeOrder(
    deps,
    ctx,
    "orders.pickUp",
    caller as Deliverer,
    ({ order, nowMs }) => {
      const own = requireDelivererOf(order, caller);
      const codeIsRight = code === order.number || code === deps.deliveryTokens.pickupCodeOf(orderId);
      return pickUp(own, codeIsRight, actor, nowMs);
    },
    viewOf,
  );
  return answerFor(deps, ctx, caller, view);
}

/** Records that the order could not be delivered. @throws NOT_FOUND if the caller is not its deliverer */
export async function failOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.fail">>,
): Promise<OrderView> {
  const caller = callerOf(ctx, "deliverer");
  const actor = actorInTrace("deliverer", caller.id);
  const view = await changeOrder(
    deps,
    ctx,
    "orders.fail",
    caller as Deliverer,
    ({ order, nowMs }) => failDelivery(requireDelivererOf(order, caller), actor, nowMs, ctx.params.reason),
    viewOf,
  );
  return answerFor(deps, ctx, caller, view);
}

/**
 * Hands the order over to the customer.
 * @param photoExists whether the given photo was uploaded for this order
 * @throws WRONG_PIN, HANDOVER_LOCKED, PROOF_REQUIRED, ILLEGAL_TRANSITION, NOT_FOUND, VALIDATION_ERROR
 */
export async function deliverOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.deliver">>,
  photoExists = true,
): Promise<OrderView> {
  const caller = callerOf(ctx, "deliverer");
  const actor = actorInTrace("deliverer", caller.id);
  const { orderId, pin, photoId } = ctx.params;
  const pinIsRight = deps.deliveryTokens.isPin(orderId, pin);
  const decide = ({ order, nowMs }: LoadedOrder) => {
    const own = requireDelivererOf(order, caller);
    if (!photoExists) throw invalidField("photoId", "exists", "There is no such photo of this order.");
    return deliver(own, { pinIsRight, photoId }, actor, nowMs);
  };
  // A wrong PIN is saved first, so the error is thrown after the commit.
  const { view, refused, failures } = await changeOrder(
    deps,
    ctx,
    "orders.deliver",
    caller as Deliverer,
    decide,
    (order, { refused }) => ({
      view: viewOf(order),
      refused,
      failures: order.handoverFailures,
    }),
  );
  if (refused) throw fail(refused, undefined, { triesLeft: WRONG_PINS_MAX - failures });
  return answerFor(deps, ctx, caller, view);
}

/** Stores the deliverer's position and publishes it to watching clients, unless a newer one is stored. */
export async function reportLocation(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.reportLocation">>,
): Promise<Record<string, never>> {
  const caller = callerOf(ctx, "deliverer");
  const { orderId } = ctx.params;
  const { saved } = await storePosition(deps, { delivererId: caller.id, orderId }, ctx.params);
  if (saved > 0) return {};
  const found = await findOrder(deps.postgres.db, orderId, caller as Deliverer);
  if (found?.order.delivererId !== caller.id) throw fail("NOT_FOUND", "There is no such order.");
  // A newer position is stored, so this one has no effect.
  if (found.order.status === "delivering") return {};
  throw illegal(found.order);
}

type Deliverer = { role: "deliverer"; id: string };

/** Every deliverer sees the pool, but only the order's own deliverer may deliver it. @throws NOT_FOUND */
function requireDelivererOf(order: Order, { id }: Caller): Order {
  if (order.delivererId !== id) throw fail("NOT_FOUND", "There is no such order.");
  return order;
}
