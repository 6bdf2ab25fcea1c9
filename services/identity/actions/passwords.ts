import type { Context } from "moleculer";
import type { Params } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Caller } from "../../../contracts/meta.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { refuseCommonPassword } from "../domain/password-policy.ts";
import { addAudit } from "../store/audit.repository.ts";
import type { CodeOf } from "../store/codes.repository.ts";
import { checkCode, invalidCode, issueCode } from "../store/codes.ts";
import { forgetUses } from "../store/limits.repository.ts";
import { limitedPasswordTry, PASSWORD_TRIES, requesterOf, takeMail } from "../store/limits.ts";
import { mail } from "../store/messages.ts";
import { ownProfile } from "../store/people.ts";
import { type ProfileRow, profileByEmail } from "../store/profiles.repository.ts";
import { sendUniformly } from "../store/send-uniformly.ts";
import { endSessions } from "./sessions.ts";

/** Sends a code to an address with an account; answers the same for every other. @throws TOO_MANY_REQUESTS */
export async function forgotPassword(
  parts: IdentityDependencies,
  { email }: Params<"identity.forgotPassword">,
  ip: string | undefined,
): Promise<void> {
  await takeMail(parts, email, ip);
  await parts.postgres.transact(async (trx) => {
    const profile = await profileByEmail(trx, email);
    const values = await issueCode(parts, trx, codeOf(parts, email, ip));
    const owner = profile?.emailConfirmed ? profile : undefined;
    await sendUniformly(parts, trx, owner, { template: "reset-password", email, values });
  });
}

/**
 * Sets a new password by the code and ends every session. The code is used up first: two who hold it cannot
 * both set a password.
 * @throws CODE_INVALID, PASSWORD_TOO_COMMON, TOO_MANY_REQUESTS
 */
export async function resetPassword(
  parts: IdentityDependencies,
  ctx: Context,
  { email, code, password }: Params<"identity.resetPassword">,
): Promise<void> {
  refuseCommonPassword(password, [email]);
  const { clientIp: ip } = ctx.meta as { clientIp?: string };
  const { useUp } = await checkCode(parts, codeOf(parts, email, ip), ip, code);
  const profile = await profileByEmail(parts.postgres.db, email);
  if (!profile?.emailConfirmed) throw invalidCode();
  await parts.postgres.transact(useUp);
  await parts.provider.setPassword(profile.id, password);
  await endSessions(parts, ctx, profile.id);
  await forgetUses(parts.postgres.db, PASSWORD_TRIES.scope, parts.digest(email));
  await tellOfChange(parts, profile, { action: "password.reset", subject: profile.id });
}

function codeOf(parts: IdentityDependencies, email: string, ip: string | undefined): CodeOf {
  return { purpose: "reset-password", address: parts.digest(email), requester: requesterOf(parts, ip) };
}

/** Sets a new password and ends every other session. @throws INVALID_CREDENTIALS, PASSWORD_TOO_COMMON */
export async function changePassword(
  parts: IdentityDependencies,
  ctx: Context,
  caller: Caller,
  { currentPassword, newPassword }: Params<"identity.changePassword">,
): Promise<void> {
  const profile = await ownProfile(parts, caller.id);
  refuseCommonPassword(newPassword, [profile.email, profile.firstName, profile.lastName]);
  await requirePassword(parts, profile, currentPassword, ctx.meta as { clientIp?: string });
  await parts.provider.setPassword(caller.id, newPassword);
  await endSessions(parts, ctx, caller.id, caller.sessionId);
  await tellOfChange(parts, profile, { actorId: caller.id, action: "password.changed", subject: caller.id });
}

/** @throws INVALID_CREDENTIALS for a wrong password, TOO_MANY_REQUESTS after too many of them */
export async function requirePassword(
  parts: IdentityDependencies,
  { id, email }: ProfileRow,
  password: string,
  { clientIp }: { clientIp?: string },
): Promise<void> {
  const right = await limitedPasswordTry(parts, { email, ip: clientIp }, () =>
    parts.provider.checkPassword(id, password),
  );
  if (!right) throw fail("INVALID_CREDENTIALS", "The password is wrong.");
}

async function tellOfChange(
  parts: IdentityDependencies,
  { id: userId, email, language }: ProfileRow,
  entry: { actorId?: string; action: string; subject: string },
): Promise<void> {
  await parts.postgres.transact(async (trx) => {
    await addAudit(trx, entry);
    await parts.out.add(trx, [mail(parts, { template: "password-changed", email, language, userId })]);
  });
}
