import { alert } from "../../../contracts/alerts.ts";
import type { Logger } from "../../../lib/logger.ts";
import { reasonOf } from "../../../lib/sql/database.ts";
import { shortenLine } from "../../../lib/text.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { applyOverdueDeadline } from "../domain/order-deadline.ts";
import { awaitsNotice } from "../domain/order-model.ts";
import {
  dueOrders,
  lockDueOrder,
  noticeProblemOf,
  recordDeadlineFailure,
} from "../store/deadlines.repository.ts";
import { findPosition } from "../store/orders.repository.ts";
import { loadOrder, saveDecision } from "../store/unit-of-work.ts";
import { actorInTrace, inOrderTrace } from "../use-cases/order-trace.ts";

const BATCH = 50;
/** The delay before a failed deadline is retried: the first one, and the maximum. */
const RETRY_MS = 60_000;
const RETRY_MAX_MS = 30 * 60_000;
/** The number of consecutive failures before an operator is alerted. */
const ALERT_AT_FAILURE = 2;
const ERROR_MAX_LENGTH = 500;

/**
 * Applies all deadlines that have passed, by the database's clock. Each order has its own transaction, so that a failure
 * does not delay the others. Replicas share the work: each skips the orders that another one has locked. A failed
 * deadline is retried with increasing delays; it stays, so that the order shows as stuck, and an operator is alerted.
 * @param stopping ends the work after the running transaction
 */
export async function applyDeadlines(
  deps: OrdersDependencies,
  logger: Pick<Logger, "error">,
  stopping?: AbortSignal,
): Promise<void> {
  let ids: string[];
  do {
    ids = await dueOrders(deps.postgres.db, BATCH);
    for (const id of ids) {
      if (stopping?.aborted) return;
      try {
        await applyDeadline(deps, id);
      } catch (error) {
        logger.error(`order ${id}: cannot apply its deadline:`, String(error));
        await recordFailure(deps, id, error);
      }
    }
  } while (ids.length === BATCH);
}

/** Reads only the order's version, because an unreadable column may be the cause of the failure. */
async function recordFailure(
  { postgres, outbox }: OrdersDependencies,
  id: string,
  error: unknown,
): Promise<void> {
  const text = shortenLine(reasonOf(error), ERROR_MAX_LENGTH);
  await postgres.transact(async (trx) => {
    const retry = { delayMs: RETRY_MS, maxMs: RETRY_MAX_MS, error: text };
    const failure = await recordDeadlineFailure(trx, id, retry);
    if (!failure || failure.failures < ALERT_AT_FAILURE) return;
    const detail = `The deadline could not be acted on (${failure.failures} times): ${text}`;
    await outbox.add(trx, [alert("deadline.failed", detail, { subject: id, version: failure.version })]);
  });
}

async function applyDeadline(deps: OrdersDependencies, id: string): Promise<void> {
  await deps.postgres.transact(async (trx) => {
    if (!(await lockDueOrder(trx, id))) return;
    const { order, nowMs, traceparent } = await loadOrder(trx, id, { role: "anybody" });
    const position = order.status === "delivering" ? await findPosition(trx, id) : undefined;
    const noticeProblem = awaitsNotice(order)
      ? (order.noticeProblem ?? (await noticeProblemOf(trx, id)))
      : undefined;
    const known = { positionAt: position?.heardAt, noticeProblem };
    await inOrderTrace(traceparent, "deadline passed", async () => {
      const decision = applyOverdueDeadline(order, actorInTrace("deadline", "deadline"), nowMs, known);
      if (decision) await saveDecision(deps, trx, order, decision);
    });
  });
}
