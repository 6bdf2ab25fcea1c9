import { alert } from "../../../contracts/alerts.ts";
import { reasonOf } from "../../../lib/sql/database.ts";
import { shortenLine } from "../../../lib/text.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { overdue } from "../domain/order-deadline.ts";
import { awaitsNotice } from "../domain/order-model.ts";
import { deadlineFailed, dueOrders, lockDueOrder, noticeProblemOf } from "../store/deadlines.repository.ts";
import { acting, inOrderTrace } from "../store/order-trace.ts";
import { findPosition } from "../store/orders.repository.ts";
import { commit, load } from "../store/unit-of-work.ts";

const BATCH = 50;
/** How long a deadline that could not be acted on stands aside: at first, and at most. */
const RETRY_MS = 60_000;
const RETRY_MAX_MS = 30 * 60_000;
/** A single failure may be chance; from this one on an operator is told. */
const ALERT_AT_FAILURE = 2;
const ERROR_MAX_LENGTH = 500;

interface Logger {
  error(...text: unknown[]): void;
}

/**
 * One pass over the deadlines that have passed, by the database's clock. Each order has its own transaction:
 * one that fails does not delay the others. Replicas share the work: each skips what another has locked.
 * An order that fails is tried less and less often; its deadline stays, so it shows as stuck, and an operator
 * is told. A stop ends the pass after the running transaction.
 */
export function deadlineSweep(
  deps: OrdersDependencies,
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
          await failed(deps, id, error);
        }
      }
    } while (ids.length === BATCH);
  };
}

/** Reads nothing of the order but its version: what cannot be read may be the very reason. */
async function failed({ postgres, outbox }: OrdersDependencies, id: string, error: unknown): Promise<void> {
  const text = shortenLine(reasonOf(error), ERROR_MAX_LENGTH);
  await postgres.transact(async (trx) => {
    const retry = { delayMs: RETRY_MS, maxMs: RETRY_MAX_MS, error: text };
    const failure = await deadlineFailed(trx, id, retry);
    if (!failure || failure.failures < ALERT_AT_FAILURE) return;
    const detail = `The deadline could not be acted on (${failure.failures} times): ${text}`;
    await outbox.add(trx, [alert("deadline.failed", detail, { subject: id, version: failure.version })]);
  });
}

async function act(deps: OrdersDependencies, id: string): Promise<void> {
  await deps.postgres.transact(async (trx) => {
    if (!(await lockDueOrder(trx, id))) return;
    const { order, nowMs, traceparent } = await load(trx, id, { role: "anybody" });
    const position = order.status === "delivering" ? await findPosition(trx, id) : undefined;
    const noticeProblem = awaitsNotice(order)
      ? (order.noticeProblem ?? (await noticeProblemOf(trx, id)))
      : undefined;
    const seen = { positionAt: position?.heardAt, noticeProblem };
    await inOrderTrace(traceparent, "deadline passed", async () => {
      const decision = overdue(order, acting("deadline", "deadline"), nowMs, seen);
      if (decision) await commit(deps, trx, order, decision);
    });
  });
}
