import type { Params } from "../../../contracts/actions.ts";
import { requirePostalCode } from "../../../contracts/addresses.ts";
import { invalidField } from "../../../contracts/errors.ts";
import { type Ctx, operatorRoles } from "../../../contracts/meta.ts";
import type { OrderView } from "../../../contracts/orders.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { audit } from "../../../mixins/outbox/audit.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { edit } from "../domain/order-customer.ts";
import { assign, cancel, override, release } from "../domain/order-delivery.ts";
import type { Order } from "../domain/order-model.ts";
import { refundCustomer } from "../domain/order-payment.ts";
import { changeOrder, loadOrder, retryOnConflict, saveDecision } from "../store/unit-of-work.ts";
import { actorOf, viewerOf } from "./access.ts";
import { withAuthor } from "./unmatched-payments.ts";
import { answerFor, viewOf } from "./views.ts";

/** Changes address and note before the payment. @throws PRECONDITION_FAILED, ILLEGAL_TRANSITION, NOT_FOUND */
export async function updateOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.update">>,
): Promise<OrderView> {
  const caller = callerOf(ctx, "customer");
  requirePostalCode(ctx.params.address);
  const view = await changeOrder(
    deps,
    ctx,
    "orders.update",
    viewerOf(caller),
    ({ order, nowMs }) => edit(order, ctx.params, nowMs),
    viewOf,
  );
  return answerFor(deps, ctx, caller, view);
}

/** Customers, partner staff and operators cancel in the states that `moves` allows. @throws ORDER_NOT_CANCELLABLE */
export async function cancelOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.cancel">>,
): Promise<OrderView> {
  const caller = callerOf(ctx, "customer", "partner", "admin");
  const actor = actorOf(caller);
  const view = await changeOrder(
    deps,
    ctx,
    "orders.cancel",
    viewerOf(caller),
    ({ order, nowMs }) => cancel(order, actor, nowMs, ctx.params.reason),
    viewOf,
  );
  return answerFor(deps, ctx, caller, view);
}

/**
 * An operator refunds money.
 * @throws VALIDATION_ERROR for too high an amount, REFUND_LIMIT beyond what support may refund, ILLEGAL_TRANSITION if pending
 */
export function refundOrder(deps: OrdersDependencies, ctx: Ctx<Params<"orders.refund">>): Promise<OrderView> {
  const caller = callerOf(ctx, ...operatorRoles);
  const { amount, reason } = ctx.params;
  const maxMinor = caller.role === "support" ? deps.supportRefundMaxMinor : undefined;
  return changeOrder(
    deps,
    ctx,
    "orders.refund",
    viewerOf(caller),
    ({ order, nowMs }) => refundCustomer(order, amount, withAuthor(reason, caller.id), nowMs, maxMinor),
    viewOf,
  );
}

/** An operator sets an order to a state that `moves` allows operators. @throws ILLEGAL_TRANSITION */
export function overrideOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.override">>,
): Promise<OrderView> {
  const caller = callerOf(ctx, "admin");
  const actor = actorOf(caller);
  const { to, reason } = ctx.params;
  return changeOrder(
    deps,
    ctx,
    "orders.override",
    viewerOf(caller),
    ({ order, nowMs }) => override(order, to, actor, nowMs, reason),
    viewOf,
  );
}

/**
 * Releases an order into the pool or assigns it to another deliverer, also beyond the number of orders at once.
 * @throws ILLEGAL_TRANSITION, NOT_FOUND
 */
export function reassignOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.reassign">>,
  delivererId = ctx.params.delivererId,
): Promise<OrderView> {
  const caller = callerOf(ctx, "admin");
  const actor = actorOf(caller);
  const { orderId, reason } = ctx.params;
  return retryOnConflict(deps, orderId, (locked) =>
    idempotent(deps.postgres, ctx, "orders.reassign", async (trx) => {
      const { order, nowMs } = await loadOrder(trx, orderId, viewerOf(caller), locked);
      await audit(deps.outbox, trx, ctx, orderId, delivererId && `to ${delivererId}`);
      // For the present deliverer it is a repeat, unless wrong PINs were counted: then it allows new attempts.
      const isAssigned = order.status === "delivering" && order.delivererId === delivererId;
      if (isAssigned && order.handoverFailures === 0) return viewOf(order);
      let released: Order = order;
      if (order.status !== "ready") {
        const leavesPool = delivererId !== undefined;
        released = await saveDecision(deps, trx, order, release(order, actor, nowMs, reason), { leavesPool });
      } else if (!delivererId) {
        throw invalidField(
          "delivererId",
          "state",
          "The order is in the pool already: say who shall carry it.",
        );
      }
      if (!delivererId) return viewOf(released);
      return viewOf(await saveDecision(deps, trx, released, assign(released, delivererId, actor, nowMs)));
    }),
  );
}
