import { alert } from "../../../contracts/alerts.ts";
import { type Backoff, backoffMs } from "../../../lib/backoff.ts";
import { failpoint } from "../../../lib/failpoint.ts";
import { newId } from "../../../lib/ids.ts";
import type { Logger } from "../../../lib/logger.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { shortenLine } from "../../../lib/text.ts";
import { withTimeout } from "../../../lib/timeout.ts";
import type { Bank, RefundState } from "../../../providers/banks/index.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import {
  type ClaimedRefund,
  claimRefunds,
  dueRefundBanks,
  markRefundAlerted,
  releaseRefund,
} from "../store/payments.repository.ts";
import { inOrderTrace } from "../use-cases/order-trace.ts";
import { REFUND_ERROR_MAX_LENGTH, settleRefund } from "../use-cases/refund-settlement.ts";
import { bankPass } from "./bank-pass.ts";

/** The number of concurrent refunds at one bank. */
const BATCH = 8;
/**
 * Longer than a look-up and a refund together, each of which the bank's adapter ends within five seconds; and short
 * enough that another process continues the work of a killed one within fifteen seconds.
 */
const LEASE_MS = 12_000;
/** Limits an attempt with an answer of many pages, so that its result is saved within the lease. */
const ATTEMPT_TIMEOUT_MS = 10_500;
const BACKOFF: Backoff = { firstMs: 1_000, factor: 2, maxMs: 300_000, jitter: 0.2 };
/** An operator is alerted at this attempt, after about 15 minutes; the attempts continue. */
const ALERT_AT_ATTEMPT = 10;
/** The delay before the next attempt at a bank that cannot look refunds up. */
const NO_LOOKUP_DELAY_MS = 3_600_000;

/** Processes all due refunds. @param stopping ends the work after the running attempts */
export function processRefunds(
  deps: OrdersDependencies,
  logger: Logger,
  stopping?: AbortSignal,
): Promise<void> {
  return bankPass({
    due: async () => (await dueRefundBanks(deps.postgres.db)).map((id) => ({ id })),
    work: ({ id }) => processBank(deps, logger, id, stopping),
    failed: (id, error) => logger.warn(`bank ${id}: refunds failed and will be retried:`, String(error)),
    stopping,
  });
}

async function processBank(
  deps: OrdersDependencies,
  logger: Logger,
  bankId: string,
  stopping: AbortSignal | undefined,
): Promise<void> {
  let claimed: ClaimedRefund[];
  do {
    const claim = { bankId, leaseId: newId(), leaseMs: LEASE_MS, limit: BATCH };
    claimed = await claimRefunds(deps.postgres.db, claim);
    if (claimed.length > 0) failpoint("refund.claimed");
    await Promise.all(claimed.map((refund) => attemptOrPostpone(deps, logger, refund)));
  } while (claimed.length === BATCH && !stopping?.aborted);
}

/** An attempt that fails on our side, as for an order that cannot be read, is repeated with increasing delays. */
async function attemptOrPostpone(
  deps: OrdersDependencies,
  logger: Logger,
  refund: ClaimedRefund,
): Promise<void> {
  try {
    await inOrderTrace(refund.traceparent, "refund", () => attempt(deps, refund));
  } catch (error) {
    logger.warn(`refund ${refund.id}: the attempt failed and will be repeated:`, String(error));
    await postpone(deps, refund, {
      state: "unknown",
      error: shortenLine(String(error), REFUND_ERROR_MAX_LENGTH),
      delayMs: backoffMs(BACKOFF, refund.attempts),
      isStuck: refund.attempts >= ALERT_AT_ATTEMPT,
    }).catch((again) => logger.warn(`refund ${refund.id}: waits for the end of its lease:`, String(again)));
  }
}

/**
 * The result of an attempt: the bank's answer, or why there is none. `retry`: repeat, `as` is the state until then.
 * `no_lookup`: the refund may have reached the bank, which cannot look it up.
 */
type AttemptResult =
  | RefundState
  | { state: "retry"; as: "pending" | "unknown"; error: string }
  | { state: "no_lookup" };

