import { fail, invalidField } from "../../../contracts/errors.ts";
import { birthDateProblem } from "../../../lib/validation.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { type ProfileRow, profileById } from "./profiles.repository.ts";

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

/** Checks the date of birth against today, which a schema cannot do. @throws VALIDATION_ERROR */
export function checkBirthDate({ clock }: IdentityDependencies, birthDate: string | undefined): void {
  const problem = birthDate && birthDateProblem(birthDate, clock.now());
  if (problem) throw invalidField("birthDate", "date", problem);
}

/** @throws NOT_FOUND when the caller's account was deleted while the access token is still valid */
export async function ownProfile({ postgres }: IdentityDependencies, userId: string): Promise<ProfileRow> {
  const profile = await profileById(postgres.db, userId);
  if (!profile) throw fail("NOT_FOUND");
  return profile;
}
