import { newId } from "../../lib/ids.ts";
import type { OrdersHarness } from "../support/orders-service.ts";

const RACES_AT_ONCE = 3;

export interface RacesReport {
  races: number;
  /** Orders that not exactly one was told to have, or that another one has. */
  violations: string[];
  /** What the losers heard. */
  refusals: string[];
}

/** Many couriers claim one ready order at the same moment; one has it, and all others hear that it is gone. */
export async function courierRaces(
  shop: OrdersHarness,
  { races, couriers = 20 }: { races: number; couriers?: number },
): Promise<RacesReport> {
  const violations: string[] = [];
  const refusals = new Set<string>();
  let left = races;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      const { orderId } = await shop.placed("ready");
      const ids = Array.from({ length: couriers }, () => newId());
      const claims = await Promise.allSettled(
        ids.map((id) => shop.as({ id, role: "deliverer" }, "orders.claim", { orderId })),
      );
      const winners = ids.filter((_, index) => claims[index]?.status === "fulfilled");
      for (const one of claims) if (one.status === "rejected") refusals.add(one.reason.type);
      const [row] = await shop.sql<{ deliverer_id: string }>(
        "SELECT deliverer_id FROM orders WHERE id = $1",
        [orderId],
      );
      if (winners.length !== 1) violations.push(`${orderId}: ${winners.length} winners`);
      else if (row?.deliverer_id !== winners[0]) violations.push(`${orderId}: another one has it`);
    }
  };
  await Promise.all(Array.from({ length: RACES_AT_ONCE }, worker));
  return { races, violations, refusals: [...refusals].sort() };
}
