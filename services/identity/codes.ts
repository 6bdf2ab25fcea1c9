import { randomInt, timingSafeEqual } from "node:crypto";
import { fail } from "../../contracts/errors.ts";
import type { Db } from "../../mixins/postgres/database.ts";
import { deleteCode, type Purpose, saveCode, tryCode } from "./codes.repository.ts";
import { type CodeTry, forgetCodeTries, limitedCodeTry } from "./limits.ts";
import type { Parts } from "./parts.ts";

const LIFE_MINUTES = 15;
const MAX_TRIES = 5;
const DIGITS = 6;

/** One answer for every reason, so that it tells nobody which addresses there are. */
export function invalidCode(): Error {
  return fail("CODE_INVALID", "Only the newest mail's code counts, for a few tries: have a new one sent.");
}

/** A new code, whose values go into the mail; only its digest is kept. */
export async function issueCode(
  { digest }: Pick<Parts, "digest">,
  trx: Db,
  purpose: Purpose,
  subject: string,
): Promise<{ code: string; minutes: string }> {
  const code = String(randomInt(10 ** DIGITS)).padStart(DIGITS, "0");
  const codeHash = digest(purpose, subject, code);
  await saveCode(trx, { purpose, subject, codeHash, lifeSeconds: LIFE_MINUTES * 60 });
  return { code, minutes: String(LIFE_MINUTES) };
}

/**
 * Checks a code without using it up. The try is counted first and for itself, whatever happens next: five for a code,
 * and so many for an address as limits.ts says.
 * @returns uses it up, in the transaction of what it is for; throws CODE_INVALID when another use was faster
 * @throws CODE_INVALID for a wrong, expired or tried-out one, TOO_MANY_REQUESTS after too many codes
 */
export async function checkCode(
  parts: Parts,
  whose: CodeTry,
  code: string,
): Promise<(trx: Db) => Promise<void>> {
  const { db } = parts.postgres;
  const { purpose, subject } = whose;
  const expected = await limitedCodeTry(parts, whose, () => tryCode(db, purpose, subject, MAX_TRIES));
  const given = Buffer.from(parts.digest(purpose, subject, code));
  if (!expected || !timingSafeEqual(given, Buffer.from(expected))) throw invalidCode();
  await forgetCodeTries(db, purpose, subject);
  return async (trx) => {
    if (!(await deleteCode(trx, purpose, subject, expected))) throw invalidCode();
  };
}
