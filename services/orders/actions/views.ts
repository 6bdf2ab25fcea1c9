import { type Caller, isOperator } from "../../../contracts/meta.ts";
import type { OrderView } from "../../../contracts/orders.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { DeliveryTokens, OrdersDependencies } from "../dependencies.ts";
import type { ShownOrder } from "../store/shown-orders.repository.ts";

/** The order without secrets. */
export function viewOf(order: ShownOrder): OrderView {
  const { currency } = order;
  return omitUndefined({
    id: order.id,
    number: order.number,
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
    pickedUpAt: order.pickedUpAt,
    reason: order.reason,
    rejection: order.rejection,
    proofPhotoId: order.proofPhotoId,
    createdAt: order.createdAt,
    updatedAt: order.updatedAt,
  });
}

/** The name shown to a deliverer who may not see the customer's name. */
const ANONYMOUS_NAME = "Customer";

/**
 * The order as this caller may see it. Only this function adds the customer's secrets (PIN and tracking token), so that
 * no stored answer contains them; the customer gets them in any role. A deliverer sees the customer's data only while
 * the order is assigned to this deliverer, and the phone number only during the delivery, if the setting allows it.
 * @param isPast whether the order ended so long ago that its deliverer may no longer see the customer
 */
export function viewFor(
  caller: Caller,
  view: OrderView,
  { deliveryTokens, courierSeesPhone }: Pick<OrdersDependencies, "deliveryTokens" | "courierSeesPhone">,
  isPast = false,
): OrderView {
  if (caller.id === view.customer.id) {
    const trackingToken = deliveryTokens.trackingTokenOf(view.id, view.createdAt);
    return { ...view, pin: deliveryTokens.pinOf(view.id), trackingToken };
  }
  if (caller.role === "customer" || isOperator(caller.role)) return view;
  const { checkoutUrl: _, ...shown } = view;
  if (caller.role === "partner") return shown;
  if (view.delivererId === caller.id && !isPast) {
    if (courierSeesPhone && view.status === "delivering") return shown;
    const { phone: _phone, ...customer } = view.customer;
    return { ...shown, customer };
  }
  const { note: __, ...rest } = shown;
  const { city, country } = view.address;
  return {
    ...rest,
    customer: { id: view.customer.id, name: ANONYMOUS_NAME },
    // The pool shows the full destination; a past order shows the town only.
    ...(isPast && { address: { line1: "-", postalCode: "-", city, country } }),
  };
}

/** Adds the pickup code for the partner and operators until the order ends. Stored answers do not contain it. */
export function withPickupCode(
  { role }: Caller,
  view: OrderView,
  { closedAt }: Pick<ShownOrder, "closedAt">,
  deliveryTokens: DeliveryTokens,
): OrderView {
  if (closedAt || (role !== "partner" && role !== "admin")) return view;
  return { ...view, pickupCode: deliveryTokens.pickupCodeOf(view.id) };
}

export function firstName(name: string): string {
  return name.split(" ", 1)[0] as string;
}
