import { commit, load } from "./change.ts";
import type { OrdersDeps } from "./deps.ts";
import { overdue } from "./order-deadline.ts";
import { awaitsNotice } from "./order-model.ts";
import {
  dueOrders,
  findPosition,
  lockDueOrder,
  noticeProblemOf,
  postponeDeadline,
} from "./orders.repository.ts";
import { acting, inOrderTrace } from "./trace.ts";

const BATCH = 50;
/** How long a deadline that could not be acted on stands aside. */
const POSTPONE_MS = 60_000;

interface Logger {
  error(...text: unknown[]): void;
}

/**
 * One pass over the deadlines that have passed, by the database's clock. Each order is a transaction of its own,
 * so that one that cannot be moved holds up nobody; replicas share the work by skipping what another has locked.
 * A stop ends it after the running transaction.
 */
export function deadlineSweep(
  deps: OrdersDeps,
  logger: () => Logger,
): (stopping?: AbortSignal) => Promise<void> {
  return async (stopping) => {
    let ids: string[];
    do {
      ids = await dueOrders(deps.postgres.db, BATCH);
      for (const id of ids) {
        if (stopping?.aborted) return;
        try {
          await act(deps, id);
        } catch (error) {
          logger().error(`order ${id}: its deadline could not be acted on:`, String(error));
          await postponeDeadline(deps.postgres.db, id, POSTPONE_MS);
        }
      }
    } while (ids.length === BATCH);
  };
}

async function act(deps: OrdersDeps, id: string): Promise<void> {
  await deps.postgres.transact(async (trx) => {
    if (!(await lockDueOrder(trx, id))) return;
    const { order, nowMs, traceparent } = await load(trx, id, { role: "anybody" });
    const position = order.status === "delivering" ? await findPosition(trx, id) : undefined;
    const noticeProblem = awaitsNotice(order)
      ? (order.noticeProblem ?? (await noticeProblemOf(trx, id)))
      : undefined;
    const seen = { positionAt: position?.reportedAt, noticeProblem };
    await inOrderTrace(traceparent, "deadline passed", async () => {
      const decision = overdue(order, acting("deadline", "deadline"), nowMs, seen);
      if (decision) await commit(deps, trx, order, decision);
    });
  });
}
