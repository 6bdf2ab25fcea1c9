import { type Caller, type Ctx, isOperator } from "../../../contracts/meta.ts";
import type { OrderView } from "../../../contracts/orders.ts";
import type { DeliveryTokens } from "../../../lib/delivery-tokens.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { areaOf } from "../domain/area.ts";
import { findOrder } from "../store/orders.repository.ts";
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
    closedAt: order.closedAt,
    createdAt: order.createdAt,
    updatedAt: order.updatedAt,
  });
}

/** The name shown to a caller who may not see the customer's name. */
const ANONYMOUS_NAME = "Customer";

type Visibility = Pick<
  OrdersDependencies,
  "clock" | "deliveryTokens" | "courierSeesPhone" | "deliveredVisibleMs" | "partnerVisibleMs"
>;

/**
 * Whether a deliverer or the partner's staff need the customer's data: the staff until some hours after the order's end,
 * a deliverer from the assignment until some minutes after the end of the delivery.
 */
function needsCustomer(
  { role, id }: Caller,
  { status, delivererId, closedAt, updatedAt }: OrderView,
  { clock, deliveredVisibleMs, partnerVisibleMs }: Visibility,
): boolean {
  const lasts = (endAt: string | undefined, visibleMs: number) =>
    endAt === undefined || clock.now() < Date.parse(endAt) + visibleMs;
  if (role === "partner") return lasts(closedAt, partnerVisibleMs);
  if (delivererId !== id) return false;
  return lasts(closedAt ?? (status === "delivering" ? undefined : updatedAt), deliveredVisibleMs);
}

/**
 * The order as this caller may see it. Only this function adds the customer's secrets (PIN and tracking token), so that
 * no stored answer contains them; the customer gets them in any role. A deliverer and the partner's staff see the
 * customer's data only while they need it, and a deliverer the phone number only during the delivery, if the setting
 * allows it.
 * @param current the order as it is now, if `view` is older
 */
export function viewFor(
  caller: Caller,
  view: OrderView,
  visibility: Visibility,
  current: OrderView = view,
): OrderView {
  const { deliveryTokens, courierSeesPhone } = visibility;
  if (caller.id === view.customer.id) {
    const trackingToken = deliveryTokens.trackingTokenOf(view.id, view.createdAt);
    return { ...view, pin: deliveryTokens.pinOf(view.id), trackingToken };
  }
  if (caller.role === "customer" || isOperator(caller.role)) return view;
  const { checkoutUrl: _, ...shown } = view;
  if (!needsCustomer(caller, current, visibility)) return withoutCustomer(shown);
  if (caller.role === "partner" || (courierSeesPhone && current.status === "delivering")) return shown;
  const { phone: _phone, ...customer } = view.customer;
  return { ...shown, customer };
}

function withoutCustomer({ note: _, proofPhotoId: __, ...rest }: OrderView): OrderView {
  const { id } = rest.customer;
  return { ...rest, customer: { id, name: ANONYMOUS_NAME }, address: areaOf(rest.address) };
}

/**
 * The answer of a command for its caller. A repeat gets the stored answer, which may be a day old: it shows of the customer
 * what the caller may see now.
 */
export async function answerFor(
  deps: Visibility & Pick<OrdersDependencies, "postgres">,
  ctx: Ctx<unknown>,
  caller: Caller,
  view: OrderView,
): Promise<OrderView> {
  if (!ctx.meta.replayed) return viewFor(caller, view, deps);
  const current = await findOrder(deps.postgres.db, view.id, { role: "anybody" });
  return current ? viewFor(caller, view, deps, viewOf(current.order)) : withoutCustomer(view);
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
  return name.split(" ")[0] as string;
}
