import { type ErrorType, fail, invalidField } from "../../../contracts/errors.ts";
import type { OrderStatus } from "../../../contracts/orders.ts";
import { isoTime } from "../../../lib/clock.ts";
import { illegal, legalNext, move, unchanged } from "./order.ts";
import { orderAlert } from "./order-messages.ts";
import type { Actor, Decision, Order } from "./order-model.ts";
import { accept, makeReady } from "./order-partner.ts";

export const WRONG_PINS_MAX = 5;

/**
 * Assigns the order to a deliverer.
 * @throws ALREADY_ASSIGNED if another deliverer was first, NOT_FOUND for an order outside the pool, HANDOVER_LOCKED if
 *   only an operator may assign it, OFFERED_TO_ANOTHER while it is offered to another deliverer
 */
export function assign(order: Order, delivererId: string, actor: Actor, nowMs: number): Decision {
  if (order.status === "delivering" && order.delivererId === delivererId) return unchanged(order);
  if (order.status === "delivering" || order.status === "delivered") throw fail("ALREADY_ASSIGNED");
  // Deliverers must get no information about orders outside the pool; operators get the reason.
  if (order.status !== "ready") throw actor.kind === "admin" ? illegal(order) : fail("NOT_FOUND");
  if (actor.kind !== "admin" && isLocked(order)) {
    throw fail("HANDOVER_LOCKED", "An operator has to assign this order.");
  }
  const isOffered = order.offerUntil !== undefined && Date.parse(order.offerUntil) > nowMs;
  if (actor.kind !== "admin" && isOffered && order.offeredTo !== delivererId)
    throw fail("OFFERED_TO_ANOTHER");
  return move(order, "assign", actor, nowMs, {
    delivererId,
    pickedUpAt: undefined,
    handoverFailures: failuresAfter(order, actor),
  });
}

/**
 * Records that the deliverer has the goods. A repeat changes nothing.
 * @param codeIsRight whether the deliverer gave the number or the pickup code of this order
 * @throws ILLEGAL_TRANSITION, WRONG_PICKUP_CODE
 */
export function pickUp(order: Order, codeIsRight: boolean, actor: Actor, nowMs: number): Decision {
  if (order.status !== "delivering") throw illegal(order);
  if (!codeIsRight) throw fail("WRONG_PICKUP_CODE");
  if (order.pickedUpAt) return unchanged(order);
  return move(order, "pickUp", actor, nowMs, { pickedUpAt: isoTime(nowMs) });
}

/** Releases the order into the pool. */
export function release(order: Order, actor: Actor, nowMs: number, reason?: string): Decision {
  if (isRepeat(order, "release", actor)) return unchanged(order);
  return move(order, "release", actor, nowMs, {
    delivererId: undefined,
    readySince: isoTime(nowMs),
    pickedUpAt: undefined,
    // The deliverer is not offered the order again.
    offersTried: actor.kind === "deliverer" && order.delivererId ? [order.delivererId] : undefined,
    handoverFailures: failuresAfter(order, actor),
    reason,
  });
}

/** Releases the order of a deliverer whose account has ended, is suspended or has another role now, and alerts an operator. */
export function delivererGone(order: Order, nowMs: number): Decision {
  const actor: Actor = { kind: "platform", name: "platform" };
  const decision = release(order, actor, nowMs, "The deliverer's account has ended or is suspended.");
  const detail = `The account of its deliverer ${order.delivererId} has ended or is suspended during the delivery: find the goods.`;
  const alert = orderAlert("order.deliverer_gone", decision.next, detail);
  return { ...decision, messages: [...decision.messages, alert] };
}

/** Records that the order cannot be delivered. */
export function failDelivery(order: Order, actor: Actor, nowMs: number, reason: string): Decision {
  if (isRepeat(order, "fail", actor)) return unchanged(order);
  return move(order, "fail", actor, nowMs, { reason });
}

/**
 * Hands the order over. A wrong PIN is a change of the order, so that concurrent guesses all count: the caller saves the
 * decision and then throws `refused`.
 * @throws ILLEGAL_TRANSITION, PROOF_REQUIRED, HANDOVER_LOCKED, each without a change to save
 */
export function deliver(
  order: Order,
  proof: { pinIsRight: boolean; photoId?: string | undefined },
  actor: Actor,
  nowMs: number,
): Decision & { refused?: ErrorType } {
  if (proof.pinIsRight && isRepeat(order, "deliver", actor)) return unchanged(order);
  if (order.status !== "delivering") throw illegal(order);
  if (isLocked(order)) throw fail("HANDOVER_LOCKED");
  if (order.partner.proof === "pin_and_photo" && !proof.photoId) {
    throw fail("PROOF_REQUIRED", "The partner requires a photo of the handover.");
  }
  if (proof.pinIsRight) return move(order, "deliver", actor, nowMs, { proofPhotoId: proof.photoId });
  const handoverFailures = order.handoverFailures + 1;
  const next = { ...order, handoverFailures, version: order.version + 1, updatedAt: isoTime(nowMs) };
  if (handoverFailures < WRONG_PINS_MAX) {
    return { next, messages: [], refunds: [], refused: "WRONG_PIN" };
  }
  const locked = orderAlert(
    "handover.locked",
    next,
    `${WRONG_PINS_MAX} wrong PINs: reassign the order or override.`,
  );
  return { next, messages: [locked], refunds: [], refused: "HANDOVER_LOCKED" };
}

/** Cancels the order, for customers, partner staff and operators, in the states that `moves` allows. */
export function cancel(order: Order, actor: Actor, nowMs: number, reason?: string): Decision {
  if (order.status === "cancelled") return unchanged(order);
  return move(order, "cancel", actor, nowMs, { reason });
}

/**
 * Sets the order to a state by an operator. A state that needs a payment, the customer or a deliverer is not possible.
 * @throws ILLEGAL_TRANSITION with the legal states
 */
export function override(
  order: Order,
  to: OrderStatus,
  actor: Actor,
  nowMs: number,
  reason: string,
): Decision {
  if (order.status === to) return unchanged(order);
  if (!legalNext(order.status).includes(to)) throw illegal(order);
  switch (to) {
    case "preparing":
      return accept(order, actor, nowMs, { reason });
    case "ready":
      return order.status === "paid" || order.status === "preparing"
        ? makeReady(order, actor, nowMs, reason)
        : release(order, actor, nowMs, reason);
    case "delivered":
      return move(order, "deliver", actor, nowMs, { reason });
    case "failed":
      return failDelivery(order, actor, nowMs, reason);
    case "cancelled":
      return cancel(order, actor, nowMs, reason);
    default:
      throw invalidField("to", "override", `No operator can make an order ${to}.`);
  }
}

function isLocked({ handoverFailures }: Order): boolean {
  return handoverFailures >= WRONG_PINS_MAX;
}

/**
 * The number of wrong PINs after an assignment or a release. Only an operator resets it: otherwise a deliverer could
 * release and assign the order again to get further guesses.
 */
function failuresAfter({ handoverFailures }: Order, actor: Actor): number {
  return actor.kind === "admin" ? 0 : handoverFailures;
}

function isRepeat(order: Order, name: string, actor: Actor): boolean {
  return order.lastMove === name && order.lastActor === actor.name;
}
