import { invalidField } from "../../../contracts/errors.ts";
import type { OrderStatus } from "../../../contracts/orders.ts";
import type { PartnerNotice } from "../../../contracts/partner-notices.ts";
import type { PartnerCallback } from "../../../contracts/partners.ts";
import { CLOCK_TOLERANCE_MS, isoTime } from "../../../lib/clock.ts";
import { shortenLine } from "../../../lib/text.ts";
import { deadlineOf, decided, illegal, move, unchanged, unnotified } from "./order.ts";
import { orderAlert } from "./order-messages.ts";
import { type Actor, awaitsNotice, type Decision, type Order } from "./order-model.ts";

const MINUTE_MS = 60_000;
const PROMISE_MAX_MS = 24 * 60 * MINUTE_MS;
const REASON_MAX_LENGTH = 500;

const AFTER_ACCEPTANCE: readonly OrderStatus[] = ["preparing", "ready", "delivering", "delivered", "failed"];
const AFTER_PREPARATION: readonly OrderStatus[] = ["ready", "delivering", "delivered", "failed"];

/**
 * What a partner's system says of its order. Reports may come twice and in any order: one that the order has
 * already gone past has no effect.
 * @throws ILLEGAL_TRANSITION for what the order can no longer become, VALIDATION_ERROR for a promise beyond a day
 */
export function partnerSays(
  order: Order,
  says: Pick<PartnerCallback, "type" | "reason" | "readyAt" | "saidAt">,
  actor: Actor,
  nowMs: number,
): Decision {
  const { status } = order;
  switch (says.type) {
    case "order.accepted":
      if (AFTER_ACCEPTANCE.includes(status)) return unchanged(order);
      return accept(order, actor, nowMs, { readyAt: says.readyAt, saidAt: says.saidAt });
    case "order.delayed":
      // A partner that says when it will be ready has taken the order, whether it said so or not.
      if (status === "paid") {
        return accept(order, actor, nowMs, { readyAt: says.readyAt, saidAt: says.saidAt });
      }
      if (AFTER_PREPARATION.includes(status)) return unchanged(order);
      return delay(order, actor, nowMs, says);
    case "order.ready":
      if (AFTER_PREPARATION.includes(status)) return unchanged(order);
      return makeReady(order, actor, nowMs);
    case "order.rejected":
      if (status === "cancelled") return unchanged(order);
      return move(order, "reject", actor, nowMs, { reason: says.reason ?? "The partner cannot prepare it." });
  }
}

/** The partner takes the order. @param readyAt unless promised: after the partner's usual preparation time */
export function accept(
  order: Order,
  actor: Actor,
  nowMs: number,
  said: { readyAt?: string | undefined; saidAt?: string | undefined; reason?: string } = {},
): Decision {
  const usual = isoTime(nowMs + order.partner.preparationMinutes * MINUTE_MS);
  const { readyAt = usual, word } = promised(said.readyAt, nowMs);
  const readySaidAt = said.readyAt && saidAtOf(said.saidAt, nowMs);
  return move(order, "accept", actor, nowMs, { readyAt, readySaidAt, reason: joined(said.reason, word) });
}

export function makeReady(order: Order, actor: Actor, nowMs: number, reason?: string): Decision {
  return move(order, "makeReady", actor, nowMs, { readySince: isoTime(nowMs), reason });
}

/**
 * Applies the report of Partners on notifying the partner of a paid order. The time to accept begins now,
 * by the clock of the deadlines. After `held_up` it does not begin, and an operator is told the reason.
 */
export function noticeReported(
  order: Order,
  { outcome, detail = "no reason was given" }: Pick<PartnerNotice, "outcome" | "detail">,
  nowMs: number,
): Decision {
  if (!awaitsNotice(order)) return unchanged(order);
  const at = isoTime(nowMs);
  const {
    alertedAt,
    noticeProblem: _,
    ...reported
  } = { ...order, version: order.version + 1, updatedAt: at };
  if (outcome === "held_up") {
    const { alert: kind, againMs } = unnotified.acts;
    const next = {
      ...reported,
      noticeProblem: detail,
      alertedAt: alertedAt ?? at,
      deadlineAt: isoTime(nowMs + againMs),
    };
    return {
      next,
      messages: [orderAlert(kind, next, `The partner cannot be notified: ${detail}.`)],
      refunds: [],
    };
  }
  const notified = { ...reported, partnerNotifiedAt: at };
  const deadlineAt = deadlineOf(notified, nowMs);
  return { next: deadlineAt ? { ...notified, deadlineAt } : notified, messages: [], refunds: [] };
}

function delay(
  order: Order,
  actor: Actor,
  nowMs: number,
  said: Pick<PartnerCallback, "readyAt" | "saidAt" | "reason">,
): Decision {
  if (order.status !== "preparing") throw illegal(order);
  const { readyAt, word } = promised(said.readyAt, nowMs);
  if (!readyAt) throw invalidField("readyAt", "required", "Say when the order will be ready.");
  const readySaidAt = saidAtOf(said.saidAt, nowMs);
  // The partner has promised something else since: this report was on its way for longer.
  if (order.readySaidAt && readySaidAt < order.readySaidAt) return unchanged(order);
  if (readyAt === order.readyAt) return unchanged(order);
  const { alertedAt: _, ...waiting } = order;
  const at = isoTime(nowMs);
  const delayed = { ...waiting, readyAt, readySaidAt, version: order.version + 1, updatedAt: at };
  const deadlineAt = deadlineOf(delayed, nowMs);
  const next = deadlineAt ? { ...delayed, deadlineAt } : delayed;
  return decided(order, next, "order.delayed", actor, { reason: joined(said.reason, word) });
}

/** The promised time; one that is past counts as now, since a report may have been on its way for long. */
function promised(readyAt: string | undefined, nowMs: number): { readyAt?: string; word?: string } {
  if (!readyAt) return {};
  const atMs = Date.parse(readyAt);
  // The schema knows the form of a time, not that there is no 31 February.
  if (!(atMs - nowMs <= PROMISE_MAX_MS))
    throw invalidField("readyAt", "max", "Not a time within a day from now.");
  if (atMs >= nowMs) return { readyAt: isoTime(atMs) };
  const word = "The promised time was past and counts as now.";
  return { readyAt: isoTime(nowMs), ...(atMs + CLOCK_TOLERANCE_MS < nowMs && { word }) };
}

/** When the partner said it: no later than now, so that a clock that is ahead silences nothing that follows. */
function saidAtOf(saidAt: string | undefined, nowMs: number): string {
  return isoTime(Math.min(nowMs, saidAt === undefined ? nowMs : Date.parse(saidAt)));
}

function joined(reason: string | undefined, word: string | undefined): string | undefined {
  if (reason === undefined || word === undefined) return reason ?? word;
  return `${shortenLine(reason, REASON_MAX_LENGTH - word.length - 1)} ${word}`;
}
