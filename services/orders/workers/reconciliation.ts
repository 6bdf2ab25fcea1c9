import { createHash } from "node:crypto";
import { alert } from "../../../contracts/alerts.ts";
import { type Backoff, backoffMs } from "../../../lib/backoff.ts";
import { derivedId, newId } from "../../../lib/ids.ts";
import type { Logger } from "../../../lib/logger.ts";
import { reasonOf } from "../../../lib/sql/database.ts";
import { shortenLine } from "../../../lib/text.ts";
import type { Bank, BankError, Payment } from "../../../providers/banks/index.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { compareBooks, type Difference, nextPollAt } from "../domain/order-reconciliation.ts";
import { databaseNowMs, findOrder } from "../store/orders.repository.ts";
import { insertEvent } from "../store/payments.repository.ts";
import {
  bookedPayments,
  type ClaimedPoll,
  claimPolls,
  type DueBank,
  dueBanks,
  endPoll,
  markBankAlerted,
  postponePoll,
  recordBankAnswer,
  recordBankFailure,
  recordPollFailure,
} from "../store/reconciliation.repository.ts";
import { recordBankEvent } from "../use-cases/bank-events.ts";
import { bankPass } from "./bank-pass.ts";

/** The number of concurrent polls at one bank. After a failure to answer, it is one. */
const BATCH = 16;
/** Longer than two requests, each of which the bank's adapter ends within five seconds. */
const LEASE_MS = 30_000;
/** The delay of a poll without an answer: it is due again when the bank is polled again. */
const UNANSWERED_DELAY_MS = 5_000;
/** The delay before a bank that does not answer is polled again. */
const BACKOFF: Backoff = { firstMs: 5_000, factor: 2, maxMs: 300_000, jitter: 0.2 };
/** An operator is alerted after this time without an answer. */
const ALERT_AFTER_MS = 600_000;
const ERROR_MAX_LENGTH = 300;
/** The delay after a poll that failed on our side: the first one, and the maximum. */
const FAILED_DELAY_MS = 30_000;
const FAILED_DELAY_MAX_MS = 30 * 60_000;
const ALERT_AT_FAILURE = 3;

/** The results of this process's polls since its start. */
export interface ReconciliationCounts extends Record<string, number> {
  /** Polls with an answer. */
  answered: number;
  /** Payments that were found by polls, because their callback was lost. */
  repaired: number;
  /** Differences that were reported to operators. */
  differing: number;
  /** Polls without an answer. */
  unanswered: number;
}

export function reconciliationCounts(): ReconciliationCounts {
  return { answered: 0, repaired: 0, differing: 0, unanswered: 0 };
}

/**
 * Polls the banks for payments of all orders whose poll is due. An unknown payment is recorded as if its callback had
 * arrived, so that poll and callback together have one effect and an excess is refunded. Other differences are reported
 * to an operator once. Banks are polled concurrently, so that a bank that does not answer delays only itself; it is
 * polled with increasing delays, for one order at a time, until it answers.
 */
export function reconcilePayments(
  deps: OrdersDependencies,
  logger: Logger,
  counts: ReconciliationCounts,
  stopping?: AbortSignal,
): Promise<void> {
  return bankPass({
    due: () => dueBanks(deps.postgres.db),
    work: (bank) => pollBank(deps, logger, counts, bank, stopping),
    failed: (id, error) => logger.warn(`bank ${id}: polls failed and will be repeated:`, String(error)),
    stopping,
  });
}

async function pollBank(
  deps: OrdersDependencies,
  logger: Logger,
  counts: ReconciliationCounts,
  { id: bankId, failures, answeredAt: answeredBefore }: DueBank,
  stopping: AbortSignal | undefined,
): Promise<void> {
  const { db } = deps.postgres;
  let answeredAt = answeredBefore;
  let [isSilent, limit] = [failures > 0, failures > 0 ? 1 : BATCH];
  while (!stopping?.aborted) {
    const claimed = await claimPolls(db, { bankId, leaseId: newId(), leaseMs: LEASE_MS, limit });
    if (claimed.length === 0) return;
    const context = { deps, logger, counts, bankId, answeredAt };
    const results = await Promise.all(
      claimed.map((order) =>
        pollOrder(context, order).catch((error) => recordFailure(deps, logger, order, error)),
      ),
    );
    const isAnswered = results.some(({ kind }) => kind === "answered");
    const [error] = results.flatMap((result) => (result.kind === "unanswered" ? [result.error] : []));
    if (error !== undefined && !isAnswered) {
      const times = await recordBankFailure(db, bankId, { delayMs: backoffMs(BACKOFF, failures + 1), error });
      // Logged once; the list of banks shows the state from then on.
      if (times === 1) logger.warn(`bank ${bankId}: does not answer and is polled less often:`, error);
      return alertSilence(deps, bankId);
    }
    if (!isAnswered) {
      if (claimed.length < limit) return;
      continue;
    }
    const answer = await recordBankAnswer(db, bankId);
    answeredAt = answer.answeredAt;
    if (answer.wasSilent) logger.info(`bank ${bankId}: answers again`);
    // The first poll after a failure was for a single order; polls of other orders may be due too.
    if (claimed.length < limit && !isSilent) return;
    [isSilent, limit] = [false, BATCH];
  }
}

/**
 * The result of one poll. `unanswered`: the bank may be down. `isolated`: only this order has a problem, which says
 * nothing about the bank.
 */
type PollResult = { kind: "answered" | "isolated" } | { kind: "unanswered"; error: string };

