import type { Params, Result } from "../../../contracts/actions.ts";
import { DecryptionError, decrypt, encrypt } from "../../../lib/encryption.ts";
import { newId } from "../../../lib/ids.ts";
import type { Db, Transaction } from "../../../lib/sql/database.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { refuseCommonPassword } from "../domain/password-policy.ts";
import { checkBirthDate, DEFAULT_LANGUAGE } from "../domain/profile-fields.ts";
import { type CodeKey, deleteCode } from "../store/codes.repository.ts";
import { confirmProfile, profileByEmail, saveNewProfile } from "../store/profiles.repository.ts";
import { withAddressLock } from "../use-cases/address-lock.ts";
import {
  type CheckedCode,
  checkCode,
  invalidCode,
  issueCode,
  reissueCode,
  subjectOf,
} from "../use-cases/codes.ts";
import { consumeMailLimit, requesterOf } from "../use-cases/limits.ts";
import { mailMessage, userMessage } from "../use-cases/messages.ts";
import { sendUniformly } from "../use-cases/send-uniformly.ts";
import { registerAccount } from "../workers/erasure.ts";

/** How long a registration waits for its code. After that the user registers again. */
const REGISTRATION_RETENTION_SECONDS = 86_400;
const CUSTOMER = { role: "customer" } as const;

type Registration = Params<"identity.register">;

/**
 * Creates a customer, who can sign in after the code is confirmed. For an address with an account the answer is the same
 * after the same work, and its owner gets a mail. An unconfirmed address is not proved by any requester, so each
 * requester's registration has a code of its own, which confirms only this registration.
 * @throws PASSWORD_TOO_COMMON, VALIDATION_ERROR, TOO_MANY_REQUESTS after too many mails to the address, OVERLOADED
 */
export async function register(
  deps: IdentityDependencies,
  params: Registration,
  ip: string | undefined,
): Promise<Result<"identity.register">> {
  const { email, password, firstName, lastName, birthDate } = params;
  checkBirthDate(birthDate, deps.clock.now());
  await refuseCommonPassword(password, [email, firstName, lastName]);
  await consumeMailLimit(deps, email, ip);
  return withAddressLock(deps, email, () => createCustomer(deps, params, codeOf(deps, email, ip)));
}

/** First deletes the requester's earlier code, which belongs to an earlier registration of the same requester. */
async function createCustomer(
  deps: IdentityDependencies,
  registration: Registration,
  key: CodeKey,
): Promise<Result<"identity.register">> {
  const { email, password, language = DEFAULT_LANGUAGE } = registration;
  const subject = subjectOf(key);
  await deleteCode(deps.postgres.db, key.purpose, subject);
  const account = await registerAccount(deps, { email, password, confirmed: false, grant: CUSTOMER });
  const encrypted = encrypt(JSON.stringify(registration), deps.encryptionKeys, aadOf(subject));
  const isNew = await deps.postgres.transact(async (trx) => {
    const values = await issueCode(deps, trx, key, {
      encrypted,
      retentionSeconds: REGISTRATION_RETENTION_SECONDS,
    });
    const saved = account.taken ? undefined : await saveCustomer(trx, account.userId, registration);
    const owner = saved ?? (await profileByEmail(trx, email));
    const about = { email, language: owner?.language ?? language, ...(owner && { userId: owner.id }) };
    const mailRequest = saved
      ? mailMessage(deps, { ...about, template: "confirm-email", values })
      : mailMessage(deps, { ...about, template: "account-exists" });
    await deps.outbox.add(trx, [mailRequest]);
    return saved !== undefined;
  });
  return { userId: isNew ? account.userId : newId(), email };
}

/**
 * Confirms a registration by its code: the customer can sign in, and the other services get `user.registered`. The code
 * belongs to one registration, whose password and profile are used even if others registered the address since. The
 * code is used up first. If the work is interrupted after the provider's part, a new code or the first sign-in completes
 * it.
 * @throws CODE_INVALID, also for a `password` that is not the registration's; TOO_MANY_REQUESTS, OVERLOADED
 */
export async function confirm(
  deps: IdentityDependencies,
  { email, code, password }: Params<"identity.confirm">,
  ip: string | undefined,
): Promise<void> {
  const checked = await checkCode(deps, codeOf(deps, email, ip), ip, code);
  const registration = registrationOf(deps, checked);
  const profile = await profileByEmail(deps.postgres.db, email);
  if (!profile || !registration) throw invalidCode();
  if (password !== undefined && password !== registration.password) throw invalidCode();
  await withAddressLock(deps, email, async () => {
    await deps.postgres.transact(checked.useUp);
    const grant = CUSTOMER;
    const account = await registerAccount(deps, {
      email,
      password: registration.password,
      confirmed: false,
      grant,
    });
    if (account.taken) return; // the address was confirmed meanwhile: nothing changes
    const saved = await saveCustomer(deps.postgres.db, account.userId, registration);
    if (!saved) throw invalidCode();
    await deps.provider.markConfirmed(account.userId);
    await deps.postgres.transact(async (trx) => {
      await publishConfirmed(deps, trx, account.userId);
      await deleteCode(trx, "confirm-email", checked.subject);
    });
  });
}

function saveCustomer(db: Db, id: string, registration: Registration) {
  const { password: _, language = DEFAULT_LANGUAGE, ...person } = registration;
  return saveNewProfile(db, { ...person, id, language, emailConfirmed: false, grant: CUSTOMER });
}

/** @returns undefined when the secret that encrypted the registration is lost */
function registrationOf(
  { encryptionKeys }: IdentityDependencies,
  { subject, registrationSealed }: CheckedCode,
): Registration | undefined {
  if (registrationSealed === undefined) return undefined;
  try {
    return JSON.parse(decrypt(registrationSealed, encryptionKeys, aadOf(subject))) as Registration;
  } catch (error) {
    if (error instanceof DecryptionError) return undefined;
    throw error;
  }
}

const aadOf = (subject: string) => `registrations/${subject}`;

function codeOf(deps: IdentityDependencies, email: string, ip: string | undefined): CodeKey {
  return { purpose: "confirm-email", address: deps.digest(email), requester: requesterOf(deps, ip) };
}

/** Marks the address as confirmed and publishes the customer. Does nothing when it is confirmed already. */
export async function publishConfirmed(
  { outbox }: IdentityDependencies,
  trx: Transaction,
  userId: string,
): Promise<void> {
  const confirmed = await confirmProfile(trx, userId);
  if (confirmed) await outbox.add(trx, [userMessage("user.registered", confirmed, confirmed.pushToken)]);
}

/**
 * Sends a new code for the requester's registration. The answer is the same for every address. The live code of another
 * requester stays valid. @throws TOO_MANY_REQUESTS, OVERLOADED
 */
export async function resendCode(
  deps: IdentityDependencies,
  { email }: Params<"identity.resendCode">,
  ip: string | undefined,
): Promise<void> {
  await consumeMailLimit(deps, email, ip);
  const resend = async (trx: Transaction) => {
    const profile = await profileByEmail(trx, email);
    const values = await reissueCode(deps, trx, codeOf(deps, email, ip));
    const receiver = profile?.emailConfirmed || !values ? undefined : profile;
    await sendUniformly(deps, trx, receiver, { template: "confirm-email", email, values: values ?? {} });
  };
  await withAddressLock(deps, email, () => deps.postgres.transact(resend));
}
