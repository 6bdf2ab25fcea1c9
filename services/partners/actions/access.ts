import { fail } from "../../../contracts/errors.ts";
import type { Caller, Ctx } from "../../../contracts/meta.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";

/**
 * The caller, who must be an operator or staff of this very partner.
 * @throws UNAUTHENTICATED, FORBIDDEN with another role, NOT_FOUND for staff of another partner
 */
export function managerOf(ctx: Ctx<{ partnerId: string }>): Caller {
  const caller = callerOf(ctx, "admin", "partner");
  if (!manages(caller, ctx.params.partnerId)) throw noSuchPartner();
  return caller;
}

/**
 * The caller, who must be an operator or an admin of this very partner: for its name, its money and the keys of its
 * system.
 * @throws UNAUTHENTICATED, FORBIDDEN also for its other staff, NOT_FOUND for staff of another partner
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
