import type { OrderSnapshot } from "../../../contracts/messages.ts";
import type { OrderEvent } from "./templates/catalogue.ts";

/** A party of an order that can be notified. `partner` is the staff of the order's partner, `nearby` couriers on duty near it. */
type Party = "customer" | "deliverer" | "partner" | "nearby";

/** The parties that are notified of each event. An empty list means that no notification is sent. */
export const audience = {
  "order.created": [],
  "order.paid": ["customer", "partner"],
  "order.accepted": ["customer"],
  "order.rejected": ["customer"],
  "order.ready": ["customer", "nearby"],
  "order.delayed": ["customer", "deliverer"],
  "order.offered": ["deliverer"],
  "order.pooled": ["nearby"],
  "order.assigned": ["customer", "deliverer", "partner"],
  "order.released": ["customer", "deliverer", "nearby"],
  "order.delivered": ["customer"],
  "order.failed": ["customer"],
  "order.cancelled": ["customer", "deliverer", "partner"],
  "order.expired": ["customer"],
} as const satisfies Record<`order.${string}`, readonly Party[]>;

export type OrderMessageType = keyof typeof audience;

export interface Addressee {
  userId: string;
  event: OrderEvent;
}

/** Whether the staff of the order's partner are notified of this event: not of an order that was never paid. */
export function concernsStaff(type: OrderMessageType, { previousStatus }: OrderSnapshot): boolean {
  const parties: readonly Party[] = audience[type];
  return parties.includes("partner") && !(type === "order.cancelled" && previousStatus === "pending");
}

/**
 * The users who are notified of this event, each with the template. Deliverers and staff get no notification of an own
 * change; a deliverer gets one of each assignment. A customer also gets notifications of own changes, as a receipt.
 * A user with two parts, as a member of the staff who is the customer, gets one notification: that of the work.
 * @param staff of the order's partner
 */
export function addresseesOf(
  type: OrderMessageType,
  order: OrderSnapshot,
  staff: readonly string[] = [],
): Addressee[] {
  const eventByUser = new Map<string, OrderEvent>();
  for (const party of audience[type] as readonly Party[]) {
    const event = party === "nearby" ? "order.ready:deliverer" : (`${type}:${party}` as OrderEvent);
    for (const userId of usersOf(party, type, order, staff)) eventByUser.set(userId, event);
  }
  return [...eventByUser].map(([userId, event]) => ({ userId, event }));
}

function usersOf(
  party: Party,
  type: OrderMessageType,
  order: OrderSnapshot,
  staff: readonly string[],
): readonly string[] {
  if (party === "customer") return [order.customer.id];
  if (party === "nearby") return order.nearbyDelivererIds ?? [];
  const { delivererId, formerDelivererId, offeredTo, actor } = order;
  const others =
    party === "partner"
      ? concernsStaff(type, order)
        ? staff
        : []
      : [type === "order.released" ? formerDelivererId : type === "order.offered" ? offeredTo : delivererId];
  return others.filter(
    (userId) =>
      userId !== undefined && (userId !== actor || (party === "deliverer" && type === "order.assigned")),
  ) as string[];
}
