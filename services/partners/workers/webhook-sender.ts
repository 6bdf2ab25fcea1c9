import { SpanKind } from "@opentelemetry/api";
import { alert } from "../../../contracts/alerts.ts";
import { message, type NewMessage } from "../../../contracts/messages.ts";
import type { PartnerNotice } from "../../../contracts/partner-notices.ts";
import { jittered } from "../../../lib/backoff.ts";
import { newId } from "../../../lib/ids.ts";
import type { Logger } from "../../../lib/logger.ts";
import { type Runner, startRunner } from "../../../lib/messaging/runner.ts";
import { saturation } from "../../../lib/saturation.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { withTimeout } from "../../../lib/timeout.ts";
import { inTraceOf } from "../../../lib/tracing/index.ts";
import { background } from "../../../mixins/background/background.mixin.ts";
import { commitWithMessages } from "../../../mixins/outbox/commit-with-messages.ts";
import type { PartnersDependencies, Sender } from "../dependencies.ts";
import { bodyToSend } from "../domain/webhook-events.ts";
import { ATTEMPT_TIMEOUT_MS, type FailedAttempt, nextAttemptDelayMs } from "../domain/webhook-schedule.ts";
import { markEndpointGone } from "../store/webhook-endpoint.repository.ts";
import {
  type ClaimedAttempt,
  claimAttempts,
  deferAttempt,
  endAttempt,
  insertNextAttempt,
  parkAttempt,
  releaseAttempt,
} from "../store/webhook-queue.repository.ts";
import { announcePartner } from "../use-cases/announce-partner.ts";
import { type AttemptResult, attemptDelivery } from "./webhook-attempt.ts";

/** Share of the slots that partners' second and further concurrent attempts may use. */
const ADDITIONAL_SHARE = 0.5;
/** An attempt ends at least this long before its lease expires. */
const LEASE_MARGIN_MS = 500;
/** Webhooks that become due within this time after a claim are claimed by the next one. */
const PAUSE_MS = 20;
const SATURATION_ALERT_INTERVAL_MS = 3_600_000;

/** Information webhooks wait this long for an endpoint that is gone. Preparation webhooks wait until their deadline. */
const PARKED_MAX_MS = 7 * 86_400_000;
/** Partners have no language setting. */
const MAIL_LANGUAGE = "en";

export interface SenderLimits {
  /** Limits of concurrent attempts: of one partner (in all processes together), and of this process. */
  perPartner: number;
  atOnce: number;
  timeoutMs: number;
  /** Must be longer than an attempt can take. After it, any process may make the attempt again. */
  leaseMs: number;
  sweepMs: number;
  /** Time limit for running attempts when the service stops. */
  drainMs: number;
  /** How long all slots may be in use before the service raises an alert. */
  saturatedMs: number;
}

export const senderLimits: SenderLimits = {
  perPartner: 4,
  atOnce: 200,
  timeoutMs: ATTEMPT_TIMEOUT_MS,
  leaseMs: 13_000,
  sweepMs: 1_000,
  drainMs: 3_000,
  saturatedMs: 10_000,
};

/** Delay of an attempt that failed because of the platform. */
const DEFERRAL_MS = 15_000;
const DEFERRAL_JITTER = 0.3;
/** Limit of claims of one attempt while its result cannot be recorded. */
const UNRECORDED_MAX = 5;

export interface SenderOptions extends PartnersDependencies {
  /** How long a webhook about an order contains its customer and note. */
  partnerVisibleMs: number;
  limits?: Partial<SenderLimits> | undefined;
  /** Returns the delay of the next attempt in milliseconds; undefined for none. Default: `nextAttemptDelayMs`. */
  schedule?: ((failed: FailedAttempt) => number | undefined) | undefined;
}

