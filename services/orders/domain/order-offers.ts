import { fail } from "../../../contracts/errors.ts";
import { isoTime } from "../../../lib/clock.ts";
import { type MoveName, move, unchanged } from "./order.ts";
import type { Actor, Decision, Order } from "./order-model.ts";

/** After this number of offers the order goes into the pool. */
export const OFFERS_MAX = 10;

const platform: Actor = { kind: "platform", name: "platform" };

/** Offers a ready order to one courier. @param offerMs the time to answer */
export function offer(order: Order, courierId: string, nowMs: number, offerMs: number): Decision {
  return offerMove(order, "offer", platform, nowMs, {
    offeredTo: courierId,
    offerUntil: isoTime(nowMs + offerMs),
    offersTried: [...(order.offersTried ?? []), courierId],
    reason: `Offered to the courier ${courierId}.`,
  });
}

/** Ends an offer that was not answered in time. */
export function expireOffer(order: Order, nowMs: number): Decision {
  if (!order.offeredTo) return unchanged(order);
  const reason = `The courier ${order.offeredTo} did not answer.`;
  return offerMove(order, "expireOffer", platform, nowMs, { offersTried: order.offersTried, reason });
}

/**
 * Ends an offer by its courier. A repeat changes nothing.
 * @throws NOT_FOUND if the order is not offered to this courier
 */
export function decline(order: Order, courierId: string, actor: Actor, nowMs: number): Decision {
  if (order.status === "ready" && order.offeredTo === courierId) {
    return offerMove(order, "decline", actor, nowMs, { offersTried: order.offersTried });
  }
  if (order.status === "ready" && order.offersTried?.includes(courierId)) return unchanged(order);
  throw fail("NOT_FOUND", "There is no such offer.");
}

/** Opens a ready order to all couriers, because no further courier can be offered it. */
export function openToPool(order: Order, nowMs: number): Decision {
  return offerMove(order, "openToPool", platform, nowMs, { pooledAt: isoTime(nowMs) });
}

/** The last command of a person stays known, so that its repeat changes nothing. */
function offerMove(
  order: Order,
  name: MoveName,
  actor: Actor,
  nowMs: number,
  change: { [K in keyof Order]?: Order[K] | undefined },
): Decision {
  const { lastMove, lastActor } = order;
  return move(order, name, actor, nowMs, { ...change, lastMove, lastActor });
}
