import { randomInt, timingSafeEqual } from "node:crypto";
import { fail } from "../../../contracts/errors.ts";
import type { Db } from "../../../lib/sql/database.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import {
  type CodeOf,
  type NewCode,
  renewableCode,
  renewCode,
  saveCode,
  tryCode,
  useCode,
} from "./codes.repository.ts";
import { forgetCodeTries, limitedCodeTry } from "./limits.ts";

const LIFE_SECONDS = 900;
const MAX_TRIES = 5;
const DIGITS = 6;

/** One answer for every reason, so that it tells nobody which addresses there are. */
export function invalidCode(): Error {
  return fail("CODE_INVALID", "Only the newest mail's code counts, for a few tries: have a new one sent.");
}

/** A new code, whose values go into the mail; only its digest is kept. */
export async function issueCode(
  { digest }: Pick<IdentityDependencies, "digest">,
  trx: Db,
  of: CodeOf,
  registration?: NewCode["registration"],
): Promise<CodeValues> {
  const subject = subjectOf(of);
  const { code, values } = newCode();
  const codeHash = digest(of.purpose, subject, code);
  await saveCode(trx, { ...of, subject, codeHash, lifeSeconds: LIFE_SECONDS, registration });
  return values;
}

/** Another code in the place of one that the requester may have sent anew. @returns undefined where there is none */
export async function reissueCode(
  { digest }: Pick<IdentityDependencies, "digest">,
  trx: Db,
  of: CodeOf,
): Promise<CodeValues | undefined> {
  const found = await renewableCode(trx, of);
  const subject = found ?? subjectOf(of);
  const { code, values } = newCode();
  const codeHash = digest(of.purpose, subject, code);
  await renewCode(trx, { purpose: of.purpose, subject, codeHash, lifeSeconds: LIFE_SECONDS });
  return found === undefined ? undefined : values;
}

/** One for each requester of an address. */
export function subjectOf({ address, requester }: CodeOf): string {
  return `${address}.${requester}`;
}

export interface CheckedCode {
  /** Uses it up, in the transaction of what it is for. @throws CODE_INVALID when another use was faster */
  useUp: (trx: Db) => Promise<void>;
  subject: string;
  registrationSealed?: string | undefined;
}

/**
 * Checks a code without using it up. The try is counted first and for itself, whatever happens next: five for a code
 * by its requester, and so many for an address as limits.ts says.
 * @throws CODE_INVALID for a wrong, expired or tried-out one, TOO_MANY_REQUESTS after too many codes
 */
export async function checkCode(
  parts: IdentityDependencies,
  of: CodeOf,
  ip: string | undefined,
  code: string,
): Promise<CheckedCode> {
  const { db } = parts.postgres;
  const found = await limitedCodeTry(parts, of, ip, () => tryCode(db, of, MAX_TRIES));
  if (!found) throw invalidCode();
  const { subject, codeHash, registrationSealed } = found;
  const given = Buffer.from(parts.digest(of.purpose, subject, code));
  if (!timingSafeEqual(given, Buffer.from(codeHash))) throw invalidCode();
  await forgetCodeTries(db, of);
  return {
    subject,
    registrationSealed,
    async useUp(trx) {
      if (!(await useCode(trx, of.purpose, subject, codeHash))) throw invalidCode();
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
