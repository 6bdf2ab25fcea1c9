import { fail } from "../../../contracts/errors.ts";
import { groupedReads } from "../../../lib/grouped-reads.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { type ProfileRow, profileById, profilesById } from "../store/profiles.repository.ts";

/** @throws NOT_FOUND when the caller's account was deleted while the access token is still valid */
export async function ownProfile({ postgres }: IdentityDependencies, userId: string): Promise<ProfileRow> {
  return orNotFound(await profileById(postgres.db, userId));
}

/** Like `ownProfile`, for the most frequent read: concurrent requests share a statement. */
export function ownProfileReader({
  postgres,
}: IdentityDependencies): (userId: string) => Promise<ProfileRow> {
  const read = groupedReads(async (ids) => {
    const found = await profilesById(postgres.db, ids);
    return new Map(found.map((profile) => [profile.id, profile]));
  });
  return async (userId) => orNotFound(await read(userId));
}

function orNotFound(profile: ProfileRow | undefined): ProfileRow {
  if (!profile) throw fail("NOT_FOUND");
  return profile;
}
