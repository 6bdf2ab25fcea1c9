import type { Handlers } from "../../mixins/consumer/handlers.ts";
import { inBatches } from "../../mixins/messages/runner.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { eraseEndedOrders, insertErasedCustomer, sweepErasedCustomers } from "./erasure.repository.ts";

const BATCH = 200;
const KEPT_HOURS = 24;

/** Whoever left is erased here too: from ended orders at once, from the others when they have ended. */
export const erasureHandlers: Handlers = {
  "user.deleted": {
    async apply(trx, { data }) {
      await insertErasedCustomer(trx, data.userId);
      await eraseEndedOrders(trx, BATCH);
    },
  },
};

/** Erases what has ended since, and whatever a handler left over. */
export async function sweepErasures({ db }: Postgres, stopping?: AbortSignal): Promise<void> {
  await inBatches(BATCH, () => eraseEndedOrders(db, BATCH), stopping);
  await sweepErasedCustomers(db, KEPT_HOURS);
}
