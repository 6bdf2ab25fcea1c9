import type { Settings } from "../../../lib/settings/settings.ts";
import { oldestIn, type Retention } from "../../../mixins/pruning/pruning.mixin.ts";
import { pruneAudit } from "../store/audit.repository.ts";

/** The retention of the stores of this service that are not swept at their own times. */
export function identityRetentions(config: Pick<Settings, "KEEP_AUDIT_DAYS">): Retention[] {
  return [
    {
      store: "audit_entries",
      keepDays: config.KEEP_AUDIT_DAYS,
      prune: (db, { id }, limit) => pruneAudit(db, id, limit),
      oldest: oldestIn("audit_entries", "id"),
    },
  ];
}
