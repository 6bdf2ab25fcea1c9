import { type AlertKind, alert } from "../../../contracts/alerts.ts";
import type { CourierView } from "../../../contracts/couriers.ts";
import { message, type NewMessage } from "../../../contracts/messages.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import {
  awaitsNotice,
  type Order,
  type Outcome,
  type Payment,
  type Refund,
  type Transition,
} from "./order-model.ts";

type Identified = Pick<Order, "id" | "version">;
type AtBank = Pick<Order, "id" | "version" | "number" | "bankId">;

/** The message with the order's snapshot after a transition. @param before the order before it; absent for a new order */
export function orderMessage(
  order: Order,
  { type, from, actor, reason }: Transition,
  before?: Pick<Order, "delivererId">,
): NewMessage {
  const { currency, partner } = order;
  const hasLeft = before?.delivererId !== order.delivererId;
  const data = omitUndefined({
    version: order.version,
    orderId: order.id,
    number: order.number,
    status: order.status,
    previousStatus: from,
    paymentStatus: order.paymentStatus,
    customer: order.customer,
    partnerId: partner.id,
    partnerTitle: partner.title,
    delivererId: order.delivererId,
    formerDelivererId: hasLeft ? before?.delivererId : undefined,
    lines: order.lines,
    fee: { amountMinor: order.feeMinor, currency },
    total: { amountMinor: order.totalMinor, currency },
    paid: { amountMinor: order.paidMinor, currency },
    refunded: { amountMinor: order.refundedMinor, currency },
    address: order.address,
    pickup: partner.pickup,
    note: order.note,
    actor: actor.name,
    reason,
    rejection: order.rejection,
    readyAt: order.readyAt,
    pickedUpAt: order.pickedUpAt,
    offeredTo: order.offeredTo,
    offerUntil: order.offerUntil,
    // Before the partner is notified, the deadline is internal: it only raises an alert.
    deadlineAt: awaitsNotice(order) ? undefined : order.deadlineAt,
    acceptanceMinutes: partner.acceptanceMinutes,
    traceId: actor.traceId,
  });
  return message(type, order.id, data);
}

/** The message about a payment. An unmatched payment may have no order. */
export function paymentMessage(
  type: "payment.received" | "payment.unmatched",
  { bankId, paymentId, eventId, amount }: Payment,
  outcome: Outcome,
  order?: Identified,
): NewMessage {
  const data = { version: order?.version ?? 1, bankId, paymentId, eventId, outcome, amount };
  return message(type, order?.id ?? bankId, order ? { ...data, orderId: order.id } : data);
}

export function refundRequested(order: AtBank, refund: Refund): NewMessage {
  return message("refund.requested", order.id, refundData(order, refund));
}

export function refundCompleted(order: AtBank, refund: Refund): NewMessage {
  return message("refund.completed", order.id, refundData(order, refund));
}

/** @param reason of the bank; may be empty */
export function refundFailed(order: Identified, { id, amount }: Refund, reason: string): NewMessage {
  const sum = `${amount.amountMinor} ${amount.currency} (minor units)`;
  const detail = `Refund ${id} of ${sum} of order ${order.id} failed: ${reason || "no reason given"}.`;
  return alert("refund.failed", detail, { subject: id, under: order.id, version: order.version });
}

/** The message that the deliverer is near the partner or the customer. */
export function courierNear(
  { id: orderId, version, number, customer, partner }: Order,
  at: { place: "pickup" | "destination"; distanceMeters: number; delivererId: string },
): NewMessage {
  const of = { version, orderId, ...(number && { number }), customer };
  return message("courier.near", orderId, {
    ...of,
    ...at,
    partnerId: partner.id,
    partnerTitle: partner.title,
  });
}

/** The message that a courier began or ended the duty, or changed the vehicle. */
export function dutyChanged({
  id: courierId,
  onDuty,
  vehicle,
}: Pick<CourierView, "id" | "onDuty" | "vehicle">): NewMessage {
  return message("courier.duty_changed", courierId, {
    ...{ version: 1, courierId, onDuty },
    ...(vehicle && { vehicle }),
  });
}

/** An alert about an order. */
export function orderAlert(kind: AlertKind, { id, version }: Identified, detail: string): NewMessage {
  return alert(kind, detail, { subject: id, version });
}

function refundData({ id: orderId, version, number, bankId }: AtBank, { id: refundId, ...refund }: Refund) {
  return { version, refundId, orderId, ...(number && { number }), bankId, ...refund };
}
