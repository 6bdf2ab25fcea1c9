import type { Caller } from "../../contracts/meta.ts";
import type { OrderView } from "../../contracts/orders.ts";
import { present } from "../../lib/present.ts";
import type { Handover } from "./handover.ts";
import type { Order } from "./order-model.ts";

/** The order as everybody may see it who may see it at all. */
export function viewOf(order: Order): OrderView {
  const { currency } = order;
  return present({
    id: order.id,
    status: order.status,
    paymentStatus: order.paymentStatus,
    version: order.version,
    customer: order.customer,
    partner: order.partner,
    delivererId: order.delivererId,
    lines: order.lines,
    fee: { amountMinor: order.feeMinor, currency },
    total: { amountMinor: order.totalMinor, currency },
    paid: { amountMinor: order.paidMinor, currency },
    refunded: { amountMinor: order.refundedMinor, currency },
    address: order.address,
    note: order.note,
    bankId: order.bankId,
    checkoutUrl: order.checkoutUrl,
    deadlineAt: order.deadlineAt,
    readyAt: order.readyAt,
    reason: order.reason,
    proofPhotoId: order.proofPhotoId,
    createdAt: order.createdAt,
    updatedAt: order.updatedAt,
  });
}

/**
 * What this caller sees of it. The customer's secrets are added here and nowhere else, so that no stored answer
 * holds them; a deliverer learns who and where the customer is with the claim, not before.
 */
export function viewFor(caller: Caller, view: OrderView, handover: Handover): OrderView {
  if (caller.role === "customer" && caller.id === view.customer.id) {
    const trackingToken = handover.trackingTokenOf(view.id, view.createdAt);
    return { ...view, pin: handover.pinOf(view.id), trackingToken };
  }
  if (caller.role === "customer" || caller.role === "admin") return view;
  const { checkoutUrl: _, ...shown } = view;
  if (caller.role === "partner" || view.delivererId === caller.id) return shown;
  const { id, name } = view.customer;
  const { note: __, ...rest } = shown;
  return { ...rest, customer: { id, name: firstName(name) } };
}

export function firstName(name: string): string {
  return name.split(" ", 1)[0] as string;
}
