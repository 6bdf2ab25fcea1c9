import type { Params, Result } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Caller, Ctx } from "../../../contracts/meta.ts";
import type { OrderView } from "../../../contracts/orders.ts";
import { isoTime, momentOf } from "../../../lib/clock.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { illegal } from "../domain/order.ts";
import { assign, deliver, failDelivery, release, WRONG_PINS_MAX } from "../domain/order-delivery.ts";
import type { Order } from "../domain/order-model.ts";
import { isFormerDeliverer } from "../store/former-deliverers.repository.ts";
import { poolOrders } from "../store/order-lists.repository.ts";
import { acting } from "../store/order-trace.ts";
import { findOrder, type Loaded, savePosition } from "../store/orders.repository.ts";
import { changeOrder } from "../store/unit-of-work.ts";
import { viewFor, viewOf } from "./views.ts";

const POOL_DEFAULT = 20;

/** The orders that wait for a deliverer, the nearest first when a position is given. */
export async function availableOrders(
  { postgres }: OrdersDependencies,
  ctx: Ctx<Params<"orders.available">>,
): Promise<Result<"orders.available">> {
  callerOf(ctx, "deliverer", "admin");
  const { latitude, longitude, limit = POOL_DEFAULT } = ctx.params;
  const from = latitude !== undefined && longitude !== undefined ? { latitude, longitude } : undefined;
  const found = await poolOrders(postgres.db, from, limit);
  const items = found.map(({ feeMinor, currency, ...entry }) => ({
    ...entry,
    fee: { amountMinor: feeMinor, currency },
  }));
  return { items };
}

/** Of any number of claims at the same moment one wins. @throws ALREADY_ASSIGNED, HANDOVER_LOCKED, NOT_FOUND */
export function assignOrder(deps: OrdersDependencies, ctx: Ctx<Params<"orders.claim">>): Promise<OrderView> {
  const caller = callerOf(ctx, "deliverer");
  const actor = acting("deliverer", caller.id);
  return changeOrder(
    deps,
    ctx,
    "orders.claim",
    { role: "anybody" },
    async ({ order, nowMs }, trx) => {
      // Decided first: of many who claim at once, only the winner has to be looked up.
      const decision = assign(order, caller.id, actor, nowMs);
      if (await isFormerDeliverer(trx, caller.id)) throw fail("FORBIDDEN", "You are no deliverer any more.");
      return decision;
    },
    (order) => viewFor(caller, viewOf(order), deps.deliveryTokens),
  );
}

/** Gives an order back to the pool. @throws NOT_FOUND unless the caller carries it */
export function releaseOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.unclaim">>,
): Promise<OrderView> {
  const caller = callerOf(ctx, "deliverer");
  const actor = acting("deliverer", caller.id);
  return changeOrder(
    deps,
    ctx,
    "orders.unclaim",
    caller as Deliverer,
    ({ order, nowMs }) => release(order, actor, nowMs, ctx.params.reason),
    (order) => viewFor(caller, viewOf(order), deps.deliveryTokens),
  );
}

/** The order could not be handed over. @throws NOT_FOUND unless the caller carries it */
export function failOrder(deps: OrdersDependencies, ctx: Ctx<Params<"orders.fail">>): Promise<OrderView> {
  const caller = callerOf(ctx, "deliverer");
  const actor = acting("deliverer", caller.id);
  return changeOrder(
    deps,
    ctx,
    "orders.fail",
    caller as Deliverer,
    ({ order, nowMs }) => failDelivery(carried(order, caller), actor, nowMs, ctx.params.reason),
    (order) => viewFor(caller, viewOf(order), deps.deliveryTokens),
  );
}

/**
 * The handover.
 * @param photoExists whether the photo that is stated was taken of this order
 * @throws WRONG_PIN, HANDOVER_LOCKED, PROOF_REQUIRED, ILLEGAL_TRANSITION, NOT_FOUND, VALIDATION_ERROR
 */
export async function deliverOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.deliver">>,
  photoExists = true,
): Promise<OrderView> {
  const caller = callerOf(ctx, "deliverer");
  const actor = acting("deliverer", caller.id);
  const { orderId, pin, photoId } = ctx.params;
  const pinIsRight = deps.deliveryTokens.isPin(orderId, pin);
  const decide = ({ order, nowMs }: Loaded) => {
    const own = carried(order, caller);
    if (!photoExists) throw invalidField("photoId", "exists", "There is no such photo of this order.");
    return deliver(own, { pinIsRight, photoId }, actor, nowMs);
  };
  // A wrong PIN is counted before it is refused, so the refusal comes after the commit.
  const { view, refused, failures } = await changeOrder(
    deps,
    ctx,
    "orders.deliver",
    caller as Deliverer,
    decide,
    (order, { refused }) => ({
      view: viewFor(caller, viewOf(order), deps.deliveryTokens),
      refused,
      failures: order.handoverFailures,
    }),
  );
  if (refused) throw fail(refused, undefined, { triesLeft: WRONG_PINS_MAX - failures });
  return view;
}

/** Where the deliverer is, or was: kept as the last position and told to whoever watches, unless a newer one is known. */
export async function reportLocation(
  { postgres, live }: OrdersDependencies,
  ctx: Ctx<Params<"orders.reportLocation">>,
): Promise<Record<string, never>> {
  const caller = callerOf(ctx, "deliverer");
  const { orderId, position, at } = ctx.params;
  const fixAtMs = at === undefined ? undefined : momentOf(at);
  if (at !== undefined && fixAtMs === undefined)
    throw invalidField("at", "time", "This is no moment in time.");
  const fixAt = fixAtMs === undefined ? undefined : isoTime(fixAtMs);
  const saved = await savePosition(postgres.db, orderId, caller.id, position, fixAt);
  if (saved) {
    live.tell("order.position", { orderId, position, at: isoTime(Date.parse(saved.at)) });
    return {};
  }
  const found = await findOrder(postgres.db, orderId, caller as Deliverer);
  if (found?.order.delivererId !== caller.id) throw fail("NOT_FOUND", "There is no such order.");
  // A newer position is known: this one moves nothing back.
  if (found.order.status === "delivering") return {};
  throw illegal(found.order);
}

type Deliverer = { role: "deliverer"; id: string };

/** The pool is open to every deliverer, the handover only to the one who carries the order. */
function carried(order: Order, { id }: Caller): Order {
  if (order.delivererId !== id) throw fail("NOT_FOUND", "There is no such order.");
  return order;
}
