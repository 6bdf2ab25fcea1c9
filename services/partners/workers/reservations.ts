import { alert } from "../../../contracts/alerts.ts";
import type { Message, OrderSnapshot } from "../../../contracts/messages.ts";
import type { OrderStatus } from "../../../contracts/orders.ts";
import { CLOCK_TOLERANCE_MS, isoTime } from "../../../lib/clock.ts";
import { reasonOf, type Transaction } from "../../../lib/sql/database.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import { remainingNeeds, reservationAfter } from "../domain/stock.ts";
import { emptyStock, lockOffers } from "../store/products.repository.ts";
import {
  advanceHeld,
  findOrphanedReservation,
  insertReservation,
  lockReservation,
  type ReservationRow,
  retakeStock,
  returnStock,
  saveReservation,
} from "../store/reservations.repository.ts";
import { announceAvailability } from "../use-cases/announce-availability.ts";

/** How long after its expiry a reservation still waits for the first message of its order. */
export const SWEEP_GRACE_MS = 300_000;

/** Limit of reservations in one pass of the sweep. */
const SWEPT_MAX = 500;

/** Updates the reservation in the transaction of the order's message; false when a newer message was applied before. */
export async function applyOrderEvent(
  { outbox }: Pick<PartnersDependencies, "outbox">,
  trx: Transaction,
  order: OrderSnapshot,
): Promise<boolean> {
  if ((await advanceUsual(trx, [order])).has(order.orderId)) return true;
  return applyToReservation({ outbox }, trx, order, await lockReservation(trx, order.orderId));
}

/**
 * The usual case, reservations that are still held, in one statement.
 * @param orders one message of each order
 * @returns the orders that were in this case and are done
 */
export async function advanceUsual(trx: Transaction, orders: readonly OrderSnapshot[]): Promise<Set<string>> {
  const changes = orders.flatMap((order) => {
    const { orderId, partnerId, status, version } = order;
    const decision = reservationAfter({ state: "held", orderVersion: 0 }, order);
    if (!decision || decision.pieces) return [];
    return { orderId, partnerId, state: decision.state, orderVersion: version, reason: `order ${status}` };
  });
  return changes.length > 0 ? await advanceHeld(trx, changes) : new Set();
}

/** @param known the locked reservation; undefined if there is none */
async function applyToReservation(
  { outbox }: Pick<PartnersDependencies, "outbox">,
  trx: Transaction,
  order: OrderSnapshot,
  known: ReservationRow | undefined,
): Promise<boolean> {
  const { orderId, partnerId, status, version } = order;
  const decision = reservationAfter(known, order);
  if (!decision) return false;
  const next = { state: decision.state, orderVersion: version, reason: `order ${status}`, partnerId };
  if (!known && next.state !== "held") {
    if (!(await insertReservation(trx, { orderId, ...next, state: next.state }))) {
      // A reservation was committed between the read and the insert: read it again.
      const inserted = await lockReservation(trx, orderId);
      return inserted ? await applyToReservation({ outbox }, trx, order, inserted) : false;
    }
  } else {
    await saveReservation(trx, orderId, next);
  }
  if (decision.pieces === "return") await returnStock(trx, orderId);
  if (decision.pieces === "retake") await retakeOrAlert({ outbox }, trx, order);
  return true;
}

async function retakeOrAlert(
  { outbox }: Pick<PartnersDependencies, "outbox">,
  trx: Transaction,
  { orderId, partnerId, lines, version }: OrderSnapshot,
): Promise<void> {
  const short = await retakeStock(trx, orderId, partnerId, lines);
  if (short.length === 0) return;
  const detail = `The order was paid after its stock had been given back; too few pieces of ${short.join(", ")}.`;
  await outbox.add(trx, [alert("stock.oversold", detail, { subject: orderId, version })]);
}

/**
 * Updates the reservation of a paid order. Reads the present state from Orders first when stock would be taken again or
 * the message was replayed, because the order may have ended long ago. Stock is taken again when the reservation was
 * released or does not exist, for example because it was pruned.
 * @returns whether to notify the partner
 * @throws Error when Orders is not reachable
 */
