import type { Transaction } from "../../../lib/sql/database.ts";
import type { Handlers } from "../../../mixins/consumer/handlers.ts";
import { delivererGone } from "../domain/order-delivery.ts";
import { dutyChanged } from "../domain/order-messages.ts";
import { deleteCourier, endDuty, lockDuty } from "../store/couriers.repository.ts";
import { insertErasedCustomer } from "../store/erasure.repository.ts";
import {
  addFormerDeliverer,
  ordersInDelivery,
  removeFormerDeliverer,
} from "../store/former-deliverers.repository.ts";
import { loadOrder, type SaveDependencies, saveDecision } from "../store/unit-of-work.ts";
import { inOrderTrace } from "../use-cases/order-trace.ts";

type Deps = SaveDependencies;

/**
 * Handles the end of accounts, suspensions and the end of the deliverer role. A former deliverer's orders are released into the pool, and an
 * operator is alerted. A deleted customer is erased from ended orders at once, and from the others when they end.
 * @param wakeErasures starts the erasure now
 */
export function accountHandlers(deps: Deps, wakeErasures: () => void): Handlers {
  return {
    "user.deleted": {
      async inTransaction(trx, { data: { userId, version } }) {
        await insertErasedCustomer(trx, userId);
        await releaseCarried(deps, trx, userId, version);
        await deleteCourier(trx, userId);
        trx.committed.then(wakeErasures, () => undefined);
      },
    },
    "user.updated": {
      async inTransaction(trx, { data: { userId, role, suspended, version } }) {
        if (role === "deliverer" && !suspended) await removeFormerDeliverer(trx, userId, version);
        else await releaseCarried(deps, trx, userId, version);
      },
    },
  };
}

async function releaseCarried(deps: Deps, trx: Transaction, userId: string, version: number): Promise<void> {
  await addFormerDeliverer(trx, userId, version);
  const duty = await lockDuty(trx, userId);
  await endDuty(trx, userId);
  if (duty.onDuty) await deps.outbox.add(trx, [dutyChanged({ ...duty, id: userId, onDuty: false })]);
  for (const orderId of await ordersInDelivery(trx, userId)) {
    const { order, nowMs, traceparent } = await loadOrder(trx, orderId, { role: "anybody" }, true);
    if (order.status !== "delivering" || order.delivererId !== userId) continue;
    await inOrderTrace(traceparent, "deliverer gone", () =>
      saveDecision(deps, trx, order, delivererGone(order, nowMs)),
    );
  }
}
