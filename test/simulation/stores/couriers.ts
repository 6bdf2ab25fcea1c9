import type * as real from "../../../services/orders/store/couriers.repository.ts";
import { statement } from "../memory.ts";
import type { OrderRecord } from "./orders.ts";

export * from "../../../services/orders/store/couriers.repository.ts";

/** No deliverer of the simulation loses the role, and no assignments to one deliverer wait for each other. */
export const admissionOf: typeof real.admissionOf = (trx, userId) =>
  statement(trx, (view) => ({
    isFormer: false,
    underWay: view
      .all<OrderRecord>("orders")
      .filter(([, { delivererId, status }]) => delivererId === userId && status === "delivering").length,
  }));

/** No deliverer of the simulation reports a position. */
export const nearestCouriers: typeof real.nearestCouriers = async () => [];
