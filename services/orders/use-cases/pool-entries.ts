import { areaOf } from "../domain/area.ts";
import type { PoolRow } from "../store/order-lists.repository.ts";

/** An order that is not assigned yet, as couriers see it: of the destination it shows the area only. */
export function poolEntryOf<R extends PoolRow>({ feeMinor, currency, destination, ...entry }: R) {
  return { ...entry, destination: areaOf(destination), fee: { amountMinor: feeMinor, currency } };
}
