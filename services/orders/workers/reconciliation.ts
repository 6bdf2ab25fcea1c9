import { createHash } from "node:crypto";
import { alert } from "../../../contracts/alerts.ts";
import { type Backoff, backoffMs } from "../../../lib/backoff.ts";
import { derivedId } from "../../../lib/ids.ts";
import type { Logger } from "../../../lib/logger.ts";
import { reasonOf } from "../../../lib/sql/database.ts";
import { shortenLine } from "../../../lib/text.ts";
import type { Bank, BankError, Payment } from "../../../providers/banks/index.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { compareBooks, type Difference, nextPollAt } from "../domain/order-reconciliation.ts";
import { databaseNowMs, findOrder } from "../store/orders.repository.ts";
import { intake } from "../store/payment-intake.ts";
import { insertEvent } from "../store/payments.repository.ts";
import {
  bankAnswered,
  bankSilent,
  bookedPayments,
  type ClaimedPoll,
  claimPolls,
  type DueBank,
  dueBanks,
  endPoll,
  markAlerted,
  pollFailed,
  postponePoll,
} from "../store/reconciliation.repository.ts";
import { bankPass } from "./bank-pass.ts";

/** So many orders of one bank at once; a bank that has not answered is tried by one. */
const BATCH = 16;
/** Longer than two answers, each of which the bank's port ends within five seconds. */
const LEASE_MS = 30_000;
/** An order whose look got no answer is due again by the time that its bank is asked again. */
const AGAIN_MS = 5_000;
/** How long a silent bank is left alone. */
const BACKOFF: Backoff = { firstMs: 5_000, factor: 2, maxMs: 300_000, jitter: 0.2 };
/** A shorter silence is nothing that an operator could mend. */
const ALERT_AFTER_MS = 600_000;
const ERROR_LENGTH = 300;
/** How long an order stands aside whose look failed for a reason of ours: at first, and at most. */
const FAILED_MS = 30_000;
const FAILED_MAX_MS = 30 * 60_000;
const ALERT_AT_FAILURE = 3;

/** What this process has done since it started; each replica counts its own. */
export interface ReconciliationCounts extends Record<string, number> {
  /** Orders about which the bank has answered. */
  answered: number;
  /** Payments that no callback had told us of. */
  repaired: number;
  /** Told to operators. */
  differing: number;
  unanswered: number;
}

export function reconciliationCounts(): ReconciliationCounts {
  return { answered: 0, repaired: 0, differing: 0, unanswered: 0 };
}

/**
 * One pass over the orders that lack their payment at their time, or were paid long enough ago: asks each one's bank
 * what was paid. A payment that we do not know goes the way of a callback, so that both at once have one effect and
 * what is too much goes back; what cannot be repaired so is told to an operator, once. Banks are asked beside each
 * other, so that a silent one holds up none; it is asked less and less often, about one order at a time, until it
 * answers.
 */
export function reconciler(
  deps: OrdersDependencies,
  logger: () => Logger,
  counts: ReconciliationCounts,
): (stopping?: AbortSignal) => Promise<void> {
  return (stopping) =>
    bankPass({
      due: () => dueBanks(deps.postgres.db),
      work: (bank) => askBank(deps, logger(), counts, bank, stopping),
      failed: (id, error) => logger().warn(`asking bank ${id}: the next look tries again:`, String(error)),
      stopping,
    });
}

async function askBank(
  deps: OrdersDependencies,
  logger: Logger,
  counts: ReconciliationCounts,
  { id: bankId, failures, answeredAt: answeredBefore }: DueBank,
  stopping: AbortSignal | undefined,
): Promise<void> {
  const { db } = deps.postgres;
  let answeredAt = answeredBefore;
  let [silent, limit] = [failures > 0, failures > 0 ? 1 : BATCH];
  while (!stopping?.aborted) {
    const claimed = await claimPolls(db, { bankId, leaseMs: LEASE_MS, limit });
    if (claimed.length === 0) return;
    const asked = { deps, logger, counts, bankId, answeredAt };
    const looks = await Promise.all(
      claimed.map((order) => look(asked, order).catch((error) => failed(deps, logger, order, error))),
    );
    const isAnswered = looks.some(({ kind }) => kind === "answered");
    const [error] = looks.flatMap((one) => (one.kind === "silent" ? [one.error] : []));
    if (error !== undefined && !isAnswered) {
      const times = await bankSilent(db, bankId, { delayMs: backoffMs(BACKOFF, failures + 1), error });
      // Once: whoever looks later finds it in the list of banks.
      if (times === 1) logger.warn(`bank ${bankId}: does not answer, and is asked less often:`, error);
      return tellOfSilence(deps, bankId);
    }
    if (!isAnswered) {
      if (claimed.length < limit) return;
      continue;
    }
    const answer = await bankAnswered(db, bankId);
    answeredAt = answer.answeredAt;
    if (answer.wasSilent) logger.info(`bank ${bankId}: answers again`);
    // After a silence a single order was asked about; the others are due as well.
    if (claimed.length < limit && !silent) return;
    [silent, limit] = [false, BATCH];
  }
}

/**
 * The result of one look at the bank. `silent`: no answer; the bank may be down. `alone`: only this order has
 * a problem, which says nothing about the bank.
 */
type Look = { kind: "answered" | "alone" } | { kind: "silent"; error: string };

