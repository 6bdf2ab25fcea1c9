import { type ActionName, call, type Result } from "../../../contracts/actions.ts";
import { typeOf } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { type QueueOwner, queueOwners } from "../../../contracts/operations.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { RoutableParams, RoutableResult } from "./contract.ts";

const DEFAULT_LIMIT = 50;
/** Errors of the caller. After any other error the service counts as unreachable. */
const CALLER_ERRORS = ["UNAUTHENTICATED", "SESSION_REVOKED", "FORBIDDEN", "VALIDATION_ERROR"];

/** Lists the dead letters of all services, newest first. Services that do not answer are named in `unreachable`. */
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
        if (CALLER_ERRORS.includes(typeOf(error) ?? "")) throw error;
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

/** @throws NOT_FOUND */
export function replayDeadLetter(ctx: Ctx<RoutableParams<"api.replayDeadLetter">>): Promise<Empty> {
  return callOwner(ctx, "replayDeadLetter");
}

/** @throws NOT_FOUND */
export function dropDeadLetter(ctx: Ctx<RoutableParams<"api.dropDeadLetter">>): Promise<Empty> {
  return callOwner(ctx, "dropDeadLetter");
}

type Empty = Record<string, never>;

/** Calls the service that the id of the dead letter names. */
async function callOwner(
  ctx: Ctx<{ deadLetterId: string }>,
  actionName: "replayDeadLetter" | "dropDeadLetter",
): Promise<Empty> {
  callerOf(ctx, "admin");
  const [service, id] = ctx.params.deadLetterId.split(":") as [QueueOwner, string];
  await call(ctx, `${service}.${actionName}` satisfies ActionName, { id });
  return {};
}

/** Replays the dead letters of one service that match a filter. */
export async function replayDeadLetters(
  ctx: Ctx<RoutableParams<"api.replayDeadLetters">>,
): Promise<RoutableResult<"api.replayDeadLetters">> {
  callerOf(ctx, "admin");
  const { service, ...replay } = ctx.params;
  return await call(ctx, `${service}.replayDeadLetters`, replay);
}

/** Drops the dead letters of one service that match a filter. */
export async function dropDeadLetters(
  ctx: Ctx<RoutableParams<"api.dropDeadLetters">>,
): Promise<RoutableResult<"api.dropDeadLetters">> {
  callerOf(ctx, "admin");
  const { service, ...drop } = ctx.params;
  return await call(ctx, `${service}.dropDeadLetters`, drop);
}
