import { alert } from "../../../contracts/alerts.ts";
import { reasonOf } from "../../../lib/sql/database.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { dueErasures, eraseAnswers, eraseOrders, sweepErasedCustomers } from "../store/erasure.repository.ts";
import { pruneFormerDeliverers } from "../store/former-deliverers.repository.ts";

const BATCH = 200;
const KEPT_HOURS = 24;
/** So many orders that cannot be erased are stepped over in one pass. */
const FAILED_MAX = 1_000;

interface Logger {
  error(...text: unknown[]): void;
}

/**
 * Erases what has ended since. An order that cannot be erased is told to an operator at each pass and stands in no
 * other's way.
 */
export async function sweepErasures(
  deps: Pick<OrdersDependencies, "postgres" | "outbox">,
  logger: Logger,
  stopping?: AbortSignal,
): Promise<void> {
  const { db } = deps.postgres;
  const failed: string[] = [];
  while (!stopping?.aborted && failed.length < FAILED_MAX) {
    const due = await dueErasures(db, BATCH, failed);
    if (due.length === 0) break;
    try {
      await eraseOrders(db, due);
    } catch {
      for (const id of due) if (!(await eraseAlone(deps, logger, id))) failed.push(id);
    }
  }
  await eraseAnswers(db);
  await sweepErasedCustomers(db, KEPT_HOURS);
  await pruneFormerDeliverers(db, KEPT_HOURS);
}

/** @returns false when it cannot be erased; then an operator is told */
async function eraseAlone(
  { postgres, outbox }: Pick<OrdersDependencies, "postgres" | "outbox">,
  logger: Logger,
  id: string,
): Promise<boolean> {
  try {
    await eraseOrders(postgres.db, [id]);
    return true;
  } catch (error) {
    logger.error(`order ${id}: its customer could not be erased:`, String(error));
    const detail = `The order still names a customer who was erased: ${reasonOf(error)}`;
    await postgres.transact((trx) => outbox.add(trx, [alert("erasure.failed", detail, { subject: id })]));
    return false;
  }
}
