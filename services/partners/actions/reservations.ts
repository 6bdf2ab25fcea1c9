import type { Params } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { PartnerSnapshot } from "../../../contracts/partners.ts";
import { KeyedLimitError } from "../../../lib/keyed-limit.ts";
import { money } from "../../../lib/money.ts";
import type { Db } from "../../../lib/sql/database.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import { quoteDifferences } from "../domain/stock.ts";
import { findPartner } from "../store/partners.repository.ts";
import { offersOf } from "../store/products.repository.ts";
import {
  findReservation,
  hasSameLines,
  insertReservation,
  lockReservation,
  returnStock,
  saveReservation,
  takeStock,
} from "../store/reservations.repository.ts";
import { snapshotOf } from "../use-cases/views.ts";
import { noSuchPartner } from "./access.ts";

const DEADLOCK = "40P01";
/** Limit of attempts when taking the stock failed and no reason for it is found afterwards. */
const RESERVE_ATTEMPTS = 3;

/**
 * Reserves the stock of an order at the prices and the fee that the order expects. Idempotent for the same order.
 * @throws QUOTE_CHANGED with the differences, PARTNER_CLOSED while the partner is paused by the operator,
 * CHECK_EXPIRED after the reservation was released, IDEMPOTENCY_MISMATCH for an order that reserved other lines,
 * OVERLOADED while too many orders wait for stock of this partner
 */
export async function reserve(
  deps: Pick<PartnersDependencies, "postgres" | "perPartner">,
  params: Params<"partners.reserve">,
): Promise<PartnerSnapshot> {
  try {
    return await deps.perPartner.run(params.partnerId, () => reserveWithRetry(deps.postgres.db, params));
  } catch (error) {
    if (!(error instanceof KeyedLimitError)) throw error;
    throw fail("OVERLOADED", "Too many orders from this partner at once.");
  }
}

async function reserveWithRetry(db: Db, params: Params<"partners.reserve">): Promise<PartnerSnapshot> {
  const { orderId, partnerId, lines, fee, expiresAt } = params;
  const wanted = { orderId, partnerId, lines, feeMinor: fee.amountMinor, currency: fee.currency, expiresAt };
  for (let attempt = 0; attempt < RESERVE_ATTEMPTS; attempt++) {
    const taken = await takeStock(db, wanted).catch(ignoreDeadlock);
    if (taken) return snapshotOf(taken);
    const earlier = await earlierReservation(db, params);
    if (earlier) return earlier;
    await refuseIfChanged(db, params);
  }
  throw fail("OVERLOADED", "The stock changed faster than it could be read.");
}

/** Ignores a deadlock, so that the caller retries: a message about the same order can hold the locks that it needs. */
function ignoreDeadlock(error: { code?: string }): undefined {
  if (error.code !== DEADLOCK) throw error;
}

async function earlierReservation(
  db: Db,
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

/** Throws the reason why the stock could not be taken. Returns when there is none any more: the next attempt may succeed. */
async function refuseIfChanged(db: Db, { partnerId, lines, fee }: Params<"partners.reserve">): Promise<void> {
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

/** Releases the stock of an order. Leaves a tombstone that refuses a late reservation. */
export async function release(
  { postgres }: PartnersDependencies,
  { orderId }: Params<"partners.release">,
): Promise<Record<string, never>> {
  await postgres.transact(async (trx) => {
    const tombstone = { orderId, partnerId: undefined, state: "released", orderVersion: 0 } as const;
    if (await insertReservation(trx, { ...tombstone, reason: "release" })) return;
    const known = await lockReservation(trx, orderId);
    if (known?.state !== "held") return;
    await saveReservation(trx, orderId, { ...known, state: "released", reason: "release" });
    await returnStock(trx, orderId);
  });
  return {};
}