/** Makes the due attempts of all partners concurrently and records the result of each. */
export function webhookSender(options: SenderOptions): Sender {
  const limits = { ...senderLimits, ...options.limits };
  const running = new Map<Promise<void>, string>();
  const slots = saturation("partner webhooks", limits.saturatedMs);
  let stopping = new AbortController();
  let runner: Runner | undefined;
  let logger: Logger;
  let saturationAlertedMs = Number.NEGATIVE_INFINITY;

  async function claim(): Promise<void> {
    const limit = limits.atOnce - running.size;
    if (limit <= 0) await alertSaturation();
    if (limit <= 0 || stopping.signal.aborted) return;
    const { leaseMs, perPartner } = limits;
    const further = running.size - new Set(running.values()).size;
    const furtherLimit = Math.max(0, Math.floor(limits.atOnce * ADDITIONAL_SHARE) - further);
    const claimed = await options.postgres.transact((trx) =>
      claimAttempts(trx, { leaseId: newId(), leaseMs, perPartner, limit, furtherLimit }),
    );
    for (const one of claimed) {
      const attempt = inTraceOf(one.traceparent, `webhook ${one.type}`, () => runAttempt(one), {
        kind: SpanKind.INTERNAL,
      });
      const work = attempt.finally(() => {
        running.delete(work);
        slots.note(running.size, limits.atOnce);
        runner?.wake();
      });
      running.set(work, one.partnerId);
    }
    slots.note(running.size, limits.atOnce);
  }

  async function runAttempt(claimed: ClaimedAttempt): Promise<void> {
    try {
      if (claimed.claims > UNRECORDED_MAX) return await deadLetter(claimed);
      // The slot must be free before the lease expires: otherwise the repeated attempt would use a second slot.
      await withTimeout(limits.leaseMs - LEASE_MARGIN_MS, () => attemptAndSettle(claimed));
    } catch (error) {
      // After the lease expires, the same attempt is made again with the same message id.
      logger.warn(
        `webhook ${claimed.messageId}, attempt ${claimed.attempt}: the result was not recorded:`,
        String(error),
      );
    }
  }

  async function attemptAndSettle(claimed: ClaimedAttempt): Promise<void> {
    if (isParked(claimed) && (await park(claimed))) return;
    const { signal } = stopping;
    const result = await attemptDelivery(
      { ...claimed, body: bodyToSend(claimed, options.partnerVisibleMs) },
      { ...options, timeoutMs: limits.timeoutMs, signal },
      options.clock.now(),
    );
    if (signal.aborted && !result.accepted) await releaseAttempt(options.postgres.db, claimed);
    else await settle(claimed, result);
  }

  /** Raises an alert at most once an hour, in addition to the readiness check. */
  async function alertSaturation(): Promise<void> {
    const problem = slots.problem();
    if (problem === undefined || performance.now() < saturationAlertedMs + SATURATION_ALERT_INTERVAL_MS)
      return;
    saturationAlertedMs = performance.now();
    await options.postgres.transact((trx) =>
      options.outbox.add(trx, [
        alert("webhook.saturated", `${problem}: partners' systems answer too slowly.`, {
          subject: "webhooks",
          under: newId(),
        }),
      ]),
    );
  }

  async function settle(claimed: ClaimedAttempt, attemptResult: AttemptResult): Promise<void> {
    const { accepted, gone, fault, retryAfterMs, ...result } = attemptResult;
    if (fault === "platform") return defer(claimed, result.error ?? "unknown reason");
    const first = claimed.urgency === "preparation" && claimed.attempt === 1;
    if (accepted) {
      await commitWithMessages(options.outbox, first ? noticesOf(claimed, "delivered") : [], (rows) =>
        endAttempt(options.postgres.db, claimed, { ...result, state: "accepted" }, rows),
      );
      return;
    }
    const { remainingMs } = claimed;
    const failed = {
      ...{ ...claimed, retryAfterMs },
      ...(remainingMs !== undefined && { remainingMs: remainingMs - result.durationMs }),
    };
    const delayMs = options.schedule ? options.schedule(failed) : nextAttemptDelayMs(failed, Math.random());
    // A partner that has removed or disabled its endpoint takes orders by hand: that is no failure of a delivery.
    const isByHand = fault === "no_endpoint" && claimed.webhookGoneAt === undefined;
    const last = claimed.urgency === "test" || isByHand ? "failed" : "dead";
    const state = delayMs === undefined ? last : "failed";
    await options.postgres.transact(async (trx) => {
      const ended = await endAttempt(trx, claimed, { ...result, state });
      // The first attempt starts the partner's time to accept, also when it failed.
      if (ended && ended !== "stopped" && first) {
        const why = result.error ?? `status ${result.statusCode}`;
        await notify(trx, claimed, fault === "no_endpoint" ? "no_endpoint" : "unreachable", why);
      }
      if (ended === "failed" && delayMs !== undefined) {
        await insertNextAttempt(trx, claimed, newId(options.clock.now()), delayMs);
      }
      if (ended !== undefined && gone) await disable(trx, claimed);
      if (ended === "dead" && claimed.urgency === "preparation") {
        const why = result.error ?? `status ${result.statusCode}`;
        await raise(trx, claimed, "webhook.dead", `The partner's system did not receive the order: ${why}.`);
      }
    });
  }

  /** Ends an attempt whose result could not be recorded repeatedly, without another call of the partner's system. */
  async function deadLetter(claimed: ClaimedAttempt): Promise<void> {
    const error = `its result could not be recorded ${UNRECORDED_MAX} times`;
    await options.postgres.transact(async (trx) => {
      const ended = await endAttempt(trx, claimed, { state: "dead", durationMs: 0, error });
      if (!ended || ended === "stopped") return;
      await raise(
        trx,
        claimed,
        "webhook.dead",
        `The webhook ${claimed.messageId} is a dead letter: ${error}.`,
      );
      if (claimed.urgency === "preparation" && claimed.attempt === 1) {
        await notify(trx, claimed, "held_up", error);
      }
    });
  }

  /** Disables the endpoint, which closes the partner, and notifies its admin and the operators. */
  async function disable(trx: Transaction, claimed: ClaimedAttempt): Promise<void> {
    const partner = await markEndpointGone(trx, claimed.partnerId);
    if (!partner) return;
    await announcePartner(options, trx, partner);
    const detail =
      "The partner's endpoint answered 410 and was disabled; the partner takes no orders until it is set.";
    await raise(trx, claimed, "webhook.disabled", detail);
    const mail = { version: 1, email: partner.email, template: "webhook-disabled", language: MAIL_LANGUAGE };
    const values = { partner: partner.title, address: new URL(claimed.apiUrl ?? "").host };
    await options.outbox.add(trx, [message("notification.requested", partner.id, { ...mail, values })]);
  }

  function park(claimed: ClaimedAttempt): Promise<boolean> {
    return options.postgres.transact((trx) => parkAttempt(trx, claimed, PARKED_MAX_MS));
  }

  /** Defers an attempt that failed because of the platform. It is not counted. Notifies Orders once for each reason. */
  async function defer(claimed: ClaimedAttempt, why: string): Promise<void> {
    logger.warn(`webhook ${claimed.messageId}, attempt ${claimed.attempt}, is deferred:`, why);
    await options.postgres.transact(async (trx) => {
      const deferred = await deferAttempt(trx, claimed, jittered(DEFERRAL_MS, DEFERRAL_JITTER), why);
      if (!deferred || claimed.error === why) return;
      if (claimed.urgency === "preparation" && claimed.attempt === 1) {
        await notify(trx, claimed, "held_up", why);
      }
    });
  }

  function notify(
    trx: Transaction,
    claimed: ClaimedAttempt,
    outcome: PartnerNotice["outcome"],
    detail?: string,
  ): Promise<void> {
    return options.outbox.add(trx, noticesOf(claimed, outcome, detail));
  }

  async function raise(
    trx: Transaction,
    claimed: ClaimedAttempt,
    kind: "webhook.dead" | "webhook.disabled",
    detail: string,
  ): Promise<void> {
    const subject = claimed.orderId ?? claimed.partnerId;
    await options.outbox.add(trx, [alert(kind, detail, { subject })]);
  }

  return {
    saturated: slots.problem,
    wakeAfter(trx) {
      trx.committed.then(
        () => runner?.wake(),
        () => undefined,
      );
    },
    mixin: background({
      async start(service) {
        logger = service.logger;
        stopping = new AbortController();
        runner = startRunner({
          name: "partner webhooks",
          sweepMs: limits.sweepMs,
          pauseMs: PAUSE_MS,
          logger,
          run: claim,
        });
      },
      async stop() {
        await runner?.stop();
        const drainTimer = setTimeout(() => stopping.abort(), limits.drainMs);
        await Promise.all(running.keys());
        clearTimeout(drainTimer);
        runner = undefined;
      },
    }),
  };
}

/** The report of an attempt to Orders; none for a webhook that concerns no order. */
function noticesOf(
  { orderId, partnerId }: ClaimedAttempt,
  outcome: PartnerNotice["outcome"],
  detail?: string,
): NewMessage[] {
  if (!orderId) return [];
  const notice = { version: 1, orderId, partnerId, outcome, ...(detail && { detail }) };
  return [message("partner.notified", orderId, notice)];
}

/**
 * Whether an attempt waits for an endpoint that is gone. The first attempt of a preparation webhook does not wait, because
 * it starts the partner's time to accept the order, which is possible by hand. A test does not wait either: it shows
 * whether the endpoint works again.
 */
function isParked({ webhookGoneAt, urgency, attempt, remainingMs = 1, ageMs }: ClaimedAttempt): boolean {
  if (webhookGoneAt === undefined || urgency === "test" || remainingMs <= 0) return false;
  return urgency === "preparation" ? attempt > 1 : ageMs < PARKED_MAX_MS;
}
