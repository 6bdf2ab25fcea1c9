import type { Knex } from "knex";
import { alert } from "../../../contracts/alerts.ts";
import { type Backoff, backoffMs } from "../../../lib/backoff.ts";
import { failpoint } from "../../../lib/failpoint.ts";
import { newId } from "../../../lib/ids.ts";
import type { Logger } from "../../../lib/logger.ts";
import { shortenLine } from "../../../lib/text.ts";
import { withTimeout } from "../../../lib/timeout.ts";
import type { Bank, RefundState } from "../../../providers/banks/index.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { inOrderTrace } from "../store/order-trace.ts";
import {
  type ClaimedRefund,
  claimRefunds,
  dueRefundBanks,
  markRefundAlerted,
  releaseRefund,
} from "../store/payments.repository.ts";
import { endRefundIn, REFUND_ERROR_MAX_LENGTH } from "../store/refund-ends.ts";
import { bankPass } from "./bank-pass.ts";

/** So many refunds of one bank at once. */
const BATCH = 8;
/**
 * Longer than a look-up and a refund together, each of which the bank's port ends within five seconds; and short enough
 * that what a killed service had begun goes on within fifteen.
 */
const LEASE_MS = 12_000;
/** A bank's answer may come in many pages, each within its own time. The end of a try is written within the lease. */
const ASK_TIMEOUT_MS = 10_500;
const BACKOFF: Backoff = { firstMs: 1_000, factor: 2, maxMs: 300_000, jitter: 0.2 };
/** After about a quarter of an hour an operator is told; the tries go on. */
const ALERT_AT_ATTEMPT = 10;
const BLIND_DELAY_MS = 3_600_000;

/** One pass over the refunds that are due. A stop ends it after those that are under way. */
export function refundWorker(
  deps: OrdersDependencies,
  logger: () => Logger,
): (stopping?: AbortSignal) => Promise<void> {
  return (stopping) =>
    bankPass({
      due: async () => (await dueRefundBanks(deps.postgres.db)).map((id) => ({ id })),
      work: ({ id }) => workAt(deps, logger(), id, stopping),
      failed: (id, error) =>
        logger().warn(`refunds at bank ${id}: the next look tries again:`, String(error)),
      stopping,
    });
}

async function workAt(
  deps: OrdersDependencies,
  logger: Logger,
  bankId: string,
  stopping: AbortSignal | undefined,
): Promise<void> {
  let claimed: ClaimedRefund[];
  do {
    const token = newId();
    claimed = await claimRefunds(deps.postgres.db, { bankId, token, leaseMs: LEASE_MS, limit: BATCH });
    if (claimed.length > 0) failpoint("refund.claimed");
    await Promise.all(claimed.map((refund) => workOrPostpone(deps, logger, refund, token)));
  } while (claimed.length === BATCH && !stopping?.aborted);
}

/** A refund whose try fails on our side, as one whose order cannot be read, comes again less and less often. */
async function workOrPostpone(
  deps: OrdersDependencies,
  logger: Logger,
  refund: ClaimedRefund,
  token: string,
): Promise<void> {
  try {
    await workOn(deps, refund, token);
  } catch (error) {
    logger.warn(`refund ${refund.id}: is looked up again:`, String(error));
    const next = { state: "unknown" as const, error: shortenLine(String(error), REFUND_ERROR_MAX_LENGTH) };
    const alarm = refund.attempts >= ALERT_AT_ATTEMPT;
    await postpone(deps, refund, token, {
      ...next,
      delayMs: backoffMs(BACKOFF, refund.attempts),
      alarm,
    }).catch((later) => logger.warn(`refund ${refund.id}: waits for its lease to end:`, String(later)));
  }
}

/** What a try has come to: an answer of the bank, or why there is none. */
type Try = RefundState | { state: "again"; as: "pending" | "unknown"; error: string } | { state: "blind" };

function workOn(deps: OrdersDependencies, claimed: ClaimedRefund, token: string): Promise<void> {
  return inOrderTrace(claimed.traceparent, "refund", () => work(deps, claimed, token));
}

async function work(deps: OrdersDependencies, claimed: ClaimedRefund, token: string): Promise<void> {
  // Every try so far has ended without a word, so that none of them has told: perhaps this one ends so too.
  if (claimed.attempts > ALERT_AT_ATTEMPT) {
    await deps.postgres.transact((trx) => tellStuck(deps, trx, claimed, "no try has come to an end"));
  }
  const tried = await withTimeout(ASK_TIMEOUT_MS, () => askBank(deps, claimed)).catch(
    ({ message }: Error): Try => ({ state: "again", as: "unknown", error: message }),
  );
  failpoint("refund.asked");
  switch (tried.state) {
    case "completed":
    case "failed":
      await end(deps, claimed, tried, token);
      failpoint("refund.ended");
      return;
    case "blind":
      return postpone(deps, claimed, token, {
        state: "unknown",
        delayMs: BLIND_DELAY_MS,
        error: "the bank cannot say what became of it",
        alarm: true,
      });
    default: {
      const { attempts } = claimed;
      const again = tried.state === "again";
      return postpone(deps, claimed, token, {
        state: again ? tried.as : "sent",
        delayMs: backoffMs(BACKOFF, attempts),
        error: again ? tried.error : "the bank is at it",
        alarm: attempts >= ALERT_AT_ATTEMPT,
      });
    }
  }
}

/** Asks for the refund; one that may have been asked for before is looked up first. */
async function askBank(deps: OrdersDependencies, refund: ClaimedRefund): Promise<Try> {
  let as: "pending" | "unknown" = refund.state === "pending" ? "pending" : "unknown";
  try {
    const registered = await deps.banks.find(deps.postgres.db, refund.bankId);
    if (!registered) throw new Error("the bank is not registered");
    const bank: Bank = registered.connect();
    if (as === "unknown") {
      if (!bank.findRefund) return { state: "blind" };
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
    // Whatever went wrong before anything was sent leaves the refund as it was.
    return { state: "again", as: kind === "unclear" || kind === "unreadable" ? "unknown" : as, error: text };
  }
}

async function end(
  deps: OrdersDependencies,
  claimed: ClaimedRefund,
  { state, reason }: RefundState,
  token?: string,
): Promise<void> {
  await deps.postgres.transact(async (trx) => {
    await endRefundIn(deps, trx, claimed, { state: state as "completed" | "failed", error: reason, token });
  });
}

async function postpone(
  deps: OrdersDependencies,
  claimed: ClaimedRefund,
  token: string,
  next: { state: "pending" | "sent" | "unknown"; delayMs: number; error: string; alarm: boolean },
): Promise<void> {
  await deps.postgres.transact(async (trx) => {
    const held = await releaseRefund(trx, claimed.id, token, next);
    if (held && next.alarm) await tellStuck(deps, trx, claimed, next.error);
  });
}

/** Once for each refund, whichever of its tries comes so far. */
async function tellStuck(
  deps: OrdersDependencies,
  trx: Knex.Transaction,
  { id, orderId, bankId }: ClaimedRefund,
  why: string,
): Promise<void> {
  if (!(await markRefundAlerted(trx, id))) return;
  // Without a look at the order, which may be what keeps the refund from its end.
  const detail = `Refund ${id} of ${orderId ? `order ${orderId}` : "a payment that fits no order"}: ${why}.`;
  await deps.outbox.add(trx, [alert("refund.stuck", detail, { subject: id, under: orderId ?? bankId })]);
}
