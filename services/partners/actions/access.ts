import { fail } from "../../../contracts/errors.ts";
import type { Caller, Ctx } from "../../../contracts/meta.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";

/**
 * Returns the caller, who must be an operator or staff of this partner.
 * @throws UNAUTHENTICATED, FORBIDDEN with another role, NOT_FOUND for staff of another partner
 */
export function managerOf(ctx: Ctx<{ partnerId: string }>): Caller {
  const caller = callerOf(ctx, "admin", "partner");
  if (!manages(caller, ctx.params.partnerId)) throw noSuchPartner();
  return caller;
}

/**
 * Returns the caller, who must be an operator or an admin of this partner. Required for changes of its name, its money
 * and its webhook secrets.
 * @throws UNAUTHENTICATED, FORBIDDEN also for other staff of this partner, NOT_FOUND for staff of another partner
 */
export function adminOf(ctx: Ctx<{ partnerId: string }>): Caller {
  const caller = managerOf(ctx);
  if (caller.role !== "admin" && !caller.partnerAdmin) throw onlyItsAdmin();
  return caller;
}

export function onlyItsAdmin(): Error {
  return fail("FORBIDDEN", "Only an admin of the partner may do this.");
}

export function manages(caller: Caller, partnerId: string): boolean {
  return caller.role === "admin" || (caller.role === "partner" && caller.partnerId === partnerId);
}

export function noSuchPartner(): Error {
  return fail("NOT_FOUND", "There is no such partner.");
}
