import type { Knex } from "knex";
import type { Params } from "../../contracts/actions.ts";
import { alert } from "../../contracts/alerts.ts";
import { fail } from "../../contracts/errors.ts";
import type { OrderSnapshot } from "../../contracts/messages.ts";
import type { OrderStatus } from "../../contracts/orders.ts";
import type { PartnerSnapshot } from "../../contracts/partners.ts";
import { KeyedLimitError } from "../../lib/keyed-limit.ts";
import { money } from "../../lib/money.ts";
import { reasonOf } from "../../mixins/postgres/database.ts";
import { noSuchPartner } from "./access.ts";
import type { OrderState, PartnersDeps } from "./deps.ts";
import { findPartner } from "./partners.repository.ts";
import { offersOf } from "./products.repository.ts";
import {
  findReservation,
  forgottenReservation,
  giveStockBack,
  hasSameLines,
  insertReservation,
  lockReservation,
  saveReservation,
  takeStock,
  takeStockAgain,
} from "./reservations.repository.ts";
import { afterOrderNews, quoteDifferences, stillNeeds } from "./stock.ts";
import { snapshotOf } from "./views.ts";

const DEADLOCK = "40P01";
/** How often a reservation is tried while nothing stands in its way that could be told to anybody. */
const RESERVE_TRIES = 3;
/** How long after its end a reservation is left to an order that may still be heard of. */
export const SWEEP_GRACE_MS = 300_000;
/** So many reservations are swept in one pass. */
const SWEPT_MAX = 500;

type FollowDeps = Pick<PartnersDeps, "outbox"> & { orderState: OrderState };

/**
 * Holds the stock of an order at the prices and the fee that it expects. A repeat finds its own reservation.
 * @throws QUOTE_CHANGED with the differences, PARTNER_CLOSED while the partner is paused by the operator,
 * CHECK_EXPIRED after the reservation was given back, IDEMPOTENCY_MISMATCH for an order that holds other lines,
 * OVERLOADED while too many others wait for stock of this partner
 */
export async function reserve(
  deps: PartnersDeps,
  params: Params<"partners.reserve">,
): Promise<PartnerSnapshot> {
  try {
    return await deps.perPartner.run(params.partnerId, () => tryToReserve(deps.postgres.db, params));
  } catch (error) {
    if (!(error instanceof KeyedLimitError)) throw error;
    throw fail("OVERLOADED", "Too many orders from this partner at once.");
  }
}

async function tryToReserve(db: Knex, params: Params<"partners.reserve">): Promise<PartnerSnapshot> {
  const { orderId, partnerId, lines, fee, expiresAt } = params;
  const wanted = { orderId, partnerId, lines, feeMinor: fee.amountMinor, currency: fee.currency, expiresAt };
  for (let tries = 0; tries < RESERVE_TRIES; tries++) {
    const taken = await takeStock(db, wanted).catch(unlessDeadlock);
    if (taken) return snapshotOf(taken);
    const earlier = await earlierReservation(db, params);
    if (earlier) return earlier;
    await refuseIfChanged(db, params);
  }
  throw fail("OVERLOADED", "The stock changed faster than it could be read.");
}

/** A message about this very order may hold what this reservation waits for; then it is our turn again. */
function unlessDeadlock(error: { code?: string }): undefined {
  if (error.code !== DEADLOCK) throw error;
}

async function earlierReservation(
  db: Knex,
  { orderId, partnerId, lines }: Params<"partners.reserve">,
): Promise<PartnerSnapshot | undefined> {
  const known = await findReservation(db, orderId);
  if (!known) return undefined;
  if (known.state === "released") throw fail("CHECK_EXPIRED", "This order's stock was given back.");
  if (known.partnerId !== partnerId || !(await hasSameLines(db, orderId, lines))) {
    throw fail("IDEMPOTENCY_MISMATCH", "This order holds another reservation.");
  }
  const partner = await findPartner(db, partnerId);
  return partner && snapshotOf(partner);
}

/** Returns when nothing is different any more: what was in the way is gone, and the next try may succeed. */
async function refuseIfChanged(
  db: Knex,
  { partnerId, lines, fee }: Params<"partners.reserve">,
): Promise<void> {
  const partner = await findPartner(db, partnerId);
  if (!partner) throw noSuchPartner();
  const isReachable = partner.webhookGoneAt === undefined;
  if (!partner.enabled || !partner.verified || !isReachable)
    throw fail("PARTNER_CLOSED", undefined, { partnerId });
  const offers = await offersOf(
    db,
    partnerId,
    lines.map((line) => line.productId),
  );
  const now = { offers, fee: money(partner.deliveryFeeMinor, partner.currency) };
  const differences = quoteDifferences({ lines, fee }, now);
  if (differences) throw fail("QUOTE_CHANGED", undefined, differences);
}

/** Gives the stock of an order back and leaves a tombstone that refuses a reservation that comes late. */
export async function release({ postgres }: PartnersDeps, orderId: string): Promise<void> {
  await postgres.transact(async (trx) => {
    const tombstone = { orderId, partnerId: undefined, state: "released", orderVersion: 0 } as const;
    if (await insertReservation(trx, { ...tombstone, reason: "release" })) return;
    const known = await lockReservation(trx, orderId);
    if (known?.state !== "held") return;
    await saveReservation(trx, orderId, { ...known, state: "released", reason: "release" });
    await giveStockBack(trx, orderId);
  });
}

/** Follows an order in the transaction of the message that tells of it; false when the news are old. */
export async function followOrder(
  { outbox }: Pick<PartnersDeps, "outbox">,
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
  { outbox }: Pick<PartnersDeps, "outbox">,
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
  { postgres, outbox, orderState }: Pick<PartnersDeps, "postgres"> & FollowDeps,
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
