import type { LogEntry } from "../../contracts/streams.ts";
import { eventually } from "./eventually.ts";
import type { OrdersHarness } from "./orders-service.ts";

/** The newest place of the event log. */
export async function logPosition(shop: OrdersHarness): Promise<number> {
  await shop.settled();
  return (await shop.bare("orders.events", { limit: 1 })).position;
}

/** The entries of an order after a place, once all messages are handled. */
export async function entriesOf(shop: OrdersHarness, orderId: string, after: number): Promise<LogEntry[]> {
  await shop.settled();
  const { items, isKnown } = await shop.bare("orders.events", { after, limit: 500 });
  if (!isKnown) throw new Error("the log does not know the place");
  return items.filter(({ move }) => move?.orderId === orderId);
}

/** Waits for the last entry of an order, and returns what each entry says about the pool. */
export async function poolChanges(shop: OrdersHarness, orderId: string, after: number, lastType: string) {
  return eventually(async () => {
    const entries = await entriesOf(shop, orderId, after);
    if (!entries.some(({ move }) => move?.type === lastType)) throw new Error(`no ${lastType} yet`);
    return entries.map(({ id: _, move, shown, offerUntil: __, ...changes }) => ({
      type: move?.type,
      ...changes,
      ...(shown && { shown: shown.partnerTitle }),
    }));
  });
}
