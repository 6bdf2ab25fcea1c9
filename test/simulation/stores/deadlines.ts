import { isoTime } from "../../../lib/clock.ts";
import type * as real from "../../../services/orders/store/deadlines.repository.ts";
import { statement } from "../memory.ts";
import type { View } from "../view.ts";
import type { OrderRecord } from "./orders.ts";

export * from "../../../services/orders/store/deadlines.repository.ts";

export const lockDueOrder: typeof real.lockDueOrder = (trx, id) =>
  statement(trx, (view) => {
    const found = view.get<OrderRecord>("orders", id);
    if (!found || !isDue(view, found)) return false;
    const locked = view.lockedNow<OrderRecord>("orders", id);
    return locked !== undefined && isDue(view, locked);
  });

export const noticeProblemOf: typeof real.noticeProblemOf = async (_db, orderId) =>
  `nothing is known of ${orderId}`;

export const dueOrders: typeof real.dueOrders = (db, limit) =>
  statement(db, (view) =>
    view
      .all<OrderRecord>("orders")
      .filter(
        ([, order]) => isDue(view, order) && Date.parse(order.deadlineRetryAt ?? "") > view.nowMs === false,
      )
      .sort(([, a], [, b]) => ((a.deadlineAt ?? "") < (b.deadlineAt ?? "") ? -1 : 1))
      .slice(0, limit)
      .map(([id]) => id),
  );

export const recordDeadlineFailure: typeof real.recordDeadlineFailure = (db, id, { delayMs, error }) =>
  statement(db, (view) => {
    const found = view.locked<OrderRecord>("orders", id);
    if (!found || !isDue(view, found)) return undefined;
    const failures = (found.deadlineFailures ?? 0) + 1;
    const deadlineRetryAt = isoTime(view.nowMs + delayMs);
    view.update("orders", id, {
      ...found,
      deadlineFailures: failures,
      deadlineRetryAt,
      deadlineError: error,
    });
    return { failures, version: found.version };
  });

function isDue(view: View, { deadlineAt }: OrderRecord): boolean {
  return deadlineAt !== undefined && Date.parse(deadlineAt) <= view.nowMs;
}
