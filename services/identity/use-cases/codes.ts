import { randomInt, timingSafeEqual } from "node:crypto";
import { fail } from "../../../contracts/errors.ts";
import type { Db } from "../../../lib/sql/database.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import {
  type CodeKey,
  type NewCode,
  renewableCode,
  renewCode,
  saveCode,
  tryCode,
  useCode,
} from "../store/codes.repository.ts";
import { limitedCodeTry, resetCodeTries } from "./limits.ts";

const LIFE_SECONDS = 900;
const MAX_TRIES = 5;
const DIGITS = 6;

/** The same error for every reason, so that it does not reveal which addresses have an account. */
export function invalidCode(): Error {
  return fail("CODE_INVALID", "Only the newest mail's code counts, for a few tries: have a new one sent.");
}

/** Makes a new code and stores its digest. @returns the values for the mail */
export async function issueCode(
  { digest }: Pick<IdentityDependencies, "digest">,
  trx: Db,
  key: CodeKey,
  registration?: NewCode["registration"],
): Promise<CodeValues> {
  const subject = subjectOf(key);
  const { code, values } = newCode();
  const codeHash = digest(key.purpose, subject, code);
  await saveCode(trx, { ...key, subject, codeHash, lifeSeconds: LIFE_SECONDS, registration });
  return values;
}

/** Replaces the code that the requester may renew. @returns undefined when there is none, after the same work */
export async function reissueCode(
  { digest }: Pick<IdentityDependencies, "digest">,
  trx: Db,
  key: CodeKey,
): Promise<CodeValues | undefined> {
  const found = await renewableCode(trx, key);
  const subject = found ?? subjectOf(key);
  const { code, values } = newCode();
  const codeHash = digest(key.purpose, subject, code);
  await renewCode(trx, { purpose: key.purpose, subject, codeHash, lifeSeconds: LIFE_SECONDS });
  return found === undefined ? undefined : values;
}

/** Unique per address and requester. */
export function subjectOf({ address, requester }: CodeKey): string {
  return `${address}.${requester}`;
}

export interface CheckedCode {
  /** Uses the code up in the transaction of the work it allows. @throws CODE_INVALID when it was used meanwhile */
  useUp: (trx: Db) => Promise<void>;
  subject: string;
  registrationSealed?: string | undefined;
}

/**
 * Checks a code without using it up. The try is counted and committed first: five per code for its requester, and the
 * limits per address in limits.ts.
 * @throws CODE_INVALID for a wrong or expired code or when its tries are used up, TOO_MANY_REQUESTS
 */
export async function checkCode(
  deps: IdentityDependencies,
  key: CodeKey,
  ip: string | undefined,
  code: string,
): Promise<CheckedCode> {
  const { db } = deps.postgres;
  const found = await limitedCodeTry(deps, key, ip, () => tryCode(db, key, MAX_TRIES));
  if (!found) throw invalidCode();
  const { subject, codeHash, registrationSealed } = found;
  const given = Buffer.from(deps.digest(key.purpose, subject, code));
  if (!timingSafeEqual(given, Buffer.from(codeHash))) throw invalidCode();
  await resetCodeTries(db, key);
  return {
    subject,
    registrationSealed,
    async useUp(trx) {
      if (!(await useCode(trx, key.purpose, subject, codeHash))) throw invalidCode();
    },
  };
}

interface CodeValues extends Record<string, string> {
  code: string;
  minutes: string;
}

function newCode(): { code: string; values: CodeValues } {
  const code = String(randomInt(10 ** DIGITS)).padStart(DIGITS, "0");
  return { code, values: { code, minutes: String(LIFE_SECONDS / 60) } };
}
