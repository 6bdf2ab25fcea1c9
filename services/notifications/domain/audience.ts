import type { OrderSnapshot } from "../../../contracts/messages.ts";
import type { OrderEvent } from "./templates/catalogue.ts";

/** Whom an event of an order concerns, in the order's own terms. */
type Part = "customer" | "deliverer";

/** Who is told of what. An event that nobody waits for is told to nobody. */
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
} as const satisfies Record<`order.${string}`, readonly Part[]>;

export type OrderMessageType = keyof typeof audience;

export interface Addressee {
  userId: string;
  event: OrderEvent;
}

/**
 * Who is told of this event, and by which text. Those who made the change themselves need not be told, but for
 * the customer, who keeps it as a receipt.
 */
export function addresseesOf(type: OrderMessageType, order: OrderSnapshot): Addressee[] {
  return audience[type].flatMap((part: Part) => {
    const userId = part === "customer" ? order.customer.id : order.delivererId;
    if (!userId || (part === "deliverer" && order.actor === userId && type !== "order.assigned")) return [];
    return [{ userId, event: `${type}:${part}` as OrderEvent }];
  });
}
