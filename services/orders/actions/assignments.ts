import { call, type Params, type Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import { type Ctx, isOperator } from "../../../contracts/meta.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { audit } from "../../../mixins/outbox/audit.ts";
import { partOfRequestTimeout } from "../../../mixins/retry-deadline/request-timeout.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { findAssignment, saveAssignment } from "../store/offers.repository.ts";

const LOOKUP_TIMEOUT_MS = 500;

type Deps = Pick<OrdersDependencies, "postgres" | "offersOrders" | "outbox">;

/** How the ready orders of a partner find a courier. @throws NOT_FOUND for staff of another partner */
export async function getAssignment(
  deps: Pick<Deps, "postgres" | "offersOrders">,
  ctx: Ctx<Params<"orders.assignment">>,
): Promise<Result<"orders.assignment">> {
  const { role, partnerId: own } = callerOf(ctx);
  const { partnerId } = ctx.params;
  if (!isOperator(role) && (role !== "partner" || own !== partnerId)) throw fail("NOT_FOUND");
  return viewOf(deps, partnerId);
}

/** Orders that are ready already follow the new setting too. @throws NOT_FOUND for an unknown partner */
export async function setAssignment(
  deps: Deps,
  ctx: Ctx<Params<"orders.setAssignment">>,
): Promise<Result<"orders.setAssignment">> {
  callerOf(ctx, "admin");
  const { partnerId, assignment } = ctx.params;
  const timeout = partOfRequestTimeout(ctx.broker, LOOKUP_TIMEOUT_MS);
  await call(ctx, "partners.get", { partnerId }, { timeout });
  await deps.postgres.transact(async (trx) => {
    await audit(deps.outbox, trx, ctx, partnerId, `assignment: ${assignment ?? "as the platform"}`);
    await saveAssignment(trx, partnerId, assignment);
  });
  return viewOf(deps, partnerId);
}

async function viewOf(
  { postgres, offersOrders }: Pick<Deps, "postgres" | "offersOrders">,
  partnerId: string,
): Promise<Result<"orders.assignment">> {
  const own = await findAssignment(postgres.db, partnerId);
  return { partnerId, assignment: own ?? (offersOrders ? "offer" : "pool"), isDefault: own === undefined };
}