/** A failure of ours: the order's next look is later, and an operator is told; the other orders' looks go on. */
async function failed(
  { postgres, outbox }: OrdersDependencies,
  logger: Logger,
  { id }: ClaimedPoll,
  error: unknown,
): Promise<Look> {
  const text = shortenLine(reasonOf(error), ERROR_LENGTH);
  logger.warn(`order ${id}: what its bank says could not be taken in:`, text);
  await postgres.transact(async (trx) => {
    const failure = await pollFailed(trx, id, { delayMs: FAILED_MS, maxMs: FAILED_MAX_MS, error: text });
    if (!failure || failure.failures < ALERT_AT_FAILURE) return;
    const detail = `What the order's bank says could not be taken in (${failure.failures} times): ${text}`;
    await outbox.add(trx, [
      alert("reconciliation.failed", detail, { subject: id, version: failure.version }),
    ]);
  });
  return { kind: "alone" };
}

/** The next look is the ordinary one, and an operator is told once what stands in the way. */
async function giveUpLook(
  { postgres, outbox }: OrdersDependencies,
  order: ClaimedPoll,
  error: string,
): Promise<void> {
  const nextAt = nextPollAt(order, await databaseNowMs(postgres.db));
  await postgres.transact(async (trx) => {
    await endPoll(trx, order, { nextAt, error });
    const detail = `What the bank knows of the payments of order ${order.id} cannot be read: ${error}.`;
    await outbox.add(trx, [alert("payment.unreadable", detail, { subject: order.id })]);
  });
}

interface Asked {
  deps: OrdersDependencies;
  logger: Logger;
  counts: ReconciliationCounts;
  bankId: string;
  /** When the bank last answered about some order. */
  answeredAt: string | undefined;
}

async function look({ deps, logger, counts, bankId, answeredAt }: Asked, order: ClaimedPoll): Promise<Look> {
  const { db } = deps.postgres;
  const before = await bookedPayments(db, order.id);
  let found: Payment[];
  try {
    found = await askAbout(deps, bankId, order);
  } catch (error) {
    const text = shortenLine(String((error as Error).message), ERROR_LENGTH);
    const { kind } = error as Partial<BankError>;
    if (kind === "refused") {
      // An answer, though not a helpful one: the next look is the ordinary one.
      await endPoll(db, order, { nextAt: nextPollAt(order, await databaseNowMs(db)), error: text });
      return { kind: "answered" };
    }
    counts.unanswered += 1;
    if (kind === "unreadable") {
      await giveUpLook(deps, order, text);
      return { kind: "answered" };
    }
    // The bank has answered about others since it began not to answer about this one.
    const { failedAt } = order;
    if (failedAt !== undefined && answeredAt !== undefined && failedAt < answeredAt) {
      await giveUpLook(deps, order, text);
      return { kind: "alone" };
    }
    await postponePoll(db, order, AGAIN_MS, text);
    return { kind: "silent", error: text };
  }
  counts.answered += 1;
  const nowMs = await databaseNowMs(db);
  const { unknown, differences } = compareBooks(before, await bookedPayments(db, order.id), found, nowMs);
  for (const payment of unknown) {
    if (await repair(deps, bankId, order.id, payment)) {
      counts.repaired += 1;
      logger.info(`order ${order.id}: payment ${payment.paymentId} was found by asking the bank`);
    }
  }
  for (const difference of differences) {
    if (await report(deps, bankId, order.id, difference)) counts.differing += 1;
  }
  await endPoll(db, order, { nextAt: nextPollAt(order, nowMs) });
  return { kind: "answered" };
}

/**
 * Closes the page of an order that has ended before it asks, so that nothing can be paid after the answer. That of a
 * paid one is left: a bank whose page can be closed lets it be paid once.
 */
async function askAbout(
  { postgres, banks }: OrdersDependencies,
  bankId: string,
  { id, status, checkoutRef }: ClaimedPoll,
): Promise<Payment[]> {
  const registered = await banks.find(postgres.db, bankId);
  if (!registered) throw new Error("the bank is not registered");
  const bank: Bank = registered.connect();
  const ended = status === "cancelled" || status === "expired";
  if (ended && checkoutRef) await bank.closeCheckout?.(checkoutRef);
  return bank.findPayments(id, checkoutRef);
}

/** @returns whether it was news */
function repair(
  deps: OrdersDependencies,
  bankId: string,
  orderId: string,
  payment: Payment,
): Promise<boolean> {
  const { paymentId, amount } = payment;
  const body = JSON.stringify({ reconciliation: { orderId, paymentId, amount } });
  const eventId = `reconciliation-${derivedId("payment", body)}`;
  const event = { kind: "paid" as const, eventId, paymentId, orderId, amount };
  return intake(deps, bankId, body, { kind: "event", event });
}

/** @returns false when it was told before */
function report(
  deps: OrdersDependencies,
  bankId: string,
  orderId: string,
  { kind, paymentId, detail }: Difference,
): Promise<boolean> {
  return deps.postgres.transact(async (trx) => {
    const found = await findOrder(trx, orderId, { role: "bank", bankId });
    if (!found) return false;
    const body = JSON.stringify({ reconciliation: { orderId, kind, detail } });
    const bodyHash = createHash("sha256").update(body).digest("hex");
    const eventId = `reconciliation-${derivedId(kind, body)}`;
    const seen = await insertEvent(trx, { bankId, eventId, bodyHash, body, kind: "noted" });
    if (seen !== "new") return false;
    const about = { subject: paymentId, under: orderId, version: found.order.version };
    await deps.outbox.add(trx, [alert(kind, `Order ${orderId}: ${detail}`, about)]);
    return true;
  });
}

async function tellOfSilence({ postgres, outbox }: OrdersDependencies, bankId: string): Promise<void> {
  await postgres.transact(async (trx) => {
    const since = await markAlerted(trx, bankId, ALERT_AFTER_MS);
    if (!since) return;
    const detail = `The bank has not answered since ${since}: payments whose callback was lost wait.`;
    await outbox.add(trx, [alert("bank.silent", detail, { subject: bankId })]);
  });
}
