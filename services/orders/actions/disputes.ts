import type { Params, Result } from "../../../contracts/actions.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { type DisputeRow, disputesBefore } from "../store/disputes.repository.ts";
import { beforeOf, pageOf } from "./pages.ts";

export async function listDisputes(
  { postgres }: OrdersDependencies,
  ctx: Ctx<Params<"orders.listDisputes">>,
): Promise<Result<"orders.listDisputes">> {
  callerOf(ctx, "finance", "admin");
  const { cursor, limit } = ctx.params;
  return pageOf(
    (rowLimit) => disputesBefore(postgres.db, { before: beforeOf(cursor), limit: rowLimit }),
    limit,
    disputeView,
  );
}

export function disputeView({ amountMinor, currency, ...dispute }: DisputeRow) {
  return { ...dispute, amount: { amountMinor, currency } };
}
