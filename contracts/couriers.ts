import { action } from "./action.ts";
import {
  boolean,
  type Infer,
  integer,
  nothing,
  object,
  oneOf,
  optional,
  page,
  paging,
  text,
  time,
  uuid,
} from "./schema.ts";
import { position } from "./shared.ts";

export const ORDERS_AT_ONCE_MAX = 1_000;
const ordersAtOnce = integer(1, ORDERS_AT_ONCE_MAX);

export const vehicle = oneOf("foot", "bicycle", "scooter", "motorcycle", "car", "van");

/** A deliverer with the present duty. */
export const courier = object({
  id: uuid,
  onDuty: boolean,
  /** The beginning of the present duty. */
  since: optional(time),
  vehicle: optional(vehicle),
  /** The most orders that the courier may deliver at once. */
  ordersAtOnce,
  /** The number of orders that the courier delivers now. */
  underWay: integer(0, 2 ** 31 - 1),
  /** The last reported position of the present duty. It is deleted when the duty ends. */
  position: optional(position),
  positionAt: optional(time),
  /** In the list for operators. Absent while Identity does not answer. */
  name: optional(text(201)),
});
export type CourierView = Infer<typeof courier>;

/** `pool`: couriers choose. `offer`: an order is offered to one courier after the other before it is in the pool. */
const assignment = oneOf("pool", "offer");
export type Assignment = Infer<typeof assignment>;

/** How the ready orders of a partner find a courier. */
export const partnerAssignment = object({
  partnerId: uuid,
  assignment,
  /** Whether it is the setting of the platform. */
  isDefault: boolean,
});

/** Actions of Orders for couriers and for the operators who plan their work. */
export const courierActions = {
  "orders.duty": action(object({}), courier, { idempotent: true }),
  /** Begins or ends the duty. A repeat changes nothing but the given vehicle and position. */
  "orders.setDuty": action(
    object({ onDuty: boolean, vehicle: optional(vehicle), position: optional(position) }),
    courier,
  ),
  /** The position counts for the duty and for all orders that the courier delivers. */
  "orders.reportPosition": action(
    /** `at`: the time of the position by the device. A position older than the stored one has no effect. */
    object({ position, at: optional(time) }),
    nothing,
    { idempotent: true },
  ),
  /** The couriers who have been on duty, sorted by id. */
  "orders.couriers": action(object({ ...paging, duty: optional(oneOf("on", "off")) }), page(courier), {
    idempotent: true,
  }),
  "orders.assignment": action(object({ partnerId: uuid }), partnerAssignment, { idempotent: true }),
  /** Without `assignment` the setting of the platform applies again. */
  "orders.setAssignment": action(
    object({ partnerId: uuid, assignment: optional(assignment) }),
    partnerAssignment,
  ),
  /** Without `ordersAtOnce` the setting of the platform applies again. */
  "orders.setCourierCapacity": action(
    object({ courierId: uuid, ordersAtOnce: optional(ordersAtOnce) }),
    courier,
  ),
} as const;
