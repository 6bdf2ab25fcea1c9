import { fail, invalidField } from "../../../contracts/errors.ts";
import type { PartnerCallback } from "../../../contracts/partners.ts";
import { isoTime, momentOf } from "../../../lib/clock.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { partnerSays } from "../domain/order-partner.ts";
import { acting, inOrderTrace } from "../store/order-trace.ts";
import { insertCallback } from "../store/orders.repository.ts";
import { commit, load, retryOnConflict } from "../store/unit-of-work.ts";

/**
 * Commits what a partner's system said, together with its effect; Partners has found it genuine. A repeat has no
 * effect.
 * @throws NOT_FOUND for an order of another partner, EVENT_MISMATCH for an event that came before with another
 *   body, ILLEGAL_TRANSITION for what the order can no longer become
 */
export async function applyPartnerCallback(
  deps: OrdersDependencies,
  said: PartnerCallback,
): Promise<Record<string, never>> {
  const callback = withRealTime(said);
  const { partnerId, orderId } = callback;
  await retryOnConflict(deps, orderId, (locked) =>
    deps.postgres.transact(async (trx) => {
      const { order, nowMs, traceparent } = await load(trx, orderId, { role: "partner", partnerId }, locked);
      const seen = await insertCallback(trx, callback);
      if (seen === "mismatch") throw fail("EVENT_MISMATCH");
      if (seen === "known") return;
      await inOrderTrace(traceparent, callback.type, () => {
        const actor = acting("partner", `partner:${partnerId}`);
        return commit(deps, trx, order, partnerSays(order, callback, actor, nowMs));
      });
    }),
  );
  return {};
}

/** The schema knows the form of a time, but not whether it is a moment. */
function withRealTime(callback: PartnerCallback): PartnerCallback {
  const { readyAt, saidAt, ...rest } = callback;
  return omitUndefined({
    ...rest,
    readyAt: realTime("readyAt", readyAt),
    saidAt: realTime("saidAt", saidAt),
  });
}

function realTime(field: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const atMs = momentOf(text);
  if (atMs === undefined) throw invalidField(field, "time", "This is no moment in time.");
  return isoTime(atMs);
}
