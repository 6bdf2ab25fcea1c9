import { alert } from "../../../contracts/alerts.ts";
import type { Logger } from "../../../lib/logger.ts";
import { reasonOf } from "../../../lib/sql/database.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import {
  deleteStoredAnswers,
  dueErasures,
  eraseOrders,
  pruneErasedCustomers,
} from "../store/erasure.repository.ts";
import { pruneFormerDeliverers } from "../store/former-deliverers.repository.ts";

const BATCH = 200;
/** How long entries of erased customers and former deliverers stay; access tokens expire earlier. */
const RETENTION_HOURS = 24;
/** One pass ends after this number of orders that cannot be erased. */
const FAILED_MAX = 1_000;

/**
 * Erases deleted customers from orders that have ended. An order that cannot be erased raises an alert in each pass and
 * does not delay the others.
 */
export async function eraseCustomers(
  deps: Pick<OrdersDependencies, "postgres" | "outbox">,
  logger: Pick<Logger, "error">,
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
  await deleteStoredAnswers(db);
  await pruneErasedCustomers(db, RETENTION_HOURS);
  await pruneFormerDeliverers(db, RETENTION_HOURS);
}

/** Erases one order by itself. @returns false if that fails, after alerting an operator */
async function eraseAlone(
  { postgres, outbox }: Pick<OrdersDependencies, "postgres" | "outbox">,
  logger: Pick<Logger, "error">,
  id: string,
): Promise<boolean> {
  try {
    await eraseOrders(postgres.db, [id]);
    return true;
  } catch (error) {
    logger.error(`order ${id}: cannot erase its customer:`, String(error));
    const detail = `The order still contains data of a deleted customer: ${reasonOf(error)}`;
    await postgres.transact((trx) => outbox.add(trx, [alert("erasure.failed", detail, { subject: id })]));
    return false;
  }
}
