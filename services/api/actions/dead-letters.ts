import { type ActionName, call, type Result } from "../../../contracts/actions.ts";
import { typeOf } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { type QueueOwner, queueOwners } from "../../../contracts/operations.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { RoutableParams, RoutableResult } from "./contract.ts";

const DEFAULT_LIMIT = 50;
/** Refusals of the caller; whatever else goes wrong is the service's own trouble. */
const REFUSALS = ["UNAUTHENTICATED", "SESSION_REVOKED", "FORBIDDEN", "VALIDATION_ERROR"];

/** Those of all services, the newest first. A service that does not answer is named, and hides no other's. */
export async function deadLetters(
  ctx: Ctx<RoutableParams<"api.deadLetters">>,
): Promise<RoutableResult<"api.deadLetters">> {
  callerOf(ctx, "admin");
  const { limit = DEFAULT_LIMIT } = ctx.params;
  const unreachable: QueueOwner[] = [];
  let failure: unknown;
  const lists = await Promise.all(
    queueOwners.map(async (service): Promise<Result<"orders.deadLetters">["items"]> => {
      try {
        const { items } = await call(ctx, `${service}.deadLetters`, { limit });
        return items.map((item) => ({ ...item, id: `${service}:${item.id}` }));
      } catch (error) {
        if (REFUSALS.includes(typeOf(error) ?? "")) throw error;
        unreachable.push(service);
        failure = error;
        return [];
      }
    }),
  );
  if (unreachable.length === queueOwners.length) throw failure;
  const items = lists.flat().sort((a, b) => (a.at < b.at ? 1 : -1));
  return { items: items.slice(0, limit), unreachable };
}

/** Asks the service that holds the dead letter. @throws NOT_FOUND */
export async function onDeadLetter(
  ctx: Ctx<{ deadLetterId: string }>,
  what: "replayDeadLetter" | "dropDeadLetter",
): Promise<Record<string, never>> {
  callerOf(ctx, "admin");
  const [service, id] = ctx.params.deadLetterId.split(":") as [QueueOwner, string];
  await call(ctx, `${service}.${what}` satisfies ActionName, { id });
  return {};
}

/** Asks the service whose dead letters they are. */
export async function dropDeadLetters(
  ctx: Ctx<RoutableParams<"api.dropDeadLetters">>,
): Promise<RoutableResult<"api.dropDeadLetters">> {
  callerOf(ctx, "admin");
  const { service, ...drop } = ctx.params;
  return await call(ctx, `${service}.dropDeadLetters`, drop);
}
