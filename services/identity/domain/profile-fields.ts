import { invalidField } from "../../../contracts/errors.ts";
import { birthDateProblem } from "../../../lib/validation.ts";

/** The language of a user who chose none. */
export const DEFAULT_LANGUAGE = "en";

const NAME_MAX_LENGTH = 100;
const NOT_IN_NAMES = /[\p{Cc}\p{Cs}\u2028-\u202e\u2066-\u2069<>{}|\x60[\]\\]+/gu;

/**
 * The part of a name that the contract permits. The name comes from an operator or another system at the identity
 * provider, which has other rules. Empty when nothing is left.
 */
export function storableName(name = ""): string {
  const visible = name.replace(NOT_IN_NAMES, " ").trim();
  return [...visible].slice(0, NAME_MAX_LENGTH).join("").trim();
}

/**
 * Checks the date of birth against today, which a schema cannot do.
 * @param nowMs Unix time in milliseconds
 * @throws VALIDATION_ERROR
 */
export function checkBirthDate(birthDate: string | undefined, nowMs: number): void {
  const problem = birthDate && birthDateProblem(birthDate, nowMs);
  if (problem) throw invalidField("birthDate", "date", problem);
}
