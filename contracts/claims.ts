import { derivedId, isId } from "../lib/ids.ts";
import { type Caller, type Role, roles } from "./meta.ts";

/**
 * Reads the caller out of the claims of a verified access token. The built-in provider states one `role`; Keycloak
 * lists the user's roles in `realm_access.roles`, among roles of its own. `partner_id` names the partner of a user with
 * the role `partner`; without it, a user of Keycloak acts in the next lower role.
 * @throws Error for claims that name no user, no session or no role of ours
 */
export function callerFrom(claims: Record<string, unknown>): Caller {
  const { sub, sid, partner_id: partnerId, partner_admin: partnerAdmin } = claims;
  if (!isId(sub) || typeof sid !== "string" || sid === "") throw new Error("no user or no session");
  const role = roleOf(claims);
  const caller: Caller = { id: sub, role, sessionId: sessionIdOf(sid) };
  if (role !== "partner") return Object.freeze(caller);
  if (!isId(partnerId)) throw new Error("staff of no partner");
  return Object.freeze({ ...caller, partnerId, partnerAdmin: partnerAdmin === true });
}

/**
 * Our id of the session that a provider calls `sid`. OpenID Connect defines `sid` as any text: Keycloak 26.5 and later
 * send 24 characters of base64. Every node derives the same id from it, and a UUID is the id itself.
 */
export function sessionIdOf(sid: string): string {
  return isId(sid) ? sid : derivedId("session", sid);
}

function roleOf({ role, realm_access: realm, partner_id: partnerId }: Record<string, unknown>): Role {
  if (role !== undefined) {
    if (roles.includes(role as Role)) return role as Role;
    throw new Error("no role of ours");
  }
  const listed = (realm as { roles?: unknown } | null | undefined)?.roles;
  const names: readonly unknown[] = Array.isArray(listed) ? listed : [];
  const found = roles.findLast((name) => names.includes(name) && (name !== "partner" || isId(partnerId)));
  if (!found) throw new Error("no role of ours");
  return found;
}
