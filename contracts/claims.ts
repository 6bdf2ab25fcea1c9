import { isId } from "../lib/ids.ts";
import type { Caller, Role } from "./meta.ts";

/** From the least to the most: whoever has several roles acts in the last of them. */
const ROLES: readonly Role[] = ["customer", "deliverer", "partner", "admin"];

/**
 * Who a verified access token says that its bearer is. The built-in provider states one `role`; Keycloak lists
 * what a user has in `realm_access.roles`, among roles of its own. Staff are staff of the partner that
 * `partner_id` names; whoever has the role without a partner acts in the next lower one.
 * @throws Error for claims that name no user, no session or no role of ours
 */
export function callerFrom(claims: Record<string, unknown>): Caller {
  const { sub, sid, partner_id: partnerId, partner_admin: partnerAdmin } = claims;
  if (!isId(sub) || !isId(sid)) throw new Error("no user or no session");
  const role = roleOf(claims);
  const caller: Caller = { id: sub, role, sessionId: sid };
  if (role !== "partner") return Object.freeze(caller);
  if (!isId(partnerId)) throw new Error("staff of no partner");
  return Object.freeze({ ...caller, partnerId, partnerAdmin: partnerAdmin === true });
}

function roleOf({ role, realm_access: realm, partner_id: partnerId }: Record<string, unknown>): Role {
  if (role !== undefined) {
    if (ROLES.includes(role as Role)) return role as Role;
    throw new Error("no role of ours");
  }
  const listed = (realm as { roles?: unknown } | null | undefined)?.roles;
  const names: readonly unknown[] = Array.isArray(listed) ? listed : [];
  const found = ROLES.findLast((name) => names.includes(name) && (name !== "partner" || isId(partnerId)));
  if (!found) throw new Error("no role of ours");
  return found;
}
