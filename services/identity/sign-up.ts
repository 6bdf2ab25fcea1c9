import type { Knex } from "knex";
import type { Params, Result } from "../../contracts/actions.ts";
import { newId } from "../../lib/ids.ts";
import { dropCode } from "./codes.repository.ts";
import { checkCode, invalidCode, issueCode } from "./codes.ts";
import { registerAccount } from "./erasure.ts";
import { sendOrPretend } from "./letters.ts";
import { MAILS, takeOne } from "./limits.ts";
import { mail, userMessage } from "./messages.ts";
import type { Parts } from "./parts.ts";
import { refuseCommonPassword } from "./password-policy.ts";
import { checkBirthDate, DEFAULT_LANGUAGE } from "./people.ts";
import { confirmProfile, profileByEmail, saveNewProfile } from "./profiles.repository.ts";
import { inTurn } from "./turns.ts";

/**
 * Makes a customer who cannot sign in before the code has come back. An address that has an account already is
 * answered in the same way after the same work; its owner is told by mail. Nobody proved an address before it
 * is confirmed, so until then the newest registration counts and earlier codes are worth nothing.
 * @throws PASSWORD_TOO_COMMON, VALIDATION_ERROR, TOO_MANY_REQUESTS after too many mails to the address, OVERLOADED
 */
export async function register(
  parts: Parts,
  params: Params<"identity.register">,
): Promise<Result<"identity.register">> {
  const { email, password, firstName, lastName, birthDate } = params;
  checkBirthDate(parts, birthDate);
  refuseCommonPassword(password, [email, firstName, lastName]);
  await takeOne(parts.postgres.db, MAILS, parts.digest(email));
  return inTurn(parts, email, () => makeCustomer(parts, params));
}

/**
 * The live code goes before the provider takes the new password: it was asked for by another registration, and must
 * confirm this one's password at no moment, also not when the rest never happens.
 */
async function makeCustomer(
  parts: Parts,
  { email, password, pushToken, language = DEFAULT_LANGUAGE, ...person }: Params<"identity.register">,
): Promise<Result<"identity.register">> {
  const grant = { role: "customer" } as const;
  await dropCode(parts.postgres.db, "confirm-email", parts.digest(email));
  const account = await registerAccount(parts, { email, password, confirmed: false, grant });
  const isNew = await parts.postgres.transact(async (trx) => {
    const values = await issueCode(parts, trx, "confirm-email", parts.digest(email));
    const saved = account.taken
      ? undefined
      : await saveNewProfile(trx, {
          ...person,
          id: account.userId,
          email,
          emailConfirmed: false,
          language,
          grant,
          pushToken,
        });
    const owner = saved ?? (await profileByEmail(trx, email));
    const about = { email, language: owner?.language ?? language, ...(owner && { userId: owner.id }) };
    const letter = saved
      ? mail(parts, { ...about, template: "confirm-email", values })
      : mail(parts, { ...about, template: "account-exists" });
    await parts.out.add(trx, [letter]);
    return saved !== undefined;
  });
  return { userId: isNew ? account.userId : newId(), email };
}

/**
 * Takes the code back: from now on the customer can sign in, and the others learn of them. The code is used up
 * first: one that a newer registration has replaced confirms nothing. What breaks off after the provider's part is
 * ended by a new code, or by the first sign-in.
 * @throws CODE_INVALID, TOO_MANY_REQUESTS, OVERLOADED
 */
export async function confirm(
  parts: Parts,
  { email, code }: Params<"identity.confirm">,
  ip: string | undefined,
): Promise<void> {
  const whose = { purpose: "confirm-email", subject: parts.digest(email), ip } as const;
  const useUp = await checkCode(parts, whose, code);
  const profile = await profileByEmail(parts.postgres.db, email);
  if (!profile) throw invalidCode();
  await inTurn(parts, email, async () => {
    await parts.postgres.transact(useUp);
    await parts.provider.markConfirmed(profile.id);
    await parts.postgres.transact((trx) => tellOfConfirmed(parts, trx, profile.id));
  });
}

/** Writes that the address is proved and lets the others learn of the customer; nothing where it stands already. */
export async function tellOfConfirmed({ out }: Parts, trx: Knex.Transaction, userId: string): Promise<void> {
  const confirmed = await confirmProfile(trx, userId);
  if (confirmed) await out.add(trx, [userMessage("user.registered", confirmed, confirmed.pushToken)]);
}

/** Sends a new code to an address that waits for one; answers the same for every other. @throws TOO_MANY_REQUESTS, OVERLOADED */
export async function resendCode(parts: Parts, { email }: Params<"identity.resendCode">): Promise<void> {
  await takeOne(parts.postgres.db, MAILS, parts.digest(email));
  const resend = async (trx: Knex.Transaction) => {
    const profile = await profileByEmail(trx, email);
    const values = await issueCode(parts, trx, "confirm-email", parts.digest(email));
    const waiting = profile?.emailConfirmed ? undefined : profile;
    await sendOrPretend(parts, trx, waiting, { template: "confirm-email", email, values });
  };
  await inTurn(parts, email, () => parts.postgres.transact(resend));
}
