import type { Context } from "moleculer";
import type { Params } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Caller } from "../../../contracts/meta.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { refuseCommonPassword } from "../domain/password-policy.ts";
import { addAudit } from "../store/audit.repository.ts";
import type { CodeKey } from "../store/codes.repository.ts";
import { resetAllowances } from "../store/limits.repository.ts";
import { type ProfileRow, profileByEmail } from "../store/profiles.repository.ts";
import { checkCode, invalidCode, issueCode } from "../use-cases/codes.ts";
import { consumeMailLimit, limitedPasswordTry, PASSWORD_TRIES, requesterOf } from "../use-cases/limits.ts";
import { mailMessage } from "../use-cases/messages.ts";
import { ownProfile } from "../use-cases/own-profile.ts";
import { sendUniformly } from "../use-cases/send-uniformly.ts";
import { endSessions } from "./sessions.ts";

/** Sends a code to an address with an account. The answer is the same for every address. @throws TOO_MANY_REQUESTS */
export async function forgotPassword(
  deps: IdentityDependencies,
  { email }: Params<"identity.forgotPassword">,
  ip: string | undefined,
): Promise<void> {
  await consumeMailLimit(deps, email, ip);
  await deps.postgres.transact(async (trx) => {
    const profile = await profileByEmail(trx, email);
    const values = await issueCode(deps, trx, codeOf(deps, email, ip));
    const owner = profile?.emailConfirmed ? profile : undefined;
    await sendUniformly(deps, trx, owner, { template: "reset-password", email, values });
  });
}

/**
 * Sets a new password by the code and ends every session. The code is used up first, so that two concurrent requests
 * cannot both set a password.
 * @throws CODE_INVALID, PASSWORD_TOO_COMMON, TOO_MANY_REQUESTS
 */
export async function resetPassword(
  deps: IdentityDependencies,
  ctx: Context,
  { email, code, password }: Params<"identity.resetPassword">,
): Promise<void> {
  await refuseCommonPassword(password, [email]);
  const { clientIp: ip } = ctx.meta as { clientIp?: string };
  const { useUp } = await checkCode(deps, codeOf(deps, email, ip), ip, code);
  const profile = await profileByEmail(deps.postgres.db, email);
  if (!profile?.emailConfirmed) throw invalidCode();
  await deps.postgres.transact(useUp);
  await deps.provider.setPassword(profile.id, password);
  await endSessions(deps, ctx, profile.id);
  await resetAllowances(deps.postgres.db, PASSWORD_TRIES.scope, deps.digest(email));
  await notifyPasswordChanged(deps, profile, { action: "password.reset", subject: profile.id });
}

function codeOf(deps: IdentityDependencies, email: string, ip: string | undefined): CodeKey {
  return { purpose: "reset-password", address: deps.digest(email), requester: requesterOf(deps, ip) };
}

/** Sets a new password and ends every other session. @throws INVALID_CREDENTIALS, PASSWORD_TOO_COMMON */
export async function changePassword(
  deps: IdentityDependencies,
  ctx: Context,
  caller: Caller,
  { currentPassword, newPassword }: Params<"identity.changePassword">,
): Promise<void> {
  const profile = await ownProfile(deps, caller.id);
  await refuseCommonPassword(newPassword, [profile.email, profile.firstName, profile.lastName]);
  await requirePassword(deps, profile, currentPassword, ctx.meta as { clientIp?: string });
  await deps.provider.setPassword(caller.id, newPassword);
  await endSessions(deps, ctx, caller.id, caller.sessionId);
  await notifyPasswordChanged(deps, profile, {
    actorId: caller.id,
    action: "password.changed",
    subject: caller.id,
  });
}

/** @throws INVALID_CREDENTIALS for a wrong password, TOO_MANY_REQUESTS after too many of them */
export async function requirePassword(
  deps: IdentityDependencies,
  { id, email }: ProfileRow,
  password: string,
  { clientIp }: { clientIp?: string },
): Promise<void> {
  const right = await limitedPasswordTry(deps, { email, ip: clientIp }, () =>
    deps.provider.checkPassword(id, password),
  );
  if (!right) throw fail("INVALID_CREDENTIALS", "The password is wrong.");
}

async function notifyPasswordChanged(
  deps: IdentityDependencies,
  { id: userId, email, language }: ProfileRow,
  entry: { actorId?: string; action: string; subject: string },
): Promise<void> {
  await deps.postgres.transact(async (trx) => {
    await addAudit(trx, entry);
    await deps.outbox.add(trx, [
      mailMessage(deps, { template: "password-changed", email, language, userId }),
    ]);
  });
}
