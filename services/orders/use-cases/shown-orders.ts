import { groupedReads } from "../../../lib/grouped-reads.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { findOrder } from "../store/orders.repository.ts";
import {
  findShownOrders,
  type ShownOrder,
  textOf,
  type WantedOrder,
} from "../store/shown-orders.repository.ts";

/** The dependencies of the actions that show orders. */
export interface ReadDependencies extends OrdersDependencies {
  /** Reads an order to show it; undefined if there is none that the reader may see. */
  readShown(wanted: WantedOrder): Promise<ShownOrder | undefined>;
}

/** Reads orders to show them. Concurrent reads share a statement. */
export function shownOrderReader(postgres: Postgres): ReadDependencies["readShown"] {
  const read = groupedReads<ShownOrder, WantedOrder>(
    (wanted) => findShownOrders(postgres.db, wanted),
    textOf,
  );
  return async (wanted) => {
    const found = await read(wanted);
    if (found) return found;
    // A shared statement skips a row that cannot be read. This one fails for it, and for no other.
    return (await findOrder(postgres.db, wanted.orderId, wanted.reader))?.order;
  };
}
