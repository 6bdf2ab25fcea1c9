import type { Logger } from "../../../lib/logger.ts";
import { inBatches } from "../../../lib/messaging/runner.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import type { OfferCounts, OrdersDependencies } from "../dependencies.ts";
import type { Order } from "../domain/order-model.ts";
import { expireOffer, OFFERS_MAX, offer, openToPool } from "../domain/order-offers.ts";
import {
  bestCouriers,
  dueOffers,
  hasOffers,
  isOfferedFirst,
  lockCourier,
  lockDueOffer,
  markPooled,
  postponeOffer,
} from "../store/offers.repository.ts";
import { loadOrder, saveDecision } from "../store/unit-of-work.ts";
import { inOrderTrace } from "../use-cases/order-trace.ts";

const BATCH = 50;
/** The delay before a failed offer is tried again. */
const RETRY_MS = 60_000;
const UNIQUE_VIOLATION = "23505";

type Deps = Pick<
  OrdersDependencies,
  "postgres" | "outbox" | "wakeRefunds" | "courierOrdersMax" | "offersOrders" | "offerCounts" | "offerMs"
>;

/**
 * Makes the next offer of each ready order that waits for one: to the best courier, or into the pool. An offer that was not
 * answered in time ends first. The rows are the queue, so nothing is lost by a restart; each order has its own transaction,
 * and replicas skip the orders and couriers that another one has locked.
 * @param stopping ends the work after the running transaction
 */
export async function makeOffers(
  deps: Deps,
  logger: Pick<Logger, "error">,
  stopping?: AbortSignal,
): Promise<void> {
  const { db } = deps.postgres;
  if (!(await hasOffers(db, deps.offersOrders))) return;
  await inBatches(BATCH, () => markPooled(db, deps.offersOrders, BATCH), stopping);
  let made: number;
  do {
    made = 0;
    const ids = await dueOffers(db, BATCH);
    for (const id of ids) {
      if (stopping?.aborted) return;
      try {
        if (await makeOffer(deps, id)) made++;
      } catch (error) {
        // Another process has offered the courier another order at the same moment: the next run finds the next courier.
        if ((error as { code?: string }).code === UNIQUE_VIOLATION) continue;
        logger.error(`order ${id}: cannot be offered:`, String(error));
        await postponeOffer(db, id, RETRY_MS);
      }
    }
    // An order that was skipped stays due: only a pass that made all its offers is followed by the next one at once.
  } while (made === BATCH && !stopping?.aborted);
}

/** @returns false if the order is no longer due, or another process makes its offer */
function makeOffer(deps: Deps, id: string): Promise<boolean> {
  return deps.postgres.transact(async (trx) => {
    if (!(await lockDueOffer(trx, id))) return false;
    const { order, nowMs, traceparent } = await loadOrder(trx, id, { role: "anybody" });
    await inOrderTrace(traceparent, "offer", async () => {
      const ended = await saveDecision(deps, trx, order, expireOffer(order, nowMs));
      if (ended !== order) count(deps, trx, "expired");
      const isOffered = await isOfferedFirst(trx, order.partner.id, deps.offersOrders);
      const courierId = isOffered ? await nextCourier(deps, trx, ended) : undefined;
      if (!courierId) count(deps, trx, "pooled");
      await saveDecision(
        deps,
        trx,
        ended,
        courierId ? offer(ended, courierId, nowMs, deps.offerMs) : openToPool(ended, nowMs),
      );
    });
    return true;
  });
}

async function nextCourier(deps: Deps, trx: Transaction, order: Order): Promise<string | undefined> {
  const tried = order.offersTried ?? [];
  if (tried.length >= OFFERS_MAX) return undefined;
  const pickup = order.partner.pickup.position;
  for (const id of await bestCouriers(trx, { pickup, tried, ordersMax: deps.courierOrdersMax })) {
    if (await lockCourier(trx, id)) return id;
  }
  return undefined;
}

function count({ offerCounts }: Deps, trx: Transaction, outcome: keyof OfferCounts): void {
  trx.committed.then(
    () => {
      offerCounts[outcome] = (offerCounts[outcome] ?? 0) + 1;
    },
    () => undefined,
  );
}
