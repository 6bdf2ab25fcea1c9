import type { Params } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { recordBankEvent } from "../use-cases/bank-events.ts";

/**
 * Verifies a bank's raw callback and commits it with its effect. Every verified callback is stored; an event without a
 * matching order raises an alert.
 * @throws BAD_SIGNATURE for a callback that is not from this bank, EVENT_MISMATCH for a known event id with another body
 */
export async function receivePayment(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.receivePayment">>,
): Promise<Record<string, never>> {
  const { bankId, headers, body } = ctx.params;
  const callback = { headers, body, now: deps.clock.now() };
  const bank = await deps.banks.find(bankId);
  let verdict = bank?.connect().verify(callback);
  if (bank && verdict?.kind === "refused") {
    // Its secret may have been changed a moment ago, in another process.
    const newest = await deps.banks.find(bankId, bank.version);
    if (newest && newest.version !== bank.version) verdict = newest.connect().verify(callback);
  }
  if (!verdict || verdict.kind === "refused") {
    ctx.broker.logger.info(`bank ${bankId}: refused a callback:`, verdict?.reason ?? "no such bank");
    throw fail("BAD_SIGNATURE");
  }
  await recordBankEvent(deps, bankId, body, verdict);
  return {};
}
