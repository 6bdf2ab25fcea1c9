import { invalidField } from "../../../contracts/errors.ts";
import type { OrderStatus, Rejection, RejectionReason } from "../../../contracts/orders.ts";
import type { PartnerNotice } from "../../../contracts/partner-notices.ts";
import type { PartnerCallback } from "../../../contracts/partners.ts";
import { CLOCK_TOLERANCE_MS, isoTime } from "../../../lib/clock.ts";
import { shortenLine } from "../../../lib/text.ts";
import { deadlineOf, illegal, move, recordTransition, unchanged, unnotified } from "./order.ts";
import { orderAlert } from "./order-messages.ts";
import { type Actor, awaitsNotice, type Decision, type Order } from "./order-model.ts";

const MINUTE_MS = 60_000;
const PROMISE_MAX_MS = 24 * 60 * MINUTE_MS;
const REASON_MAX_LENGTH = 500;

const AFTER_ACCEPTANCE: readonly OrderStatus[] = ["preparing", "ready", "delivering", "delivered", "failed"];
const AFTER_PREPARATION: readonly OrderStatus[] = ["ready", "delivering", "delivered", "failed"];

const REJECTED_TEXT = "The partner cannot prepare it.";
/** The reasons of a rejection in the order's history. Notifications have texts of their own in each language. */
const REJECTION_TEXTS: Record<RejectionReason, string> = {
  out_of_stock: "Out of stock",
  too_busy: "Too many orders",
  closing: "Closing time",
  wish_not_possible: "The wish in the note is not possible",
  other: "",
};

/** A report of the partner's system, or a command of its staff or an operator. */
export type PartnerReport = Pick<PartnerCallback, "type" | "reason" | "readyAt" | "saidAt"> & {
  /** Of a rejection by hand. */
  rejection?: Rejection;
};

/**
 * Applies a report of the partner's system or a command by hand. Both may repeat and arrive in any order: a report of an
 * earlier state has no effect.
 * @throws ILLEGAL_TRANSITION if the order's state does not allow it, VALIDATION_ERROR for a promise beyond 24 hours and
 *   for a rejected product that is not in the order
 */
export function applyPartnerReport(
  order: Order,
  report: PartnerReport,
  actor: Actor,
  nowMs: number,
): Decision {
  const { status } = order;
  switch (report.type) {
    case "order.accepted":
      if (AFTER_ACCEPTANCE.includes(status)) return unchanged(order);
      return accept(order, actor, nowMs, { readyAt: report.readyAt, saidAt: report.saidAt });
    case "order.delayed":
      // A promised time implies that the partner has accepted the order.
      if (status === "paid") {
        return accept(order, actor, nowMs, { readyAt: report.readyAt, saidAt: report.saidAt });
      }
      if (AFTER_PREPARATION.includes(status)) return unchanged(order);
      return delay(order, actor, nowMs, report);
    case "order.ready":
      if (AFTER_PREPARATION.includes(status)) return unchanged(order);
      return makeReady(order, actor, nowMs);
    case "order.rejected":
      if (status === "cancelled" && isKnownRejection(order, report.rejection)) return unchanged(order);
      return reject(order, report, actor, nowMs);
  }
}

function reject(
  order: Order,
  { reason = REJECTED_TEXT, rejection }: Pick<PartnerReport, "reason" | "rejection">,
  actor: Actor,
  nowMs: number,
): Decision {
  if (!rejection) return move(order, "reject", actor, nowMs, { reason });
  return move(order, "reject", actor, nowMs, { reason: rejectionText(order, rejection), rejection });
}

/** Whether the rejection of a cancelled order would change nothing. Products that are out of stock must not be lost. */
function isKnownRejection(order: Order, rejection: Rejection | undefined): boolean {
  return (rejection?.outOfStock ?? []).every((id) => order.rejection?.outOfStock.includes(id));
}

