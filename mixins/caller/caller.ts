import { fail } from "../../contracts/errors.ts";
import type { Caller, Ctx, Role } from "../../contracts/meta.ts";

/**
 * The caller, from the token that this service has verified.
 * @param roles the permitted roles. Default: every role.
 * @throws UNAUTHENTICATED without a valid token, FORBIDDEN with another role
 */
export function callerOf(ctx: Ctx<unknown>, ...roles: Role[]): Caller {
  const caller = ctx.locals?.caller;
  if (!caller) throw fail("UNAUTHENTICATED");
  if (roles.length > 0 && !roles.includes(caller.role)) throw fail("FORBIDDEN");
  return caller;
}
