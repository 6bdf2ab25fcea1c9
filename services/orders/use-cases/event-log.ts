import type { Params, Result } from "../../../contracts/actions.ts";
import { alertIdOf } from "../../../contracts/alerts.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Message, MessageType } from "../../../contracts/messages.ts";
import type { LogEntry } from "../../../contracts/streams.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import { isConnectionTrouble } from "../../../lib/sql/database.ts";
import type { Dependency } from "../../../mixins/consumer/handlers.ts";
import { groupInserts } from "../../../mixins/documents/group-insert.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import {
  entriesAfter,
  insertEntries,
  type LogRow,
  lockLog,
  loggedMessages,
  logPosition,
  type PoolState,
  poolStates,
  shownToCouriers,
} from "../store/event-log.repository.ts";
import { poolEntryOf } from "./pool-entries.ts";

type Deps = Pick<OrdersDependencies, "postgres" | "live" | "offersOrders">;
type OrderMessage = Message<MessageType & `order.${string}`>;
type LoggedMessage = OrderMessage | Message<"alert.raised"> | Message<"courier.duty_changed">;

/** Appends messages to the event log. */
export interface EventLog extends Dependency {
  /**
   * Resolves after the commit. A repeated message has no effect.
   * @throws SERVICE_UNAVAILABLE while the database is, or when another process holds the log for too long
   */
  append(message: LoggedMessage): Promise<void>;
}

/** A message before its entry is written. `_id` identifies it in the log. */
interface Pending {
  readonly _id: string;
  readonly message: LoggedMessage;
}

/** The log of this process. Messages that arrive while a transaction runs share the next one. */
export function eventLog(deps: Deps): EventLog {
  const insert = groupInserts<Pending>((pending) => appendAll(deps, pending), isConnectionTrouble);
  return {
    // Its database is that of the inbox.
    available: () => true,
    async append(message) {
      const isAlert = message.type === "alert.raised";
      // An alert that is raised again and again until an operator acts has the same id within an hour.
      const _id = isAlert ? alertIdOf(message as Message<"alert.raised">) : message.id;
      try {
        await insert([{ _id, message }]);
      } catch (error) {
        throw isConnectionTrouble(error) ? fail("SERVICE_UNAVAILABLE", "The event log is busy.") : error;
      }
    },
  };
}

async function appendAll(
  { postgres, live, offersOrders }: Deps,
  pending: readonly Pending[],
): Promise<ReadonlySet<string>> {
  const ids = pending.map(({ _id }) => _id);
  let position = 0;
  const known = await postgres.db.transaction(async (trx) => {
    await lockLog(trx);
    const known = await loggedMessages(trx, ids);
    const fresh = [...new Map(pending.map((one) => [one._id, one])).values()].filter(
      ({ _id }) => !known.has(_id),
    );
    if (fresh.length === 0) return known;
    const inPool = fresh.flatMap(({ message }) => (concernsPool(message) ? [message.data.orderId] : []));
    const states =
      inPool.length > 0 ? await poolStates(trx, [...new Set(inPool)], { offered: offersOrders }) : [];
    position = await insertEntries(trx, entriesOf(fresh, states));
    return known;
  });
  if (position > 0) live.publish("log.appended", { position });
  return known;
}

function concernsPool(message: LoggedMessage): message is OrderMessage {
  return isMove(message) && (message.data.status === "ready" || message.data.previousStatus === "ready");
}

function isMove(message: LoggedMessage): message is OrderMessage {
  return message.type.startsWith("order.");
}

/**
 * The rows of messages, with the changes of the pool. Messages may arrive in any order, so the changes do not come from
 * them: the present state of the order, which is read under the lock of the log, is compared with the last entry. So the
 * entries always end with the present state.
 */
