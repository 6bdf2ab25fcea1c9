import type { Caller } from "../../../contracts/meta.ts";
import type { OrderView } from "../../../contracts/orders.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { DeliveryTokens } from "../dependencies.ts";
import type { Order } from "../domain/order-model.ts";

/** The order as everybody may see it who may see it at all. */
export function viewOf(order: Order): OrderView {
  const { currency } = order;
  return omitUndefined({
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

/** The name shown to a deliverer who may not see the customer. */
const SOMEBODY = "Customer";

/**
 * What this caller sees of it. The customer's secrets are added here and nowhere else, so that no stored answer
 * holds them; a customer has them whatever else they have become since. A deliverer learns who and where the customer is
 * with the claim, not before, and not for longer than the delivery takes.
 * @param isPast whether the delivery is over for so long that its deliverer sees the customer no more
 */
export function viewFor(
  caller: Caller,
  view: OrderView,
  deliveryTokens: DeliveryTokens,
  isPast = false,
): OrderView {
  if (caller.id === view.customer.id) {
    const trackingToken = deliveryTokens.trackingTokenOf(view.id, view.createdAt);
    return { ...view, pin: deliveryTokens.pinOf(view.id), trackingToken };
  }
  if (caller.role === "customer" || caller.role === "admin") return view;
  const { checkoutUrl: _, ...shown } = view;
  const carries = view.delivererId === caller.id;
  if (caller.role === "partner" || (carries && !isPast)) return shown;
  const { note: __, ...rest } = shown;
  const { city, country } = view.address;
  return {
    ...rest,
    customer: { id: view.customer.id, name: SOMEBODY },
    // The pool shows where an order has to go; of one that is past, the town is enough.
    ...(isPast && { address: { line1: "-", postalCode: "-", city, country } }),
  };
}

export function firstName(name: string): string {
  return name.split(" ", 1)[0] as string;
}
