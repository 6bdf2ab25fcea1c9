import { SpanKind } from "@opentelemetry/api";
import type { Knex } from "knex";
import { alert } from "../../../contracts/alerts.ts";
import { message } from "../../../contracts/messages.ts";
import type { PartnerNotice } from "../../../contracts/partner-notices.ts";
import { jittered } from "../../../lib/backoff.ts";
import { newId } from "../../../lib/ids.ts";
import type { Logger } from "../../../lib/logger.ts";
import { type Runner, startRunner } from "../../../lib/messaging/runner.ts";
import { saturation } from "../../../lib/saturation.ts";
import { withTimeout } from "../../../lib/timeout.ts";
import { inTraceOf } from "../../../lib/tracing/index.ts";
import { background } from "../../../mixins/background/background.mixin.ts";
import type { EndpointDeps, Sender } from "../dependencies.ts";
import { type FailedTry, nextTryMs, TRY_TIMEOUT_MS } from "../domain/webhook-schedule.ts";
import { announced } from "../store/announce-partner.ts";
import { markEndpointGone } from "../store/webhook-endpoint.repository.ts";
import {
  type ClaimedTry,
  claimTries,
  endTry,
  giveTryBack,
  holdTry,
  insertNextTry,
  parkTry,
} from "../store/webhook-queue.repository.ts";
import { type AttemptResult, attemptDelivery } from "./webhook-attempt.ts";

/** The part of the places that is for a partner's tries beyond its first. */
const FURTHER_SHARE = 0.5;
/** How long before the end of its lease a try's place is free at the latest. */
const LEASE_MARGIN_MS = 500;
const SATURATION_AGAIN_MS = 3_600_000;

/** News wait so long for an endpoint that is gone; what is to be prepared waits until its deadline. */
const PARKED_MAX_MS = 7 * 86_400_000;
/** Of partners no language is known. */
const MAIL_LANGUAGE = "en";

export interface SenderLimits {
  /** Tries under way at once: of one partner (in all processes together), and of this process. */
  perPartner: number;
  atOnce: number;
  timeoutMs: number;
  /** Longer than a try can take: after it the try is made again by whoever is there. */
  leaseMs: number;
  sweepMs: number;
  /** How long the tries under way may take to end when the service stops. */
  drainMs: number;
  /** How long all places may be taken before operators are told. */
  saturatedMs: number;
}

export const senderLimits: SenderLimits = {
  perPartner: 4,
  atOnce: 200,
  timeoutMs: TRY_TIMEOUT_MS,
  leaseMs: 13_000,
  sweepMs: 1_000,
  drainMs: 3_000,
  saturatedMs: 10_000,
};

/** How soon a try is made that could not be made for a reason of ours. */
const HELD_UP_MS = 15_000;
const HELD_UP_JITTER = 0.3;
/** A try is made so often at most while what became of it cannot be recorded. */
const UNRECORDED_MAX = 5;

export interface SenderOptions extends EndpointDeps {
  limits?: Partial<SenderLimits> | undefined;
  /** When the next try is; undefined: never. Tests have a quicker one. */
  schedule?: ((failed: FailedTry) => number | undefined) | undefined;
}

