import type { OrderSnapshot } from "../../../contracts/messages.ts";
import type { OrderEvent } from "./templates/catalogue.ts";

/** A party of an order that can be notified. */
type Party = "customer" | "deliverer";

/** The parties that are notified of each event. An empty list means that no notification is sent. */
export const audience = {
  "order.created": [],
  "order.paid": ["customer"],
  "order.accepted": ["customer"],
  "order.rejected": ["customer"],
  "order.ready": ["customer"],
  "order.delayed": ["customer", "deliverer"],
  "order.assigned": ["customer", "deliverer"],
  "order.released": ["customer"],
  "order.delivered": ["customer"],
  "order.failed": ["customer"],
  "order.cancelled": ["customer", "deliverer"],
  "order.expired": ["customer"],
} as const satisfies Record<`order.${string}`, readonly Party[]>;

export type OrderMessageType = keyof typeof audience;

export interface Addressee {
  userId: string;
  event: OrderEvent;
}

/**
 * The users who are notified of this event, each with the template. A deliverer gets no notification of an own change,
 * except of an assignment. A customer also gets notifications of own changes, as a receipt.
 */
export function addresseesOf(type: OrderMessageType, order: OrderSnapshot): Addressee[] {
  return audience[type].flatMap((party: Party) => {
    const userId = party === "customer" ? order.customer.id : order.delivererId;
    if (!userId || (party === "deliverer" && order.actor === userId && type !== "order.assigned")) return [];
    return [{ userId, event: `${type}:${party}` as OrderEvent }];
  });
}
