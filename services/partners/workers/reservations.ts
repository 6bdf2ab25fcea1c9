import type { Knex } from "knex";
import { alert } from "../../../contracts/alerts.ts";
import type { OrderSnapshot } from "../../../contracts/messages.ts";
import type { OrderStatus } from "../../../contracts/orders.ts";
import { reasonOf } from "../../../lib/sql/database.ts";
import type { OrderState, PartnersDependencies } from "../dependencies.ts";
import { afterOrderNews, stillNeeds } from "../domain/stock.ts";
import {
  forgottenReservation,
  giveStockBack,
  insertReservation,
  lockReservation,
  saveReservation,
  takeStockAgain,
} from "../store/reservations.repository.ts";

/** How long after its end a reservation is left to an order that may still be heard of. */
export const SWEEP_GRACE_MS = 300_000;

/** So many reservations are swept in one pass. */
const SWEPT_MAX = 500;

/** Follows an order in the transaction of the message that tells of it; false when the news are old. */
export async function followOrder(
  { outbox }: Pick<PartnersDependencies, "outbox">,
  trx: Knex.Transaction,
  order: OrderSnapshot,
): Promise<boolean> {
  const { orderId, partnerId, status, version } = order;
  let known = await lockReservation(trx, orderId);
  const decision = afterOrderNews(known, order);
  if (!decision) return false;
  const next = { state: decision.state, orderVersion: version, reason: `order ${status}`, partnerId };
  if (!known && next.state !== "held") {
    if (!(await insertReservation(trx, { orderId, ...next, state: next.state }))) {
      // A reservation was committed between the look and the insert: look again, now that it is there.
      known = await lockReservation(trx, orderId);
      return known ? await followOrder({ outbox }, trx, order) : false;
    }
  } else {
    await saveReservation(trx, orderId, next);
  }
  if (decision.pieces === "give_back") await giveStockBack(trx, orderId);
  if (decision.pieces === "take_again") await takeAgain({ outbox }, trx, order);
  return true;
}

async function takeAgain(
  { outbox }: Pick<PartnersDependencies, "outbox">,
  trx: Knex.Transaction,
  { orderId, partnerId, lines, version }: OrderSnapshot,
): Promise<void> {
  const short = await takeStockAgain(trx, orderId, partnerId, lines);
  if (short.length === 0) return;
  const detail = `The order was paid after its stock had been given back; too few pieces of ${short.join(", ")}.`;
  await outbox.add(trx, [alert("stock.oversold", detail, { subject: orderId, version })]);
}

/**
 * Follows an order that was paid. Where stock would be taken again, because nothing is known of the order (what is known
 * is forgotten some time after its end) or its pieces were given back, and when the message was a dead letter, Orders is
 * asked first where the order is now: it may be long over.
 * @returns whether its partner is to be notified
 * @throws Error when Orders cannot say
 */
export async function followPaidOrder(
  { outbox, orderState }: FollowDeps,
  trx: Knex.Transaction,
  order: OrderSnapshot,
  replayed: boolean,
): Promise<boolean> {
  const known = await lockReservation(trx, order.orderId);
  const decision = afterOrderNews(known, order);
  if (!decision) return false;
  if (!replayed && decision.pieces !== "take_again") return followOrder({ outbox }, trx, order);
  const current = await orderState(order.orderId);
  const needs = stillNeeds(current?.status, known !== undefined);
  if (needs === "nothing") return false;
  await followOrder({ outbox }, trx, order);
  return needs === "all";
}

/**
 * Gives back what is held for orders that never came into being. Orders is asked about
 * each: while messages wait somewhere, an order may well be there that nobody here has heard of.
 * @throws Error when Orders cannot say; the next pass goes on
 */
export async function sweepReservations(
  { postgres, outbox, orderState }: Pick<PartnersDependencies, "postgres"> & FollowDeps,
  graceMs: number,
  stopping?: AbortSignal,
): Promise<void> {
  const seen: string[] = [];
  while (!stopping?.aborted && seen.length < SWEPT_MAX) {
    const orderId = await forgottenReservation(postgres.db, graceMs, seen);
    if (!orderId) break;
    seen.push(orderId);
    const current = await orderState(orderId);
    try {
      // One a transaction: two at once could lock products in different orders.
      await postgres.transact((trx) => endForgotten(trx, orderId, current?.status));
    } catch (error) {
      const detail = `What is held for an order that was never heard of cannot be given back: ${reasonOf(error)}`;
      const told = alert("reservation.failed", detail, { subject: orderId });
      await postgres.transact((trx) => outbox.add(trx, [told]));
    }
  }
}

async function endForgotten(
  trx: Knex.Transaction,
  orderId: string,
  status: OrderStatus | undefined,
): Promise<void> {
  const known = await lockReservation(trx, orderId);
  if (known?.state !== "held" || known.orderVersion !== 0) return;
  if (status && status !== "cancelled" && status !== "expired") {
    // The order is there: its messages, which are on their way, decide.
    await saveReservation(trx, orderId, { ...known, orderVersion: 1, reason: "asked" });
    return;
  }
  await saveReservation(trx, orderId, { ...known, state: "released", reason: "swept" });
  await giveStockBack(trx, orderId);
}

type FollowDeps = Pick<PartnersDependencies, "outbox"> & { orderState: OrderState };
