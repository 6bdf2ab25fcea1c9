import type { Knex } from "knex";
import { fail } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { KeyedLimitError } from "../../../lib/keyed-limit.ts";
import { linkTo } from "../../../lib/tracing/index.ts";
import { audit } from "../../../mixins/outbox/audit.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import type { Decision, Order } from "../domain/order-model.ts";
import { findOrder, type Loaded, lockOrder, saveOrder, type Viewer } from "./orders.repository.ts";
import { insertRefunds } from "./payments.repository.ts";

const TRIES = 4;
/** PostgreSQL's deadlock_detected, and our own: the order was changed between the look at it and the write. */
const WORTH_ANOTHER_TRY = ["40P01", "LOST_RACE"];

/**
 * Runs a transaction, and again when the order that it decided on was changed meanwhile. The first try locks
 * nothing, since it nearly always wins; from the second on it waits for its turn and cannot lose. An order that is in
 * great demand, or whose row somebody holds, takes only its part of the connections to the database.
 * @throws ORDER_CHANGED when it lost all the same, OVERLOADED when too many others change this order
 */
export async function retryOnConflict<T>(
  { orderConnections }: Pick<OrdersDependencies, "orderConnections">,
  orderId: string,
  transaction: (locked: boolean) => Promise<T>,
): Promise<T> {
  for (let tries = 0; tries < TRIES; tries++) {
    try {
      return await orderConnections.run(orderId, () => transaction(tries > 0));
    } catch (error) {
      if (error instanceof KeyedLimitError)
        throw fail("OVERLOADED", "Too many changes of this order at once.");
      if (!WORTH_ANOTHER_TRY.includes((error as { code?: string }).code ?? "")) throw error;
    }
  }
  throw fail("ORDER_CHANGED");
}

/** The order as the viewer may see it. @throws NOT_FOUND */
export async function load(
  trx: Knex.Transaction,
  id: string,
  viewer: Viewer,
  locked = false,
): Promise<Loaded> {
  if (locked) await lockOrder(trx, id);
  const found = await findOrder(trx, id, viewer);
  if (!found) throw fail("NOT_FOUND", "There is no such order.");
  return found;
}

/** Saves what was decided: state, history, refunds and messages, all in the caller's transaction. */
export async function commit(
  { outbox, wakeRefunds }: Pick<OrdersDependencies, "outbox" | "wakeRefunds">,
  trx: Knex.Transaction,
  before: Order,
  decision: Decision,
): Promise<Order> {
  const { next, messages, refunds } = decision;
  if (next === before) return before;
  if (!(await saveOrder(trx, before, decision))) throw lostRace();
  await insertRefunds(trx, next, refunds);
  await outbox.add(trx, messages);
  if (refunds.length > 0) trx.executionPromise.then(wakeRefunds, () => undefined);
  return next;
}

/**
 * One command on one order, as a sentence: load what the viewer may see, decide, save, return. With an
 * Idempotency-Key the answer is kept with the effect.
 * @param scope the action's name
 * @param answer what is kept and returned; it must hold no secret
 */
export async function changeOrder<D extends Decision, T>(
  deps: OrdersDependencies,
  ctx: Ctx<{ orderId: string }>,
  scope: string,
  viewer: Viewer,
  decide: (loaded: Loaded, trx: Knex.Transaction) => D | Promise<D>,
  answer: (order: Order, decision: D) => T,
): Promise<T> {
  return retryOnConflict(deps, ctx.params.orderId, (locked) =>
    idempotent(deps.postgres, ctx, scope, async (trx) => {
      const found = await load(trx, ctx.params.orderId, viewer, locked);
      linkTo(found.traceparent);
      const decision = await decide(found, trx);
      await audit(deps.outbox, trx, ctx, ctx.params.orderId);
      return answer(await commit(deps, trx, found.order, decision), decision);
    }),
  );
}

function lostRace(): Error {
  return Object.assign(new Error("the order was changed meanwhile"), { code: "LOST_RACE" });
}