export async function applyPaidOrder(
  { outbox, orderState }: OrderEventDependencies,
  trx: Transaction,
  order: OrderSnapshot,
  replayed: boolean,
): Promise<boolean> {
  if (!replayed && (await advanceUsual(trx, [order])).has(order.orderId)) return true;
  const known = await lockReservation(trx, order.orderId);
  const decision = reservationAfter(known, order);
  if (!decision) return false;
  if (!replayed && decision.pieces !== "retake") {
    return applyToReservation({ outbox }, trx, order, known);
  }
  const current = await orderState(order.orderId);
  const needs = remainingNeeds(current?.status, known !== undefined);
  if (needs === "nothing") return false;
  await applyToReservation({ outbox }, trx, order, known);
  return needs === "all";
}

/**
 * Updates the reservation of a rejected order, and sets the stock of the products to 0 that the partner's staff have named
 * as out of stock. A repeat has no effect. A product that the partner has changed since the rejection keeps its stock.
 * @param catalogueOutbox for `availability.changed`
 */
export async function applyRejectedOrder(
  { outbox, catalogueOutbox }: Pick<PartnersDependencies, "outbox"> & CatalogueDependencies,
  trx: Transaction,
  { data: order, time }: Message<"order.rejected">,
): Promise<void> {
  const { orderId, partnerId, lines, rejection } = order;
  if (!rejection || rejection.outOfStock.length === 0) {
    await applyOrderEvent({ outbox }, trx, order);
    return;
  }
  // Two statements lock offers below. Without this lock, each in the order of products, two transactions could deadlock.
  const products = lines.map(({ productId }) => productId);
  await lockReservation(trx, orderId);
  await lockOffers(trx, partnerId, products);
  if (!(await applyOrderEvent({ outbox }, trx, order))) return;
  const rejectedAt = isoTime(Date.parse(time) + CLOCK_TOLERANCE_MS);
  for (const offer of await emptyStock(trx, partnerId, rejection.outOfStock, rejectedAt)) {
    await announceAvailability({ outbox: catalogueOutbox }, trx, offer, false);
  }
}

/**
 * Releases expired reservations for which no order message has arrived. Asks Orders about each one, because the order
 * may exist while its messages are still on their way.
 * @throws Error when Orders is not reachable; the next pass continues
 */
export async function sweepReservations(
  { postgres, outbox, orderState }: Pick<PartnersDependencies, "postgres"> & OrderEventDependencies,
  graceMs: number,
  stopping?: AbortSignal,
): Promise<void> {
  const seen: string[] = [];
  while (!stopping?.aborted && seen.length < SWEPT_MAX) {
    const orderId = await findOrphanedReservation(postgres.db, graceMs, seen);
    if (!orderId) break;
    seen.push(orderId);
    const current = await orderState(orderId);
    try {
      // One reservation a transaction: two in one could lock products in different orders and deadlock.
      await postgres.transact((trx) => resolveOrphaned(trx, orderId, current?.status));
    } catch (error) {
      const detail = `The expired reservation of an order without messages cannot be released: ${reasonOf(error)}`;
      const failure = alert("reservation.failed", detail, { subject: orderId });
      await postgres.transact((trx) => outbox.add(trx, [failure]));
    }
  }
}

async function resolveOrphaned(
  trx: Transaction,
  orderId: string,
  status: OrderStatus | undefined,
): Promise<void> {
  const known = await lockReservation(trx, orderId);
  if (known?.state !== "held" || known.orderVersion !== 0) return;
  if (status && status !== "cancelled" && status !== "expired") {
    // The order exists: its messages, which are on their way, decide.
    await saveReservation(trx, orderId, { ...known, orderVersion: 1, reason: "asked" });
    return;
  }
  await saveReservation(trx, orderId, { ...known, state: "released", reason: "swept" });
  await returnStock(trx, orderId);
}

export interface CatalogueDependencies {
  /** An outbox that also invalidates cached pages of the catalogue. */
  catalogueOutbox: PartnersDependencies["outbox"];
}

type OrderEventDependencies = Pick<PartnersDependencies, "outbox" | "orderState">;