/** Makes the tries that are due, each partner's beside the others', and notes how each ended. */
export function webhookSender(options: SenderOptions): Sender {
  const limits = { ...senderLimits, ...options.limits };
  const underWay = new Map<Promise<void>, string>();
  const places = saturation("partner webhooks", limits.saturatedMs);
  let stopping = new AbortController();
  let runner: Runner | undefined;
  let logger: Logger;
  let saturationToldMs = Number.NEGATIVE_INFINITY;

  async function claim(): Promise<void> {
    const limit = limits.atOnce - underWay.size;
    if (limit <= 0) await tellSaturation();
    if (limit <= 0 || stopping.signal.aborted) return;
    const { leaseMs, perPartner } = limits;
    const further = underWay.size - new Set(underWay.values()).size;
    const furtherLimit = Math.max(0, Math.floor(limits.atOnce * FURTHER_SHARE) - further);
    const claimed = await options.postgres.transact((trx) =>
      claimTries(trx, { leaseId: newId(), leaseMs, perPartner, limit, furtherLimit }),
    );
    for (const one of claimed) {
      const making = inTraceOf(one.traceparent, `webhook ${one.type}`, () => make(one), {
        kind: SpanKind.INTERNAL,
      });
      const work = making.finally(() => {
        underWay.delete(work);
        places.note(underWay.size, limits.atOnce);
        runner?.wake();
      });
      underWay.set(work, one.partnerId);
    }
    places.note(underWay.size, limits.atOnce);
  }

  async function make(claimed: ClaimedTry): Promise<void> {
    try {
      if (claimed.claims > UNRECORDED_MAX) return await giveUp(claimed);
      // The place is free before the lease ends, whatever becomes of the try: else its next one would take another.
      await withTimeout(limits.leaseMs - LEASE_MARGIN_MS, () => tellAndSettle(claimed));
    } catch (error) {
      // Nothing was noted: the lease runs out, and the same try is made again, with the same id.
      logger.warn(`webhook ${claimed.messageId}, try ${claimed.attempt}, could not be noted:`, String(error));
    }
  }

  async function tellAndSettle(claimed: ClaimedTry): Promise<void> {
    if (isParked(claimed) && (await park(claimed))) return;
    const { signal } = stopping;
    const told = await attemptDelivery(
      claimed,
      { ...options, timeoutMs: limits.timeoutMs, signal },
      options.clock.now(),
    );
    if (signal.aborted && !told.accepted) await giveTryBack(options.postgres.db, claimed);
    else await settle(claimed, told);
  }

  /** Operators hear of it too where nobody looks at the readiness. */
  async function tellSaturation(): Promise<void> {
    const problem = places.problem();
    if (problem === undefined || performance.now() < saturationToldMs + SATURATION_AGAIN_MS) return;
    saturationToldMs = performance.now();
    await options.postgres.transact((trx) =>
      options.outbox.add(trx, [
        alert("webhook.saturated", `${problem}: partners' systems answer too slowly.`, {
          subject: "webhooks",
          under: newId(),
        }),
      ]),
    );
  }

  async function settle(claimed: ClaimedTry, told: AttemptResult): Promise<void> {
    const { accepted, gone, fault, retryAfterMs, ...result } = told;
    if (fault === "platform") return holdUp(claimed, result.error ?? "no reason is known");
    const first = claimed.urgency === "preparation" && claimed.attempt === 1;
    if (accepted) {
      await options.postgres.transact(async (trx) => {
        const ended = await endTry(trx, claimed, { ...result, state: "accepted" });
        if (ended && first) await notify(trx, claimed, "delivered");
      });
      return;
    }
    const failed = { ...claimed, retryAfterMs };
    const delayMs = options.schedule ? options.schedule(failed) : nextTryMs(failed, Math.random());
    const last = claimed.urgency === "test" ? "failed" : "dead";
    const state = delayMs === undefined ? last : "failed";
    await options.postgres.transact(async (trx) => {
      const ended = await endTry(trx, claimed, { ...result, state });
      // From here on the partner could have known, so its time to accept runs.
      if (ended && ended !== "stopped" && first) {
        const why = result.error ?? `status ${result.statusCode}`;
        await notify(trx, claimed, fault === "no_endpoint" ? "no_endpoint" : "unreachable", why);
      }
      if (ended === "failed" && delayMs !== undefined) {
        await insertNextTry(trx, claimed, newId(options.clock.now()), delayMs);
      }
      if (ended !== undefined && gone) await disable(trx, claimed);
      if (ended === "dead" && claimed.urgency === "preparation") {
        const why = result.error ?? `status ${result.statusCode}`;
        await raise(trx, claimed, "webhook.dead", `The partner was not told to prepare the order: ${why}.`);
      }
    });
  }

  /** The partner's system is not called any more: each call would end in the same failure of ours. */
  async function giveUp(claimed: ClaimedTry): Promise<void> {
    const error = `what became of it could not be recorded ${UNRECORDED_MAX} times`;
    await options.postgres.transact(async (trx) => {
      const ended = await endTry(trx, claimed, { state: "dead", durationMs: 0, error });
      if (!ended || ended === "stopped") return;
      await raise(trx, claimed, "webhook.dead", `The webhook ${claimed.messageId} was given up: ${error}.`);
      if (claimed.urgency === "preparation" && claimed.attempt === 1) {
        await notify(trx, claimed, "held_up", error);
      }
    });
  }

  /** The partner is closed, and its admin and the operators hear of it. */
  async function disable(trx: Knex.Transaction, claimed: ClaimedTry): Promise<void> {
    const partner = await markEndpointGone(trx, claimed.partnerId);
    if (!partner) return;
    await announced(options, trx, partner);
    const detail =
      "The partner's endpoint answered 410 and was disabled; the partner takes no orders until it is set.";
    await raise(trx, claimed, "webhook.disabled", detail);
    const mail = { version: 1, email: partner.email, template: "webhook-disabled", language: MAIL_LANGUAGE };
    const values = { partner: partner.title, address: new URL(claimed.apiUrl ?? "").host };
    await options.outbox.add(trx, [message("notification.requested", partner.id, { ...mail, values })]);
  }

  function park(claimed: ClaimedTry): Promise<boolean> {
    return options.postgres.transact((trx) => parkTry(trx, claimed, PARKED_MAX_MS));
  }

  /** The platform cannot make this try now: it counts as none, and Orders hears of it once. */
  async function holdUp(claimed: ClaimedTry, why: string): Promise<void> {
    logger.warn(`webhook ${claimed.messageId}, try ${claimed.attempt}, cannot be made now:`, why);
    await options.postgres.transact(async (trx) => {
      const held = await holdTry(trx, claimed, jittered(HELD_UP_MS, HELD_UP_JITTER), why);
      if (!held || claimed.error === why) return;
      if (claimed.urgency === "preparation" && claimed.attempt === 1) {
        await notify(trx, claimed, "held_up", why);
      }
    });
  }

  async function notify(
    trx: Knex.Transaction,
    { orderId, partnerId }: ClaimedTry,
    outcome: PartnerNotice["outcome"],
    detail?: string,
  ): Promise<void> {
    if (!orderId) return;
    const notice = { version: 1, orderId, partnerId, outcome, ...(detail && { detail }) };
    await options.outbox.add(trx, [message("partner.notified", orderId, notice)]);
  }

  async function raise(
    trx: Knex.Transaction,
    claimed: ClaimedTry,
    kind: "webhook.dead" | "webhook.disabled",
    detail: string,
  ): Promise<void> {
    const subject = claimed.orderId ?? claimed.partnerId;
    await options.outbox.add(trx, [alert(kind, detail, { subject })]);
  }

  return {
    saturated: places.problem,
    wakeAfter(trx) {
      trx.executionPromise.then(
        () => runner?.wake(),
        () => undefined,
      );
    },
    mixin: background({
      async start(service) {
        logger = service.logger;
        stopping = new AbortController();
        runner = startRunner({ name: "partner webhooks", sweepMs: limits.sweepMs, logger, run: claim });
      },
      async stop() {
        await runner?.stop();
        const patience = setTimeout(() => stopping.abort(), limits.drainMs);
        await Promise.all(underWay.keys());
        clearTimeout(patience);
        runner = undefined;
      },
    }),
  };
}

/**
 * Whether a try waits for an endpoint that is gone. The first try of an order to prepare does not: from it on the partner
 * has its time to accept, by hand. Nor does a test, which is how one finds out whether the endpoint is back.
 */
function isParked({ webhookGoneAt, urgency, attempt, remainingMs = 1, ageMs }: ClaimedTry): boolean {
  if (webhookGoneAt === undefined || urgency === "test" || remainingMs <= 0) return false;
  return urgency === "preparation" ? attempt > 1 : ageMs < PARKED_MAX_MS;
}
