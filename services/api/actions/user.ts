import { call } from "../../../contracts/actions.ts";
import { typeOf } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { RoutableParams, RoutableResult } from "./contract.ts";

/** Errors of the caller. After any other error the part counts as unreachable. */
const CALLER_ERRORS = ["UNAUTHENTICATED", "SESSION_REVOKED", "FORBIDDEN"];
const LATEST_ORDERS = 10;

type Part = RoutableResult<"api.user">["unreachable"][number];

/** A user with what the other services know of it. Parts that cannot be read are named in `unreachable`. */
export async function user(ctx: Ctx<RoutableParams<"api.user">>): Promise<RoutableResult<"api.user">> {
  callerOf(ctx, "admin");
  const { userId } = ctx.params;
  const unreachable: Part[] = [];
  const part = async <T>(name: Part, reading: Promise<{ items: T[] }>): Promise<T[]> => {
    try {
      return (await reading).items;
    } catch (error) {
      if (CALLER_ERRORS.includes(typeOf(error) ?? "")) throw error;
      unreachable.push(name);
      return [];
    }
  };
  const [found, sessions, devices, orders] = await Promise.all([
    call(ctx, "identity.user", { userId }),
    part("sessions", call(ctx, "identity.userSessions", { userId })),
    part("devices", call(ctx, "notifications.devicesOf", { userId })),
    part("orders", call(ctx, "orders.list", { userId, limit: LATEST_ORDERS })),
  ]);
  return { ...found, sessions, devices, orders, unreachable };
}
