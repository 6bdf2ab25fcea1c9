import type { Params } from "../../../contracts/actions.ts";
import { prefixQuery } from "../../../lib/search-words.ts";
import { type Db, type Rows, rows } from "../../../lib/sql/database.ts";
import { PROFILE, type ProfileRow } from "./profiles.repository.ts";

/** A search with more matches than this is refused: the matches are sorted. */
export const MATCHES_MAX = 10_000;

/** The place of a user in the list: created_at in microseconds since 1970, and the id. */
export interface UserPlace {
  createdUs: string;
  id: string;
}

export type UserFilter = Pick<Params<"identity.users">, "role" | "state" | "partnerId">;

const STATES = {
  active: "email_confirmed AND suspended_at IS NULL",
  unconfirmed: "NOT email_confirmed AND suspended_at IS NULL",
  suspended: "suspended_at IS NOT NULL",
} as const;

/** The users that meet the filter, the newest account first, from the one after `after`. @param ids only these */
export async function usersPage(
  db: Db,
  filter: UserFilter & { ids?: readonly string[] | undefined; after?: UserPlace | undefined; limit: number },
): Promise<Rows<ProfileRow & { createdUs: string }>> {
  const { role, state, partnerId, ids, after, limit } = filter;
  const conditions = [
    ...(role ? ["role = :role"] : []),
    ...(state ? [STATES[state]] : []),
    ...(partnerId ? ["partner_id = :partnerId"] : []),
    ...(ids ? ["id = ANY(:ids::uuid[])"] : []),
    ...(after
      ? [
          "(created_at, id) < ('epoch'::timestamptz + :createdUs::bigint * interval '1 microsecond', :id::uuid)",
        ]
      : []),
  ];
  return rows<ProfileRow & { createdUs: string }>(
    db,
    `SELECT ${PROFILE}, ((extract(epoch FROM created_at) * 1000000)::bigint)::text AS created_us FROM profiles
     ${conditions.length > 0 ? `WHERE ${conditions.join(" AND ")}` : ""}
     ORDER BY created_at DESC, id DESC LIMIT :limit`,
    {
      limit,
      ...(role && { role }),
      ...(partnerId && { partnerId }),
      ...(ids && { ids }),
      ...(after && { ...after }),
    },
  );
}

/**
 * The ids of users whose name, address and phone number have words that begin with the words of `text`.
 * @returns `MATCHES_MAX + 1` ids if there are more
 */
export async function matchingUsers(db: Db, text: string): Promise<string[]> {
  const query = prefixQuery(text);
  if (!query) return [];
  const found = await rows<{ id: string }>(
    db,
    `SELECT id FROM profiles
     WHERE search_lexemes(first_name || ' ' || last_name || ' ' || email || ' ' || coalesce(phone, ''))
       @@ ?::tsquery LIMIT ${MATCHES_MAX + 1}`,
    [query],
  );
  return found.map(({ id }) => id);
}

/** The full names of users. */
export async function namesOf(db: Db, ids: readonly string[]): Promise<{ id: string; name: string }[]> {
  return rows(
    db,
    "SELECT id, rtrim(first_name || ' ' || last_name) AS name FROM profiles WHERE id = ANY (?::uuid[])",
    [ids],
  );
}