/** Records a failure on our side: the order's poll is postponed, and an operator is alerted of repeated failures. */
async function recordFailure(
  { postgres, outbox }: OrdersDependencies,
  logger: Logger,
  poll: ClaimedPoll,
  error: unknown,
): Promise<PollResult> {
  const text = shortenLine(reasonOf(error), ERROR_MAX_LENGTH);
  logger.warn(`order ${poll.id}: cannot process the bank's answer:`, text);
  await postgres.transact(async (trx) => {
    const retry = { delayMs: FAILED_DELAY_MS, maxMs: FAILED_DELAY_MAX_MS, error: text };
    const failure = await recordPollFailure(trx, poll, retry);
    if (!failure || failure.failures < ALERT_AT_FAILURE) return;
    const detail = `The bank's answer about the order could not be processed (${failure.failures} times): ${text}`;
    await outbox.add(trx, [
      alert("reconciliation.failed", detail, { subject: poll.id, version: failure.version }),
    ]);
  });
  return { kind: "isolated" };
}

/** Ends a poll whose answer is unusable. The next poll is the regular one, and an operator is alerted once. */
async function skipPoll(
  { postgres, outbox }: OrdersDependencies,
  order: ClaimedPoll,
  error: string,
): Promise<void> {
  const nextAt = nextPollAt(order, await databaseNowMs(postgres.db));
  await postgres.transact(async (trx) => {
    await endPoll(trx, order, { nextAt, error });
    const detail = `The bank's answer about the payments of order ${order.id} cannot be read: ${error}.`;
    await outbox.add(trx, [alert("payment.unreadable", detail, { subject: order.id })]);
  });
}

interface PollContext {
  deps: OrdersDependencies;
  logger: Logger;
  counts: ReconciliationCounts;
  bankId: string;
  /** The time of the bank's last answer about any order. */
  answeredAt: string | undefined;
}

async function pollOrder(
  { deps, logger, counts, bankId, answeredAt }: PollContext,
  order: ClaimedPoll,
): Promise<PollResult> {
  const { db } = deps.postgres;
  const before = await bookedPayments(db, order.id);
  let found: Payment[];
  try {
    found = await fetchPayments(deps, bankId, order);
  } catch (error) {
    const text = shortenLine(String((error as Error).message), ERROR_MAX_LENGTH);
    const { kind } = error as Partial<BankError>;
    if (kind === "refused") {
      // A refusal is an answer: the next poll is the regular one.
      await endPoll(db, order, { nextAt: nextPollAt(order, await databaseNowMs(db)), error: text });
      return { kind: "answered" };
    }
    counts.unanswered += 1;
    if (kind === "unreadable") {
      await skipPoll(deps, order, text);
      return { kind: "answered" };
    }
    // Since the first poll about this order without an answer, the bank has answered about others.
    const { failedAt } = order;
    if (failedAt !== undefined && answeredAt !== undefined && failedAt < answeredAt) {
      await skipPoll(deps, order, text);
      return { kind: "isolated" };
    }
    await postponePoll(db, order, UNANSWERED_DELAY_MS, text);
    return { kind: "unanswered", error: text };
  }
  counts.answered += 1;
  const nowMs = await databaseNowMs(db);
  const { unknown, differences } = compareBooks(before, await bookedPayments(db, order.id), found, nowMs);
  for (const payment of unknown) {
    if (await recordPayment(deps, bankId, order.id, payment)) {
      counts.repaired += 1;
      logger.info(`order ${order.id}: a poll of the bank found payment ${payment.paymentId}`);
    }
  }
  for (const difference of differences) {
    if (await reportDifference(deps, bankId, order.id, difference)) counts.differing += 1;
  }
  await endPoll(db, order, { nextAt: nextPollAt(order, nowMs) });
  return { kind: "answered" };
}

/**
 * Reads the payments of an order from its bank. If the order has ended, it closes the checkout page first, so that no
 * payment can follow the answer. The page of a paid order stays open: a bank whose page can be closed accepts one
 * payment only.
 */
async function fetchPayments(
  { banks }: OrdersDependencies,
  bankId: string,
  { id, status, checkoutRef }: ClaimedPoll,
): Promise<Payment[]> {
  const registered = await banks.find(bankId);
  if (!registered) throw new Error("the bank is not registered");
  const bank: Bank = registered.connect();
  const isEnded = status === "cancelled" || status === "expired";
  if (isEnded && checkoutRef) await bank.closeCheckout?.(checkoutRef);
  return bank.findPayments(id, checkoutRef);
}

/** Records a payment as if its callback had arrived. @returns false if it was recorded before */
function recordPayment(
  deps: OrdersDependencies,
  bankId: string,
  orderId: string,
  payment: Payment,
): Promise<boolean> {
  const { paymentId, amount } = payment;
  const body = JSON.stringify({ reconciliation: { orderId, paymentId, amount } });
  const eventId = `reconciliation-${derivedId("payment", body)}`;
  const event = { kind: "paid" as const, eventId, paymentId, orderId, amount };
  return recordBankEvent(deps, bankId, body, { kind: "event", event });
}

/** Alerts an operator of a difference. @returns false if it was reported before */
function reportDifference(
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
    const inserted = await insertEvent(trx, { bankId, eventId, bodyHash, body, kind: "noted" });
    if (inserted !== "new") return false;
    const about = { subject: paymentId, under: orderId, version: found.order.version };
    await deps.outbox.add(trx, [alert(kind, `Order ${orderId}: ${detail}`, about)]);
    return true;
  });
}

function alertSilence({ postgres, outbox }: OrdersDependencies, bankId: string): Promise<void> {
  return postgres.transact(async (trx) => {
    const since = await markBankAlerted(trx, bankId, ALERT_AFTER_MS);
    if (!since) return;
    const detail = `The bank has not answered since ${since}: payments whose callback was lost are not booked.`;
    await outbox.add(trx, [alert("bank.silent", detail, { subject: bankId })]);
  });
}
