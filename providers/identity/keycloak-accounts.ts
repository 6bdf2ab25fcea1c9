import type { KeycloakAnswer, KeycloakCalls } from "./keycloak-calls.ts";
import { type Grant, IdentityError } from "./port.ts";

/** The realm's groups, one for each role. A user without a group is a customer. See deploy/keycloak. */
const GROUPS = {
  deliverer: "deliverers",
  partner: "partners",
  support: "support",
  finance: "finance",
  admin: "admins",
} as const;
const OUR_GROUPS: readonly string[] = Object.values(GROUPS);
const MAX_GROUPS = 100;

/** The fields of Keycloak's UserRepresentation that we read. A PUT must contain all fields that were read. */
export interface KeycloakUser {
  id: string;
  username: string;
  email?: string;
  emailVerified?: boolean;
  firstName?: string;
  lastName?: string;
  attributes?: Record<string, string[]>;
  requiredActions?: string[];
}

const pathOf = (userId: string) => `/users/${encodeURIComponent(userId)}`;

export async function userById(calls: KeycloakCalls, userId: string): Promise<KeycloakUser | undefined> {
  const { status, body } = await calls.admin("GET", pathOf(userId));
  return status === 200 ? (body as KeycloakUser) : undefined;
}

export async function userByEmail(calls: KeycloakCalls, email: string): Promise<KeycloakUser | undefined> {
  const query = new URLSearchParams({ email, exact: "true", briefRepresentation: "true" });
  const { status, body } = await calls.admin("GET", `/users?${query}`);
  if (status !== 200) throw new IdentityError("unavailable");
  return (body as KeycloakUser[])[0];
}

/** @returns the id; undefined when Keycloak refuses, as for an address that is taken. @throws password_refused */
export async function createUser(
  calls: KeycloakCalls,
  {
    email,
    password,
    confirmed,
    grant,
  }: { email: string; password: string; confirmed: boolean; grant: Grant },
): Promise<string | undefined> {
  const group = groupOf(grant);
  const answer = await calls.admin("POST", "/users", {
    username: email,
    email,
    enabled: true,
    emailVerified: confirmed,
    credentials: [passwordOf(password)],
    attributes: attributesOf(grant),
    ...(group && { groups: [`/${group}`] }),
  });
  refuseBadPassword(answer);
  // 409 for an address that is taken, and 400 for one that was taken at the same moment.
  if (answer.status === 409 || answer.status === 400) return undefined;
  const id = answer.location?.split("/").at(-1);
  if (answer.status !== 201 || !id) throw new IdentityError("unavailable");
  return id;
}

/** Also replaces a temporary password. @throws unknown_user, password_refused */
export async function resetPassword(calls: KeycloakCalls, userId: string, password: string): Promise<void> {
  const answer = await calls.admin("PUT", `${pathOf(userId)}/reset-password`, passwordOf(password));
  refuseBadPassword(answer);
  expectDone(answer);
}

/**
 * Reads the account, changes it with `change` and writes it back whole, because Keycloak deletes attributes that a PUT
 * lacks. @throws unknown_user, email_taken
 */
export async function updateUser(
  calls: KeycloakCalls,
  userId: string,
  change: (user: KeycloakUser) => Partial<KeycloakUser>,
): Promise<void> {
  const user = await userById(calls, userId);
  if (!user) throw new IdentityError("unknown_user");
  const answer = await calls.admin("PUT", pathOf(userId), { ...user, ...change(user) });
  if (answer.status === 409) throw new IdentityError("email_taken");
  expectDone(answer);
}

/** Revokes rights before it grants others, so that a failure in between leaves fewer rights. @throws unknown_user */
export async function changeGrant(calls: KeycloakCalls, userId: string, grant: Grant): Promise<void> {
  const wanted = groupOf(grant);
  const { status, body } = await calls.admin("GET", `${pathOf(userId)}/groups?max=${MAX_GROUPS}`);
  if (status === 404) throw new IdentityError("unknown_user");
  const present = body as { id: string; name: string }[];
  for (const { id, name } of present) {
    if (OUR_GROUPS.includes(name) && name !== wanted) {
      expectDone(await calls.admin("DELETE", `${pathOf(userId)}/groups/${id}`));
    }
  }
  await updateUser(calls, userId, ({ attributes }) => {
    const { partner_id: _, partner_admin: __, ...others } = attributes ?? {};
    return { attributes: { ...others, ...attributesOf(grant) } };
  });
  if (wanted && !present.some(({ name }) => name === wanted)) {
    const answer = await calls.admin("PUT", `${pathOf(userId)}/groups/${await groupId(calls, wanted)}`);
    if (answer.status !== 409) expectDone(answer); // 409: another request has done it at the same moment
  }
}

export async function deleteUser(calls: KeycloakCalls, userId: string): Promise<void> {
  const answer = await calls.admin("DELETE", pathOf(userId));
  if (answer.status !== 404) expectDone(answer);
}

/** The ids of the sessions at Keycloak. */
export async function sessionIds(calls: KeycloakCalls, userId: string): Promise<string[]> {
  const { status, body } = await calls.admin("GET", `${pathOf(userId)}/sessions`);
  if (status === 404) return [];
  if (status !== 200) throw new IdentityError("unavailable");
  return (body as { id: string }[]).map(({ id }) => id);
}

export async function deleteSession(calls: KeycloakCalls, sessionId: string): Promise<void> {
  const answer = await calls.admin("DELETE", `/sessions/${encodeURIComponent(sessionId)}`);
  if (answer.status !== 404) expectDone(answer);
}

async function groupId(calls: KeycloakCalls, name: string): Promise<string> {
  const query = new URLSearchParams({ search: name, exact: "true" });
  const { body } = await calls.admin("GET", `/groups?${query}`);
  const found = (body as { id: string; name: string }[]).find((group) => group.name === name);
  if (!found) throw new Error(`the realm has no group ${name}: import deploy/keycloak/waybill-realm.json`);
  return found.id;
}

function groupOf({ role }: Grant): string | undefined {
  return role === "customer" ? undefined : GROUPS[role];
}

function attributesOf({ partnerId, partnerAdmin }: Grant): Record<string, string[]> {
  return partnerId ? { partner_id: [partnerId], partner_admin: [String(partnerAdmin ?? false)] } : {};
}

function passwordOf(value: string) {
  return { type: "password", value, temporary: false };
}

function refuseBadPassword({ status, body }: KeycloakAnswer): void {
  if (status !== 400) return;
  const { error = "", errorMessage = "" } = (body ?? {}) as { error?: string; errorMessage?: string };
  if (/password/i.test(`${error} ${errorMessage}`)) throw new IdentityError("password_refused");
}

function expectDone({ status }: KeycloakAnswer): void {
  if (status === 404) throw new IdentityError("unknown_user");
  if (status >= 300) throw new IdentityError("unavailable");
}
