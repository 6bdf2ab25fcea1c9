import { oldestIn, type Retention } from "../../../mixins/pruning/pruning.mixin.ts";
import { pruneReservations } from "../store/reservations.repository.ts";
import { dropOldDeadWebhooks, pruneWebhooks } from "../store/webhook-deliveries.repository.ts";

/** Longer than 14 days, after which the inbox refuses a message: a tombstone must outlive every late message. */
const ENDED_RESERVATION_DAYS = 30;
/** Webhook messages with their deliveries. */
const WEBHOOK_DAYS = 30;

/** Retention periods of the tables of this service. */
export function partnerRetentions(keepDeadLettersDays: number): Retention[] {
  return [
    {
      store: "stock_reservations",
      keepDays: ENDED_RESERVATION_DAYS,
      prune: (db, { at }, limit) => pruneReservations(db, at, limit),
      oldest: oldestIn("stock_reservations", "updated_at", "state <> 'held'"),
    },
    {
      store: "webhook_deliveries",
      keepDays: keepDeadLettersDays,
      prune: (db, { id }, limit) => dropOldDeadWebhooks(db, id, limit),
      oldest: oldestIn("webhook_deliveries", "id", "state = 'dead'"),
    },
    {
      store: "webhook_messages",
      keepDays: WEBHOOK_DAYS,
      prune: (db, { at }, limit) => pruneWebhooks(db, at, limit),
      oldest: oldestIn("webhook_messages", "created_at"),
    },
  ];
}
