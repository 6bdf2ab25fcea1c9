import { fail, invalidField } from "../../contracts/errors.ts";
import { birthDateProblem, emailProblem } from "../../lib/validation.ts";
import type { Parts } from "./parts.ts";
import { type ProfileRow, profileById } from "./profiles.repository.ts";

/** Who gave no language gets the texts in this one. */
export const DEFAULT_LANGUAGE = "en";

/** What no schema can say of a person. @throws VALIDATION_ERROR naming the field */
export function checkPerson(
  { clock }: Parts,
  person: { email?: string | undefined; birthDate?: string | undefined },
): void {
  const email = person.email && emailProblem(person.email);
  if (email) throw invalidField("email", "email", email);
  const birthDate = person.birthDate && birthDateProblem(person.birthDate, clock.now());
  if (birthDate) throw invalidField("birthDate", "date", birthDate);
}

/** @throws NOT_FOUND when the caller's account was deleted while the token was still good */
export async function ownProfile({ postgres }: Parts, userId: string): Promise<ProfileRow> {
  const profile = await profileById(postgres.db, userId);
  if (!profile) throw fail("NOT_FOUND");
  return profile;
}
