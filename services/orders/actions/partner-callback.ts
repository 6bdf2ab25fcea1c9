import { fail, invalidField } from "../../../contracts/errors.ts";
import type { PartnerCallback } from "../../../contracts/partners.ts";
import { isoTime, momentOf } from "../../../lib/clock.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { applyPartnerReport } from "../domain/order-partner.ts";
import { insertCallback } from "../store/orders.repository.ts";
import { loadOrder, retryOnConflict, saveDecision } from "../store/unit-of-work.ts";
import { actorInTrace, inOrderTrace } from "../use-cases/order-trace.ts";

/**
 * Commits a partner's callback together with its effect; Partners has verified it. A repeat has no effect.
 * @throws NOT_FOUND for an order of another partner, EVENT_MISMATCH for a known event id with another body,
 *   ILLEGAL_TRANSITION if the order's state does not allow it
 */
export async function applyPartnerCallback(
  deps: OrdersDependencies,
  received: PartnerCallback,
): Promise<Record<string, never>> {
  const callback = withNormalizedTimes(received);
  const { partnerId, orderId } = callback;
  await retryOnConflict(deps, orderId, () =>
    deps.postgres.transact(async (trx) => {
      const inserted = await insertCallback(trx, callback);
      // Before the insert's result is looked at, so that an order of another partner is NOT_FOUND.
      const viewer = { role: "partner" as const, partnerId };
      const { order, nowMs, traceparent } = await loadOrder(trx, orderId, viewer);
      if (inserted === "mismatch") throw fail("EVENT_MISMATCH");
      if (inserted === "known") return;
      await inOrderTrace(traceparent, callback.type, () => {
        const actor = actorInTrace("partner", `partner:${partnerId}`);
        return saveDecision(deps, trx, order, applyPartnerReport(order, callback, actor, nowMs));
      });
    }),
  );
  return {};
}

/** The schema checks the format of a time only: 31 February would pass. @throws VALIDATION_ERROR */
function withNormalizedTimes(callback: PartnerCallback): PartnerCallback {
  const { readyAt, saidAt, ...rest } = callback;
  return omitUndefined({
    ...rest,
    readyAt: normalizedTime("readyAt", readyAt),
    saidAt: normalizedTime("saidAt", saidAt),
  });
}

/** @throws VALIDATION_ERROR for a time that does not exist */
export function normalizedTime(field: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const atMs = momentOf(text);
  if (atMs === undefined) throw invalidField(field, "time", "This is no moment in time.");
  return isoTime(atMs);
}