/** The rejection as one line, as "Out of stock: Bread, Butter. We are sorry." */
function rejectionText(order: Order, { reason, text, outOfStock }: Rejection): string {
  const titles = outOfStock.map((productId, index) => {
    const line = order.lines.find((one) => one.productId === productId);
    if (!line) throw invalidField(`outOfStock[${index}]`, "line", "The order has no line with this product.");
    return line.title;
  });
  const cause = [REJECTION_TEXTS[reason], titles.join(", ")].filter(Boolean).join(": ");
  const sentences = [cause && `${cause}.`, text].filter(Boolean).join(" ");
  return shortenLine(sentences || REJECTED_TEXT, REASON_MAX_LENGTH);
}

/** The partner accepts the order. Default of `readyAt`: after the partner's usual preparation time. */
export function accept(
  order: Order,
  actor: Actor,
  nowMs: number,
  report: { readyAt?: string | undefined; saidAt?: string | undefined; reason?: string } = {},
): Decision {
  const usual = isoTime(nowMs + order.partner.preparationMinutes * MINUTE_MS);
  const { readyAt = usual, remark } = promisedTime(report.readyAt, nowMs);
  const readySaidAt = report.readyAt && saidAtOf(report.saidAt, nowMs);
  return move(order, "accept", actor, nowMs, {
    ...{ readyAt, readySaidAt },
    reason: withRemark(report.reason, remark),
  });
}

export function makeReady(order: Order, actor: Actor, nowMs: number, reason?: string): Decision {
  return move(order, "makeReady", actor, nowMs, { readySince: isoTime(nowMs), reason });
}

/**
 * Applies the report of Partners on the notice to the partner of a paid order. The time to accept begins now. After
 * `held_up` it does not begin, and an operator is alerted.
 */
export function applyNotice(
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
    const { alert: kind, againMs } = unnotified.action;
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
  report: Pick<PartnerCallback, "readyAt" | "saidAt" | "reason">,
): Decision {
  if (order.status !== "preparing") throw illegal(order);
  const { readyAt, remark } = promisedTime(report.readyAt, nowMs);
  if (!readyAt) throw invalidField("readyAt", "required", "Say when the order will be ready.");
  const readySaidAt = saidAtOf(report.saidAt, nowMs);
  // A later promise was received already.
  if (order.readySaidAt && readySaidAt < order.readySaidAt) return unchanged(order);
  if (readyAt === order.readyAt) return unchanged(order);
  const { alertedAt: _, ...waiting } = order;
  const at = isoTime(nowMs);
  const delayed = { ...waiting, readyAt, readySaidAt, version: order.version + 1, updatedAt: at };
  const deadlineAt = deadlineOf(delayed, nowMs);
  const next = deadlineAt ? { ...delayed, deadlineAt } : delayed;
  return recordTransition(order, next, "order.delayed", actor, { reason: withRemark(report.reason, remark) });
}

/** Parses the promised time. A past time counts as now, because the report may be late. */
function promisedTime(readyAt: string | undefined, nowMs: number): { readyAt?: string; remark?: string } {
  if (!readyAt) return {};
  const atMs = Date.parse(readyAt);
  // The schema checks the format only: for 31 February, atMs is NaN.
  if (!(atMs - nowMs <= PROMISE_MAX_MS))
    throw invalidField("readyAt", "max", "Not a time within a day from now.");
  if (atMs >= nowMs) return { readyAt: isoTime(atMs) };
  const remark = "The promised time was past and counts as now.";
  return { readyAt: isoTime(nowMs), ...(atMs + CLOCK_TOLERANCE_MS < nowMs && { remark }) };
}

/** The time of the report, at most now: otherwise a clock that is ahead would invalidate later reports. */
function saidAtOf(saidAt: string | undefined, nowMs: number): string {
  return isoTime(Math.min(nowMs, saidAt === undefined ? nowMs : Date.parse(saidAt)));
}

function withRemark(reason: string | undefined, remark: string | undefined): string | undefined {
  if (reason === undefined || remark === undefined) return reason ?? remark;
  return `${shortenLine(reason, REASON_MAX_LENGTH - remark.length - 1)} ${remark}`;
}
