import type { Retention } from "../../../mixins/pruning/pruning.mixin.ts";
import { pruneReservations } from "../store/reservations.repository.ts";
import { dropOldDeadWebhooks, pruneWebhooks } from "../store/webhook-deliveries.repository.ts";

/** Tombstones outlive every message that could still come (the inbox refuses what is older than 14 days). */
const ENDED_RESERVATION_DAYS = 30;
/** Webhooks sent to a partner's system, with its answers. */
const WEBHOOK_DAYS = 30;

/** How long the stores of this service keep what. */
export function partnerRetentions(keepDeadLettersDays: number): Retention[] {
  return [
    {
      store: "stock_reservations",
      keepDays: ENDED_RESERVATION_DAYS,
      prune: (db, { at }, limit) => pruneReservations(db, at, limit),
    },
    {
      store: "webhook_deliveries",
      keepDays: keepDeadLettersDays,
      prune: (db, { id }, limit) => dropOldDeadWebhooks(db, id, limit),
    },
    {
      store: "webhook_messages",
      keepDays: WEBHOOK_DAYS,
      prune: (db, { at }, limit) => pruneWebhooks(db, at, limit),
    },
  ];
}
