import type { Params, Result } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Account } from "../../../contracts/identity.ts";
import type { Caller, Ctx } from "../../../contracts/meta.ts";
import { isId } from "../../../lib/ids.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { Grant } from "../../../providers/identity/index.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { addAudit, auditOf } from "../store/audit.repository.ts";
import {
  type ProfileRow,
  profileById,
  restoreProfile,
  setProfileGrant,
  suspendProfile,
} from "../store/profiles.repository.ts";
import { MATCHES_MAX, matchingUsers, type UserPlace, usersPage } from "../store/users.repository.ts";
import { withAddressDigestLock, withAddressLock } from "../use-cases/address-lock.ts";
import { accountView, userMessage } from "../use-cases/messages.ts";
import { describeGrant, grantFor } from "./invitations.ts";
import { endSession, endSessions } from "./sessions.ts";

const PAGE_SIZE = 20;
const AUDIT_ENTRIES = 20;

/** The users by pages, the newest account first. @throws VALIDATION_ERROR for an unknown cursor, TOO_MANY_MATCHES */
export async function listUsers(
  { postgres: { db } }: IdentityDependencies,
  { cursor, limit = PAGE_SIZE, q, ...filter }: Params<"identity.users">,
): Promise<Result<"identity.users">> {
  const after = cursor === undefined ? undefined : placeOf(cursor);
  const ids = q === undefined ? undefined : await matchingUsers(db, q);
  if (ids && ids.length > MATCHES_MAX)
    throw fail("TOO_MANY_MATCHES", `More than ${MATCHES_MAX} users match: write more of the name.`);
  const found = await usersPage(db, { ...filter, ids, after, limit: limit + 1 });
  const shown = found.slice(0, limit);
  const last = shown.at(-1);
  const items = shown.map(({ createdUs: _, ...row }) => accountView(row));
  const hasMore = found.length + (found.skipped ?? 0) > limit;
  return { items, ...(hasMore && last && { nextCursor: cursorOf(last) }) };
}

function cursorOf({ createdUs, id }: UserPlace): string {
  return Buffer.from(`${createdUs} ${id}`).toString("base64url");
}

function placeOf(cursor: string): UserPlace {
  const [createdUs = "", id = ""] = Buffer.from(cursor, "base64url").toString("utf8").split(" ");
  if (!/^\d{1,17}$/.test(createdUs) || !isId(id))
    throw invalidField("cursor", "cursor", "This cursor did not come from this list.");
  return { createdUs, id };
}

/** @throws NOT_FOUND */
export async function getUser(
  { postgres: { db } }: IdentityDependencies,
  userId: string,
): Promise<Result<"identity.user">> {
  const [profile, audit] = await Promise.all([profileById(db, userId), auditOf(db, userId, AUDIT_ENTRIES)]);
  if (!profile) throw fail("NOT_FOUND");
  return { user: accountView(profile), audit };
}

/** The live sessions of any user. */
export async function listUserSessions(
  { provider }: IdentityDependencies,
  caller: Caller,
  userId: string,
): Promise<Result<"identity.userSessions">> {
  const live = await provider.sessions(userId);
  return { items: live.map((session) => ({ ...session, current: session.id === caller.sessionId })) };
}

/**
 * Suspends a user: ends the sessions, and refuses sign-in and refresh. Orders releases the orders that a courier carries,
 * by the message. The sessions end after the commit, so that a sign-in at the same moment is refused or ended.
 * @throws NOT_FOUND, FORBIDDEN for the caller's own account
 */
export async function suspendUser(
  deps: IdentityDependencies,
  ctx: Ctx<Params<"identity.suspendUser">>,
  caller: Caller,
): Promise<Account> {
  const { userId, reason } = ctx.params;
  return changeUser(deps, caller, userId, async (present) => {
    const account = await idempotent(deps.postgres, ctx, "identity.suspendUser", async (trx) => {
      const suspended = await suspendProfile(trx, userId, reason);
      if (!suspended) return accountView((await profileById(trx, userId)) ?? present);
      await addAudit(trx, { ...entryOf(ctx, caller), action: "user.suspended", subject: userId });
      await deps.outbox.add(trx, [userMessage("user.updated", suspended)]);
      return accountView(suspended);
    });
    // A repeat of the request may come after the account was restored.
    if ((await profileById(deps.postgres.db, userId))?.suspendedAt) await endSessions(deps, ctx, userId);
    return account;
  });
}

