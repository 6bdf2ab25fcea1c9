import { fail } from "../../../contracts/errors.ts";
import type { NewMessage } from "../../../contracts/messages.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { KeyedLimitError } from "../../../lib/keyed-limit.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { linkTo } from "../../../lib/tracing/index.ts";
import { audit } from "../../../mixins/outbox/audit.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import type { Decision, Order } from "../domain/order-model.ts";
import { nearestCouriers } from "./couriers.repository.ts";
import { isOfferedFirst } from "./offers.repository.ts";
import { findOrder, type LoadedOrder, lockOrder, saveOrder, type Viewer } from "./orders.repository.ts";
import { insertRefunds } from "./payments.repository.ts";

const ATTEMPTS = 4;
/** The code of our own error for an order that was changed between its read and its write. */
const CONFLICT = "ORDER_CONFLICT";
const DEADLOCK_DETECTED = "40P01";
const RETRYABLE_CODES = [DEADLOCK_DETECTED, CONFLICT];

/** Whether `saveDecision` wrote nothing because another transaction had changed the order. */
export function isConflict(error: unknown): boolean {
  return (error as { code?: string }).code === CONFLICT;
}

/**
 * Runs a transaction on an order, and again after a conflict with another transaction. The first attempt takes no lock,
 * because conflicts are rare; the next attempts lock the order first. A transaction that writes other rows before it saves
 * the order (a callback, a receipt) must always lock the order before them: otherwise a first attempt, which holds those
 * rows, and a next attempt, which holds the order, wait for each other. The transactions of one order may use a limited
 * number of database connections only, so that they do not block other orders.
 * @param transaction `locked`: whether it must lock the order first
 * @throws ORDER_CHANGED after repeated conflicts, OVERLOADED if too many transactions wait for this order
 */
export async function retryOnConflict<T>(
  { orderConnections }: Pick<OrdersDependencies, "orderConnections">,
  orderId: string,
  transaction: (locked: boolean) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    try {
      return await orderConnections.run(orderId, () => transaction(attempt > 1));
    } catch (error) {
      if (error instanceof KeyedLimitError)
        throw fail("OVERLOADED", "Too many changes of this order at once.");
      if (!RETRYABLE_CODES.includes((error as { code?: string }).code ?? "")) throw error;
    }
  }
  throw fail("ORDER_CHANGED");
}

/** Loads an order. @throws NOT_FOUND if the viewer may not see it */
export async function loadOrder(
  trx: Transaction,
  id: string,
  viewer: Viewer,
  locked = false,
): Promise<LoadedOrder> {
  if (locked) await lockOrder(trx, id);
  const found = await findOrder(trx, id, viewer);
  if (!found) throw fail("NOT_FOUND", "There is no such order.");
  return found;
}

/** The dependencies of `saveDecision`. */
export type SaveDependencies = Pick<
  OrdersDependencies,
  "outbox" | "wakeRefunds" | "courierOrdersMax" | "offersOrders"
>;

/**
 * Saves a decision in the caller's transaction: state, history, refunds and messages.
 * @param leavesPool the order is assigned in the same transaction, so no other courier is notified of it
 */
export async function saveDecision(
  deps: SaveDependencies,
  trx: Transaction,
  before: Order,
  decision: Decision,
  { leavesPool = false }: { leavesPool?: boolean } = {},
): Promise<Order> {
  const { outbox, wakeRefunds } = deps;
  const { next, transition, refunds } = decision;
  if (next === before) return before;
  const isReady = next.status === "ready" && before.status !== "ready" && !leavesPool;
  // With offers, an order enters the pool after them.
  const entersPool = isReady
    ? !(await isOfferedFirst(trx, next.partner.id, deps.offersOrders))
    : transition?.type === "order.pooled";
  const messages = entersPool ? await withNearbyCouriers(deps, trx, before, decision) : decision.messages;
  const rows = transition ? outbox.rowsFor(trx.committed, messages) : "[]";
  if (!(await saveOrder(trx, before, decision, rows))) {
    throw Object.assign(new Error("the order was changed meanwhile"), { code: CONFLICT });
  }
  await insertRefunds(trx, next, refunds);
  if (!transition) await outbox.add(trx, messages);
  if (refunds.length > 0) trx.committed.then(wakeRefunds, () => undefined);
  return next;
}

/** The messages of an order that enters the pool, with the couriers nearby who are notified of it. */
async function withNearbyCouriers(
  { courierOrdersMax }: SaveDependencies,
  trx: Transaction,
  before: Order,
  { next, messages }: Decision,
): Promise<NewMessage[]> {
  const { position } = next.partner.pickup;
  if (!position) return messages;
  const nearest = await nearestCouriers(trx, position, courierOrdersMax);
  const nearbyDelivererIds = nearest.filter((id) => id !== before.delivererId);
  if (nearbyDelivererIds.length === 0) return messages;
  return messages.map((one) =>
    isOrderMessage(one) ? { ...one, data: { ...one.data, nearbyDelivererIds } } : one,
  );
}

function isOrderMessage(
  message: NewMessage,
): message is NewMessage<"order.ready" | "order.released" | "order.pooled"> {
  return ["order.ready", "order.released", "order.pooled"].includes(message.type);
}

/**
 * Runs a command on one order: loads it, decides, saves and answers. With an Idempotency-Key, the answer is stored in the
 * same transaction.
 * @param scope of the Idempotency-Key: the action's name
 * @param answer makes the answer, which must not contain secrets, because it is stored
 */
export async function changeOrder<D extends Decision, T>(
  deps: OrdersDependencies,
  ctx: Ctx<{ orderId: string }>,
  scope: string,
  viewer: Viewer,
  decide: (loaded: LoadedOrder, trx: Transaction) => D | Promise<D>,
  answer: (order: Order, decision: D) => T,
): Promise<T> {
  return retryOnConflict(deps, ctx.params.orderId, (locked) =>
    idempotent(deps.postgres, ctx, scope, async (trx) => {
      const found = await loadOrder(trx, ctx.params.orderId, viewer, locked);
      linkTo(found.traceparent);
      const decision = await decide(found, trx);
      await audit(deps.outbox, trx, ctx, ctx.params.orderId);
      return answer(await saveDecision(deps, trx, found.order, decision), decision);
    }),
  );
}
