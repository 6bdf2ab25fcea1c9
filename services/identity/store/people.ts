import { fail, invalidField } from "../../../contracts/errors.ts";
import { birthDateProblem } from "../../../lib/validation.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { type ProfileRow, profileById } from "./profiles.repository.ts";

/** Who gave no language gets the texts in this one. */
export const DEFAULT_LANGUAGE = "en";

const NAME_MAX_LENGTH = 100;
const NOT_IN_NAMES = /[\p{Cc}\p{Cs}\u2028-\u202e\u2066-\u2069<>{}|\x60[\]\\]+/gu;

/**
 * The part of a name that we can store. An operator or another system wrote it at the identity provider, by
 * other rules. Empty when nothing is left.
 */
export function storableName(name = ""): string {
  const visible = name.replace(NOT_IN_NAMES, " ").trim();
  return [...visible].slice(0, NAME_MAX_LENGTH).join("").trim();
}

/** What no schema can say of a date of birth. @throws VALIDATION_ERROR naming the field */
export function checkBirthDate({ clock }: IdentityDependencies, birthDate: string | undefined): void {
  const problem = birthDate && birthDateProblem(birthDate, clock.now());
  if (problem) throw invalidField("birthDate", "date", problem);
}

/** @throws NOT_FOUND when the caller's account was deleted while the token was still good */
export async function ownProfile({ postgres }: IdentityDependencies, userId: string): Promise<ProfileRow> {
  const profile = await profileById(postgres.db, userId);
  if (!profile) throw fail("NOT_FOUND");
  return profile;
}
