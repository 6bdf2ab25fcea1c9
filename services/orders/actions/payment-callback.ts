import type { Params } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { intake } from "../store/payment-intake.ts";

/**
 * A bank's callback, from its very bytes to the commit. Nothing that is genuine is dropped: what fits no order is
 * kept and an operator is told.
 * @throws BAD_SIGNATURE, always the same, for what does not come from this bank; EVENT_MISMATCH for an event that
 *   came before with another body
 */
export async function receivePayment(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.receivePayment">>,
): Promise<Record<string, never>> {
  const { bankId, headers, body } = ctx.params;
  const bank = await deps.banks.find(deps.postgres.db, bankId);
  const verdict = bank?.connect().verify({ headers, body, now: deps.clock.now() });
  if (!verdict || verdict.kind === "refused") {
    ctx.broker.logger.info(`bank ${bankId}: a callback was refused:`, verdict?.reason ?? "no such bank");
    throw fail("BAD_SIGNATURE");
  }
  await intake(deps, bankId, body, verdict);
  return {};
}
