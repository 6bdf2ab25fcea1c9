import type { Params } from "../../../contracts/actions.ts";
import { invalidField } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import type { OrderView } from "../../../contracts/orders.ts";
import { isoTime } from "../../../lib/clock.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { applyPartnerReport, type PartnerReport } from "../domain/order-partner.ts";
import { changeOrder } from "../store/unit-of-work.ts";
import { actorOf, viewerOf } from "./access.ts";
import { normalizedTime } from "./partner-callback.ts";
import { answerFor, viewOf } from "./views.ts";

const MINUTE_MS = 60_000;

/*
 * Commands of partner staff and operators. They make the moves of the partner's signed callbacks: a repeat has no effect,
 * and of a command and a callback that come at the same time the first one wins.
 */

/** @throws VALIDATION_ERROR, ILLEGAL_TRANSITION, NOT_FOUND for an order of another partner */
export async function acceptOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.accept">>,
): Promise<OrderView> {
  callerOf(ctx, "partner", "admin");
  refuseTwoTimes(ctx.params);
  return report(deps, ctx, "orders.accept", (nowMs) => ({
    type: "order.accepted",
    ...promiseOf(ctx.params, nowMs),
  }));
}

/** Promises another time. An order that is only paid is accepted with it. @throws as `acceptOrder` */
export async function delayOrder(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.delay">>,
): Promise<OrderView> {
  callerOf(ctx, "partner", "admin");
  const { readyInMinutes, readyAt, reason } = ctx.params;
  refuseTwoTimes(ctx.params);
  if (readyInMinutes === undefined && readyAt === undefined) {
    throw invalidField("readyInMinutes", "either", "Say when the order will be ready.");
  }
  return report(deps, ctx, "orders.delay", (nowMs) =>
    omitUndefined({ type: "order.delayed" as const, ...promiseOf(ctx.params, nowMs), reason }),
  );
}

/** @throws ILLEGAL_TRANSITION, NOT_FOUND for an order of another partner */
export function makeOrderReady(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.makeReady">>,
): Promise<OrderView> {
  return report(deps, ctx, "orders.makeReady", () => ({ type: "order.ready" }));
}

/**
 * Ends the order and refunds the customer. Partners sets the stock of the named products to 0.
 * @throws VALIDATION_ERROR for a product that is not in the order, ILLEGAL_TRANSITION, NOT_FOUND
 */
export function rejectOrder(deps: OrdersDependencies, ctx: Ctx<Params<"orders.reject">>): Promise<OrderView> {
  const { reason, text, outOfStock = [] } = ctx.params;
  const rejection = omitUndefined({ reason, text, outOfStock: [...new Set(outOfStock)] });
  return report(deps, ctx, "orders.reject", () => ({ type: "order.rejected", rejection }));
}

async function report(
  deps: OrdersDependencies,
  ctx: Ctx<{ orderId: string }>,
  scope: string,
  reportAt: (nowMs: number) => PartnerReport,
): Promise<OrderView> {
  const caller = callerOf(ctx, "partner", "admin");
  const actor = actorOf(caller);
  const view = await changeOrder(
    deps,
    ctx,
    scope,
    viewerOf(caller),
    ({ order, nowMs }) => applyPartnerReport(order, reportAt(nowMs), actor, nowMs),
    viewOf,
  );
  return answerFor(deps, ctx, caller, view);
}

type ReadyTime = Pick<Params<"orders.accept">, "readyInMinutes" | "readyAt">;

function refuseTwoTimes({ readyInMinutes, readyAt }: ReadyTime): void {
  if (readyInMinutes === undefined || readyAt === undefined) return;
  throw invalidField("readyAt", "exclusive", "Give minutes or a time, not both.");
}

function promiseOf({ readyInMinutes, readyAt }: ReadyTime, nowMs: number): { readyAt?: string } {
  if (readyInMinutes !== undefined) return { readyAt: isoTime(nowMs + readyInMinutes * MINUTE_MS) };
  return omitUndefined({ readyAt: normalizedTime("readyAt", readyAt) });
}
