import { fail } from "../../../contracts/errors.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { type ProfileRow, profileById } from "./profiles.repository.ts";

/** @throws NOT_FOUND when the caller's account was deleted while the access token is still valid */
export async function ownProfile({ postgres }: IdentityDependencies, userId: string): Promise<ProfileRow> {
  const profile = await profileById(postgres.db, userId);
  if (!profile) throw fail("NOT_FOUND");
  return profile;
}
