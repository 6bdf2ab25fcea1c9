import type { OrderSnapshot } from "../../../contracts/messages.ts";
import type { OrderEvent } from "./templates/catalogue.ts";

/** A party of an order that can be notified. `partner` is the staff of the order's partner. */
type Party = "customer" | "deliverer" | "partner";

/** The parties that are notified of each event. An empty list means that no notification is sent. */
export const audience = {
  "order.created": [],
  "order.paid": ["customer", "partner"],
  "order.accepted": ["customer"],
  "order.rejected": ["customer"],
  "order.ready": ["customer"],
  "order.delayed": ["customer", "deliverer"],
  "order.assigned": ["customer", "deliverer", "partner"],
  "order.released": ["customer", "deliverer"],
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
 * @param staff of the order's partner
 */
export function addresseesOf(
  type: OrderMessageType,
  order: OrderSnapshot,
  staff: readonly string[] = [],
): Addressee[] {
  return audience[type].flatMap((party: Party) =>
    usersOf(party, type, order, staff).map((userId) => ({ userId, event: `${type}:${party}` as OrderEvent })),
  );
}

function usersOf(
  party: Party,
  type: OrderMessageType,
  order: OrderSnapshot,
  staff: readonly string[],
): readonly string[] {
  if (party === "customer") return [order.customer.id];
  const { delivererId, formerDelivererId, actor } = order;
  const others =
    party === "partner"
      ? concernsStaff(type, order)
        ? staff
        : []
      : [type === "order.released" ? formerDelivererId : delivererId];
  return others.filter(
    (userId) =>
      userId !== undefined && (userId !== actor || (party === "deliverer" && type === "order.assigned")),
  ) as string[];
}
