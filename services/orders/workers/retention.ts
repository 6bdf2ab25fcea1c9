import type { Settings } from "../../../lib/settings/settings.ts";
import {
  oldestDocument,
  oldestIn,
  type Retention,
  removeDocuments,
} from "../../../mixins/pruning/pruning.mixin.ts";
import type { Projections } from "../projections/order-documents.ts";
import { eraseOldOrders, UNERASED } from "../store/erasure.repository.ts";
import { oldestEntry, pruneLog } from "../store/event-log.repository.ts";
import * as repository from "../store/retention.repository.ts";

/** How long a stream can resume without reading its list anew. */
const EVENT_LOG_DAYS = 1;

type RetentionSettings = Pick<
  Settings,
  "KEEP_ORDERS_DAYS" | "KEEP_CUSTOMER_DATA_DAYS" | "KEEP_HISTORY_DAYS" | "KEEP_POSITIONS_DAYS"
>;

/** The retention of each store of this service. The rows of an open order are never deleted. */
export function orderRetentions(
  config: RetentionSettings,
  { history, payments }: Pick<Projections, "history" | "payments">,
): Retention[] {
  return [
    {
      store: "order_positions",
      keepDays: config.KEEP_POSITIONS_DAYS,
      prune: (db, { id }, limit) => repository.prunePositions(db, id, limit),
      oldest: oldestIn("order_positions", "order_id"),
    },
    {
      store: "event_log",
      keepDays: EVENT_LOG_DAYS,
      prune: (db, { at }, limit) => pruneLog(db, Date.parse(at), limit),
      oldest: (db) => oldestEntry(db),
    },
    {
      store: "partner_callbacks",
      keepDays: config.KEEP_HISTORY_DAYS,
      prune: (db, { id }, limit) => repository.pruneCallbacks(db, id, limit),
      oldest: oldestIn("partner_callbacks", "order_id"),
    },
    {
      store: "order_transitions",
      keepDays: config.KEEP_HISTORY_DAYS,
      prune: (db, { id }, limit) => db.transaction((trx) => repository.pruneTransitions(trx, id, limit)),
      oldest: oldestIn("order_transitions", "order_id"),
    },
    {
      store: "documents.order_history",
      keepDays: config.KEEP_HISTORY_DAYS,
      prune: (_, { id }, limit) =>
        removeDocuments(history, { query: { orderId: { $lt: id } }, sort: ["orderId"] }, limit),
      oldest: oldestDocument(history, "orderId"),
    },
    {
      store: "orders",
      keepDays: config.KEEP_ORDERS_DAYS,
      prune: (db, { id }, limit) => db.transaction((trx) => repository.pruneOrders(trx, id, limit)),
      oldest: oldestIn("orders", "id", "closed_at IS NOT NULL"),
    },
    {
      store: "orders",
      part: "customer",
      keepDays: config.KEEP_CUSTOMER_DATA_DAYS,
      prune: (db, { at }, limit) => db.transaction((trx) => eraseOldOrders(trx, at, limit)),
      oldest: oldestIn("orders", "closed_at", UNERASED),
    },
    {
      store: "payment_events",
      keepDays: config.KEEP_ORDERS_DAYS,
      prune: (db, { at }, limit) => repository.pruneEvents(db, at, limit),
      oldest: oldestIn("payment_events", "created_at"),
    },
    {
      store: "payment_receipts",
      keepDays: config.KEEP_ORDERS_DAYS,
      prune: (db, { id }, limit) => repository.pruneUnmatched(db, id, limit),
      oldest: oldestIn("payment_receipts", "id", "outcome = 'unmatched'"),
    },
    {
      store: "disputes",
      keepDays: config.KEEP_ORDERS_DAYS,
      prune: (db, { id }, limit) => repository.pruneDisputes(db, id, limit),
      oldest: oldestIn("disputes", "id", "order_id IS NULL"),
    },
    {
      store: "documents.payments",
      keepDays: config.KEEP_ORDERS_DAYS,
      prune: (_, { at }, limit) =>
        removeDocuments(payments, { query: { at: { $lt: at } }, sort: ["at"] }, limit),
      oldest: oldestDocument(payments, "at"),
    },
  ];
}
