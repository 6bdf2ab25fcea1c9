import type { LogEntry } from "../../../contracts/streams.ts";

/** The change of an entry of the log for one courier. An entry makes one event at most, so a resume repeats none. */
export type CourierEvent =
  | { event: "mine"; data: NonNullable<LogEntry["move"]> }
  | { event: "appeared"; data: NonNullable<LogEntry["shown"]> & { version: number } }
  | { event: "offered"; data: NonNullable<LogEntry["shown"]> & { version: number; offerUntil: string } }
  | { event: "vanished"; data: { orderId: string; number?: string; version: number } };

/** The present place of the order as this courier sees it, if the entry changes that. */
export function courierEventOf(entry: LogEntry, courierId: string): CourierEvent | undefined {
  const { move, pool, shown, offeredTo, offerUntil } = entry;
  if (!move) return undefined;
  const { orderId, number, version, delivererId } = move;
  if (delivererId === courierId) return { event: "mine", data: move };
  if (pool === "appeared" && shown) return { event: "appeared", data: { ...shown, version } };
  if (offeredTo === courierId && shown && offerUntil) {
    return { event: "offered", data: { ...shown, version, offerUntil } };
  }
  const hasLeft =
    pool === "vanished" || [entry.offerEndedFor, entry.formerDelivererId, offeredTo].includes(courierId);
  if (!hasLeft) return undefined;
  return { event: "vanished", data: { orderId, ...(number && { number }), version } };
}
