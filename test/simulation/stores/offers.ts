import { isoTime } from "../../../lib/clock.ts";
import type * as real from "../../../services/orders/store/offers.repository.ts";
import { statement } from "../memory.ts";
import type { View } from "../view.ts";
import type { OrderRecord } from "./orders.ts";

export * from "../../../services/orders/store/offers.repository.ts";

export const dueOffers: typeof real.dueOffers = (db, limit) =>
  statement(db, (view) =>
    view
      .all<OrderRecord>("orders")
      .filter(([, order]) => isDue(view, order))
      .slice(0, limit)
      .map(([id]) => id),
  );

export const lockDueOffer: typeof real.lockDueOffer = (trx, id) =>
  statement(trx, (view) => {
    const locked = view.lockedNow<OrderRecord>("orders", id);
    return locked !== undefined && isDue(view, locked);
  });

export const postponeOffer: typeof real.postponeOffer = async (db, id, delayMs) => {
  await statement(db, (view) => {
    const found = view.locked<OrderRecord>("orders", id);
    if (found && isDue(view, found))
      view.update("orders", id, { ...found, offerUntil: isoTime(view.nowMs + delayMs) });
  });
};

/** All couriers are on duty and equally near. */
export const bestCouriers: typeof real.bestCouriers = (db, { tried }) =>
  statement(db, (view) =>
    view
      .all("couriers")
      .map(([id]) => id)
      .filter((id) => !tried.includes(id) && !hasOffer(view, id)),
  );

/** In place of the unique index, which lets a courier have one offer, the lock looks for one. */
export const lockCourier: typeof real.lockCourier = (trx, id) =>
  statement(trx, (view) => view.lockedNow("couriers", id) !== undefined && !hasOffer(view, id));

function hasOffer(view: View, courierId: string): boolean {
  if (view.world.faults.has("two offers for a courier")) return false;
  return view.all<OrderRecord>("orders").some(([, { offeredTo }]) => offeredTo === courierId);
}

function isDue(view: View, { status, pooledAt, offerUntil }: OrderRecord): boolean {
  const isOver = offerUntil === undefined || Date.parse(offerUntil) <= view.nowMs;
  return status === "ready" && pooledAt === undefined && isOver;
}

/** No partner has a setting of its own. */
export const isOfferedFirst: typeof real.isOfferedFirst = async (_db, _partnerId, byDefault) => byDefault;
export const hasOffers: typeof real.hasOffers = async (_db, byDefault) => byDefault;
export const markPooled: typeof real.markPooled = async () => 0;