/** @throws NOT_FOUND, FORBIDDEN for the caller's own account */
export async function restoreUser(
  deps: IdentityDependencies,
  ctx: Ctx<Params<"identity.restoreUser">>,
  caller: Caller,
): Promise<Account> {
  const { userId } = ctx.params;
  return changeUser(deps, caller, userId, (present) =>
    idempotent(deps.postgres, ctx, "identity.restoreUser", async (trx) => {
      const restored = await restoreProfile(trx, userId);
      if (!restored) return accountView((await profileById(trx, userId)) ?? present);
      await addAudit(trx, { ...entryOf(ctx, caller), action: "user.restored", subject: userId });
      await deps.outbox.add(trx, [userMessage("user.updated", restored)]);
      return accountView(restored);
    }),
  );
}

/**
 * Replaces the role of a user. The sessions end, because their tokens contain the former role.
 * @throws NOT_FOUND, FORBIDDEN for the caller's own account, VALIDATION_ERROR, EMAIL_NOT_CONFIRMED,
 *   PRECONDITION_FAILED when the account has another version than expected
 */
export async function setRole(
  deps: IdentityDependencies,
  ctx: Ctx<{ userId: string }>,
  caller: Caller,
  requested: Omit<Params<"identity.setRole">, "userId">,
): Promise<Account> {
  const grant = grantFor(caller, requested);
  const { userId } = ctx.params;
  return changeUser(deps, caller, userId, async (present) => {
    const { expectedVersion } = requested;
    if (expectedVersion !== undefined && expectedVersion !== present.version)
      throw fail("PRECONDITION_FAILED");
    if (!present.emailConfirmed)
      throw fail("EMAIL_NOT_CONFIRMED", "The user has not confirmed the address yet.");
    await deps.provider.setGrant(userId, grant);
    if (isSame(present, grant)) return accountView(present);
    await endSessions(deps, ctx, userId);
    return deps.postgres.transact(async (trx) => {
      const changed = await setProfileGrant(trx, userId, present, grant);
      if (!changed) throw fail("NOT_FOUND");
      const action = grant.role === "customer" ? "role.removed" : "role.granted";
      const detail = `${describeGrant(present)} to ${describeGrant(grant)}`;
      await addAudit(trx, { ...entryOf(ctx, caller), action, subject: userId, detail });
      await deps.outbox.add(trx, [userMessage("user.updated", changed)]);
      return accountView(changed);
    });
  });
}

/** Ends all sessions of a user, or one. @throws NOT_FOUND */
export async function endUserSessions(
  deps: IdentityDependencies,
  ctx: Ctx<{ userId: string; sessionId?: string }>,
  caller: Caller,
): Promise<void> {
  const { userId, sessionId } = ctx.params;
  if (!(await profileById(deps.postgres.db, userId))) throw fail("NOT_FOUND");
  if (sessionId === undefined) await endSessions(deps, ctx, userId);
  else await endSession(deps, ctx, userId, sessionId);
  await addAudit(deps.postgres.db, {
    ...entryOf(ctx, caller),
    action: sessionId === undefined ? "sessions.ended" : "session.ended",
    subject: userId,
    ...(sessionId !== undefined && { detail: sessionId }),
  });
}

/**
 * Changes the account of another user under the lock of its address. Changes of operators run one at a time, and the
 * caller must still be one: two operators cannot remove each other, so one is always left.
 */
async function changeUser<T>(
  deps: IdentityDependencies,
  caller: Caller,
  userId: string,
  work: (present: ProfileRow) => Promise<T>,
): Promise<T> {
  if (userId === caller.id) throw fail("FORBIDDEN", "Another operator has to change your account.");
  const found = await profileById(deps.postgres.db, userId);
  if (!found) throw fail("NOT_FOUND");
  const locked = () =>
    withAddressLock(deps, found.email, async () => {
      const [present, actor] = await Promise.all([
        profileById(deps.postgres.db, userId),
        profileById(deps.postgres.db, caller.id),
      ]);
      if (!present) throw fail("NOT_FOUND");
      if (actor?.role !== "admin" || actor.suspendedAt) throw fail("FORBIDDEN");
      return work(present);
    });
  return found.role === "admin" ? withAddressDigestLock(deps, deps.digest("operators"), locked) : locked();
}

function isSame(profile: ProfileRow, grant: Grant): boolean {
  return (
    profile.role === grant.role &&
    profile.partnerId === grant.partnerId &&
    profile.partnerAdmin === (grant.partnerAdmin ?? false)
  );
}

function entryOf(ctx: Ctx<unknown>, { id }: Caller) {
  return { actorId: id, ip: ctx.meta.clientIp };
}