export function entriesOf(
  pending: readonly { _id: string; message: LoggedMessage }[],
  states: readonly PoolState[],
): LogRow[] {
  const stateOf = new Map(states.map((state) => [state.orderId, { ...state }]));
  return pending
    .toSorted((one, other) => one.message.data.version - other.message.data.version)
    .map(({ _id: messageId, message }): LogRow => {
      if (message.type === "alert.raised") {
        const { kind, subject, detail } = message.data as Message<"alert.raised">["data"];
        return {
          messageId,
          kind: "alert",
          data: { alert: { alertId: messageId, at: message.time, kind, subject, detail } },
        };
      }
      if (message.type === "courier.duty_changed") {
        const { version: _, ...duty } = message.data as Message<"courier.duty_changed">["data"];
        return { messageId, kind: "duty", data: { duty: { ...duty, at: message.time } } };
      }
      const move = message as OrderMessage;
      const { orderId, partnerId } = move.data;
      const state = concernsPool(move) ? stateOf.get(orderId) : undefined;
      const data = { move: moveOf(move), ...changesOf(move, state) };
      if (!state) return { messageId, kind: "move", orderId, partnerId, data };
      // A further message about the same order finds the state as this entry leaves it.
      const { inPool, offeredTo } = state;
      Object.assign(state, { wasInPool: inPool, wasOfferedTo: offeredTo });
      return { messageId, kind: "move", orderId, partnerId, inPool, offeredTo, data };
    });
}

function moveOf({ type, time: at, data }: OrderMessage) {
  const { orderId, number, partnerId, version, previousStatus: from, status: to } = data;
  const { actor, reason, readyAt, delivererId } = data;
  return omitUndefined({
    ...{ orderId, number, partnerId, version, type, at, from, to, actor, reason, readyAt, delivererId },
  });
}

function changesOf({ data }: OrderMessage, state: PoolState | undefined) {
  const { formerDelivererId } = data;
  if (!state) return omitUndefined({ formerDelivererId });
  const { inPool, offeredTo, offerUntil, wasOfferedTo } = state;
  // Without an entry, the log began after the order had become ready.
  const wasInPool = state.wasInPool ?? data.previousStatus === "ready";
  const isNewOffer = offeredTo !== undefined && offeredTo !== wasOfferedTo;
  return omitUndefined({
    pool: inPool === wasInPool ? undefined : inPool ? "appeared" : "vanished",
    ...(isNewOffer && { offeredTo, offerUntil }),
    offerEndedFor: wasOfferedTo === offeredTo ? undefined : wasOfferedTo,
    formerDelivererId,
  });
}

/** A page of the event log, with the orders that couriers still see. */
export async function readEvents(
  { postgres: { db }, offersOrders }: Pick<OrdersDependencies, "postgres" | "offersOrders">,
  { after, partnerId, limit }: Params<"orders.events">,
): Promise<Result<"orders.events">> {
  const place = await logPosition(db, after);
  if (after === undefined) return { ...place, isKnown: true, items: [] };
  const found = await entriesAfter(db, { after, partnerId, limit });
  const entries = found.map(({ id, data }) => ({ ...(data as Omit<LogEntry, "id">), id }));
  const toShow = entries.filter(({ pool, offeredTo }) => !partnerId && (pool === "appeared" || offeredTo));
  const orderIds = [...new Set(toShow.flatMap(({ move }) => move?.orderId ?? []))];
  const shown = orderIds.length > 0 ? await shownToCouriers(db, orderIds, { offered: offersOrders }) : [];
  const shownById = new Map(shown.map((row) => [row.orderId, row]));
  return {
    isKnown: place.isKnown,
    position: Math.max(place.position, entries.at(-1)?.id ?? 0),
    items: entries.map((entry) => {
      if (!toShow.includes(entry)) return entry;
      const row = shownById.get(entry.move?.orderId ?? "");
      // Offered to another courier meanwhile, it is not shown to the former one.
      if (!row || row.offeredTo !== entry.offeredTo) return entry;
      const { offeredTo: _, ...poolRow } = row;
      return { ...entry, shown: poolEntryOf(poolRow) };
    }),
  };
}
