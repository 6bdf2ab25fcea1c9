import { fail } from "../../contracts/errors.ts";
import type { Caller, Ctx, Role } from "../../contracts/meta.ts";

/**
 * Who calls, as proved by the token that this very service verified.
 * @param roles those that may do it; none given: whoever is signed in
 * @throws UNAUTHENTICATED without a valid token, FORBIDDEN with another role
 */
export function callerOf(ctx: Ctx<unknown>, ...roles: Role[]): Caller {
  const caller = ctx.locals?.caller;
  if (!caller) throw fail("UNAUTHENTICATED");
  if (roles.length > 0 && !roles.includes(caller.role)) throw fail("FORBIDDEN");
  return caller;
}
