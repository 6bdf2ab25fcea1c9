import { fail } from "../../contracts/errors.ts";
import type { PartnerCallback } from "../../contracts/partners.ts";
import { commit, load, untilWon } from "./change.ts";
import type { OrdersDeps } from "./deps.ts";
import { partnerSays } from "./order-partner.ts";
import { insertCallback } from "./orders.repository.ts";
import { acting, linkTo } from "./trace.ts";

/**
 * Commits what a partner's system said, together with its effect; Partners has found it genuine. A repeat has no
 * effect.
 * @throws NOT_FOUND for an order of another partner, EVENT_MISMATCH for an event that came before with another
 *   body, ILLEGAL_TRANSITION for what the order can no longer become
 */
export async function applyPartnerCallback(
  deps: OrdersDeps,
  callback: PartnerCallback,
): Promise<Record<string, never>> {
  const { partnerId, orderId } = callback;
  const actor = acting("partner", `partner:${partnerId}`);
  await untilWon((locked) =>
    deps.postgres.transact(async (trx) => {
      const { order, nowMs, traceparent } = await load(trx, orderId, { role: "partner", partnerId }, locked);
      const seen = await insertCallback(trx, callback);
      if (seen === "mismatch") throw fail("EVENT_MISMATCH");
      if (seen === "known") return;
      linkTo(traceparent);
      await commit(deps, trx, order, partnerSays(order, callback, actor, nowMs));
    }),
  );
  return {};
}
