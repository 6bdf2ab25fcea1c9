import type { Knex } from "knex";
import type { Params, Result } from "../../../contracts/actions.ts";
import { DecryptionError, decrypt, encrypt } from "../../../lib/encryption.ts";
import { newId } from "../../../lib/ids.ts";
import type { Db } from "../../../lib/sql/database.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { refuseCommonPassword } from "../domain/password-policy.ts";
import { withAddressLock } from "../store/address-lock.ts";
import { type CodeOf, dropCode } from "../store/codes.repository.ts";
import {
  type CheckedCode,
  checkCode,
  invalidCode,
  issueCode,
  reissueCode,
  subjectOf,
} from "../store/codes.ts";
import { requesterOf, takeMail } from "../store/limits.ts";
import { mail, userMessage } from "../store/messages.ts";
import { checkBirthDate, DEFAULT_LANGUAGE } from "../store/people.ts";
import { confirmProfile, profileByEmail, saveNewProfile } from "../store/profiles.repository.ts";
import { sendUniformly } from "../store/send-uniformly.ts";
import { registerAccount } from "../workers/erasure.ts";

/** A registration waits for its code for so long; after that one registers again. */
const REGISTRATION_KEPT_SECONDS = 86_400;
const CUSTOMER = { role: "customer" } as const;

type Registration = Params<"identity.register">;

/**
 * Makes a customer who cannot sign in before the code has come back. An address that has an account already is
 * answered in the same way after the same work; its owner is told by mail. Nobody proved an address before it
 * is confirmed: each requester's registration waits for its own code, and the code confirms that one alone.
 * @throws PASSWORD_TOO_COMMON, VALIDATION_ERROR, TOO_MANY_REQUESTS after too many mails to the address, OVERLOADED
 */
export async function register(
  parts: IdentityDependencies,
  params: Registration,
  ip: string | undefined,
): Promise<Result<"identity.register">> {
  const { email, password, firstName, lastName, birthDate } = params;
  checkBirthDate(parts, birthDate);
  refuseCommonPassword(password, [email, firstName, lastName]);
  await takeMail(parts, email, ip);
  return withAddressLock(parts, email, () => makeCustomer(parts, params, codeOf(parts, email, ip)));
}

/** The requester's own earlier code goes first: it was asked for by another registration of the same requester. */
async function makeCustomer(
  parts: IdentityDependencies,
  registration: Registration,
  of: CodeOf,
): Promise<Result<"identity.register">> {
  const { email, password, language = DEFAULT_LANGUAGE } = registration;
  const subject = subjectOf(of);
  await dropCode(parts.postgres.db, of.purpose, subject);
  const account = await registerAccount(parts, { email, password, confirmed: false, grant: CUSTOMER });
  const sealed = encrypt(JSON.stringify(registration), parts.seals, placeOf(subject));
  const isNew = await parts.postgres.transact(async (trx) => {
    const values = await issueCode(parts, trx, of, { sealed, keptSeconds: REGISTRATION_KEPT_SECONDS });
    const saved = account.taken ? undefined : await saveCustomer(trx, account.userId, registration);
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
 * Takes the code back: from now on the customer can sign in, and the others learn of them. The code belongs to one
 * registration, whose password and profile count, whatever was registered for the address since. The code is used up
 * first. What breaks off after the provider's part is ended by a new code, or by the first sign-in.
 * @throws CODE_INVALID, also for a `password` that is not the registration's; TOO_MANY_REQUESTS, OVERLOADED
 */
export async function confirm(
  parts: IdentityDependencies,
  { email, code, password }: Params<"identity.confirm">,
  ip: string | undefined,
): Promise<void> {
  const checked = await checkCode(parts, codeOf(parts, email, ip), ip, code);
  const registration = registrationOf(parts, checked);
  const profile = await profileByEmail(parts.postgres.db, email);
  if (!profile || !registration) throw invalidCode();
  if (password !== undefined && password !== registration.password) throw invalidCode();
  await withAddressLock(parts, email, async () => {
    await parts.postgres.transact(checked.useUp);
    const grant = CUSTOMER;
    const account = await registerAccount(parts, {
      email,
      password: registration.password,
      confirmed: false,
      grant,
    });
    if (account.taken) return; // somebody proved the address meanwhile: nothing changes
    const saved = await saveCustomer(parts.postgres.db, account.userId, registration);
    if (!saved) throw invalidCode();
    await parts.provider.markConfirmed(account.userId);
    await parts.postgres.transact(async (trx) => {
      await tellOfConfirmed(parts, trx, account.userId);
      await dropCode(trx, "confirm-email", checked.subject);
    });
  });
}

function saveCustomer(db: Db, id: string, registration: Registration) {
  const { password: _, language = DEFAULT_LANGUAGE, ...person } = registration;
  return saveNewProfile(db, { ...person, id, language, emailConfirmed: false, grant: CUSTOMER });
}

/** Undefined for one that was sealed by a secret that is gone. */
function registrationOf(
  { seals }: IdentityDependencies,
  { subject, registrationSealed }: CheckedCode,
): Registration | undefined {
  if (registrationSealed === undefined) return undefined;
  try {
    return JSON.parse(decrypt(registrationSealed, seals, placeOf(subject))) as Registration;
  } catch (error) {
    if (error instanceof DecryptionError) return undefined;
    throw error;
  }
}

const placeOf = (subject: string) => `registrations/${subject}`;

function codeOf(parts: IdentityDependencies, email: string, ip: string | undefined): CodeOf {
  return { purpose: "confirm-email", address: parts.digest(email), requester: requesterOf(parts, ip) };
}

/** Writes that the address is proved and lets the others learn of the customer; nothing where it stands already. */
export async function tellOfConfirmed(
  { out }: IdentityDependencies,
  trx: Knex.Transaction,
  userId: string,
): Promise<void> {
  const confirmed = await confirmProfile(trx, userId);
  if (confirmed) await out.add(trx, [userMessage("user.registered", confirmed, confirmed.pushToken)]);
}

/**
 * Sends a new code for the requester's registration; answers the same for every other address. The live code of another
 * requester stays. @throws TOO_MANY_REQUESTS, OVERLOADED
 */
export async function resendCode(
  parts: IdentityDependencies,
  { email }: Params<"identity.resendCode">,
  ip: string | undefined,
): Promise<void> {
  await takeMail(parts, email, ip);
  const resend = async (trx: Knex.Transaction) => {
    const profile = await profileByEmail(trx, email);
    const values = await reissueCode(parts, trx, codeOf(parts, email, ip));
    const waiting = profile?.emailConfirmed || !values ? undefined : profile;
    await sendUniformly(parts, trx, waiting, { template: "confirm-email", email, values: values ?? {} });
  };
  await withAddressLock(parts, email, () => parts.postgres.transact(resend));
}