async function attempt(deps: OrdersDependencies, claimed: ClaimedRefund): Promise<void> {
  // The alert of an earlier attempt is missing if no attempt has reached its end, as after repeated crashes.
  if (claimed.attempts > ALERT_AT_ATTEMPT) {
    await deps.postgres.transact((trx) => alertStuck(deps, trx, claimed, "no attempt has reached its end"));
  }
  const result = await withTimeout(ATTEMPT_TIMEOUT_MS, () => requestRefund(deps, claimed)).catch(
    ({ message }: Error): AttemptResult => ({ state: "retry", as: "unknown", error: message }),
  );
  failpoint("refund.asked");
  switch (result.state) {
    case "completed":
    case "failed":
      await end(deps, claimed, result);
      failpoint("refund.ended");
      return;
    case "no_lookup":
      return postpone(deps, claimed, {
        state: "unknown",
        delayMs: NO_LOOKUP_DELAY_MS,
        error: "the bank cannot say what became of it",
        isStuck: true,
      });
    default: {
      const { attempts } = claimed;
      const isRetry = result.state === "retry";
      return postpone(deps, claimed, {
        state: isRetry ? result.as : "sent",
        delayMs: backoffMs(BACKOFF, attempts),
        error: isRetry ? result.error : "the bank is processing it",
        isStuck: attempts >= ALERT_AT_ATTEMPT,
      });
    }
  }
}

/** Requests the refund at the bank. A refund that may have been requested before is looked up first. */
async function requestRefund(deps: OrdersDependencies, refund: ClaimedRefund): Promise<AttemptResult> {
  let as: "pending" | "unknown" = refund.state === "pending" ? "pending" : "unknown";
  try {
    const registered = await deps.banks.find(refund.bankId);
    if (!registered) throw new Error("the bank is not registered");
    const bank: Bank = registered.connect();
    if (as === "unknown") {
      if (!bank.findRefund) return { state: "no_lookup" };
      const found = await bank.findRefund(refund.id, refund.paymentId);
      if (found) return found;
      as = "pending";
    }
    const amount = { amountMinor: refund.amountMinor, currency: refund.currency };
    const { id: refundId, paymentId, orderId } = refund;
    return await bank.refund({ refundId, paymentId, amount, ...(orderId && { orderId }) });
  } catch (error) {
    const text = shortenLine(String((error as Error).message), REFUND_ERROR_MAX_LENGTH);
    const { kind } = error as { kind?: string };
    if (kind === "refused" && as === "pending") return { state: "failed", reason: text };
    // An error before the request was sent leaves the state unchanged.
    return { state: "retry", as: kind === "unclear" || kind === "unreadable" ? "unknown" : as, error: text };
  }
}

async function end(
  deps: OrdersDependencies,
  claimed: ClaimedRefund,
  { state, reason }: RefundState,
): Promise<void> {
  await deps.postgres.transact(async (trx) => {
    const { leaseId } = claimed;
    await settleRefund(deps, trx, claimed, {
      state: state as "completed" | "failed",
      error: reason,
      leaseId,
    });
  });
}

async function postpone(
  deps: OrdersDependencies,
  claimed: ClaimedRefund,
  next: { state: "pending" | "sent" | "unknown"; delayMs: number; error: string; isStuck: boolean },
): Promise<void> {
  await deps.postgres.transact(async (trx) => {
    const released = await releaseRefund(trx, claimed, next);
    if (released && next.isStuck) await alertStuck(deps, trx, claimed, next.error);
  });
}

/** Alerts an operator of a stuck refund, once for each refund. */
async function alertStuck(
  deps: OrdersDependencies,
  trx: Transaction,
  { id, orderId, bankId }: ClaimedRefund,
  reason: string,
): Promise<void> {
  if (!(await markRefundAlerted(trx, id))) return;
  // Does not read the order, which may be unreadable and so the cause.
  const detail = `Refund ${id} of ${orderId ? `order ${orderId}` : "a payment that matches no order"}: ${reason}.`;
  await deps.outbox.add(trx, [alert("refund.stuck", detail, { subject: id, under: orderId ?? bankId })]);
}
