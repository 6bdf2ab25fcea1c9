import type { Settings } from "../../../lib/settings/settings.ts";
import { type Retention, removeDocuments } from "../../../mixins/pruning/pruning.mixin.ts";
import type { Projections } from "../projections/order-documents.ts";
import * as repository from "../store/retention.repository.ts";

/** Positions are used during the delivery only. */
const POSITION_DAYS = 7;

type RetentionSettings = Pick<Settings, "KEEP_ORDERS_DAYS" | "KEEP_HISTORY_DAYS">;

/** The retention of each store of this service. The rows of an open order are never deleted. */
export function orderRetentions(
  config: RetentionSettings,
  { history, payments }: Pick<Projections, "history" | "payments">,
): Retention[] {
  return [
    {
      store: "order_positions",
      keepDays: POSITION_DAYS,
      prune: (db, { id }, limit) => repository.prunePositions(db, id, limit),
    },
    {
      store: "partner_callbacks",
      keepDays: config.KEEP_HISTORY_DAYS,
      prune: (db, { id }, limit) => repository.pruneCallbacks(db, id, limit),
    },
    {
      store: "order_transitions",
      keepDays: config.KEEP_HISTORY_DAYS,
      prune: (db, { id }, limit) => db.transaction((trx) => repository.pruneTransitions(trx, id, limit)),
    },
    {
      store: "documents.order_history",
      keepDays: config.KEEP_HISTORY_DAYS,
      prune: (_, { id }, limit) =>
        removeDocuments(history, { query: { orderId: { $lt: id } }, sort: ["orderId"] }, limit),
    },
    {
      store: "orders",
      keepDays: config.KEEP_ORDERS_DAYS,
      prune: (db, { id }, limit) => db.transaction((trx) => repository.pruneOrders(trx, id, limit)),
    },
    {
      store: "payment_events",
      keepDays: config.KEEP_ORDERS_DAYS,
      prune: (db, { at }, limit) => repository.pruneEvents(db, at, limit),
    },
    {
      store: "payment_receipts",
      keepDays: config.KEEP_ORDERS_DAYS,
      prune: (db, { id }, limit) => repository.pruneUnmatched(db, id, limit),
    },
    {
      store: "disputes",
      keepDays: config.KEEP_ORDERS_DAYS,
      prune: (db, { id }, limit) => repository.pruneDisputes(db, id, limit),
    },
    {
      store: "documents.payments",
      keepDays: config.KEEP_ORDERS_DAYS,
      prune: (_, { at }, limit) =>
        removeDocuments(payments, { query: { at: { $lt: at } }, sort: ["at"] }, limit),
    },
  ];
}
