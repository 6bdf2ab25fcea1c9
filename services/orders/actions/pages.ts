import { invalidField } from "../../../contracts/errors.ts";
import { cursorOf, idsOf } from "../../../lib/cursor.ts";
import type { Rows } from "../../../lib/sql/database.ts";

const LIST_LIMIT_DEFAULT = 20;

/** The id of the last entry of the previous page. @throws VALIDATION_ERROR for an invalid cursor */
export function beforeOf(cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined;
  const [before] = idsOf(cursor, 1) ?? [];
  if (!before) throw invalidField("cursor", "cursor", "This cursor did not come from this list.");
  return before;
}

/** One page of a list. @param find reads the first rows; one more than `limit`, to detect a next page */
export async function pageOf<R extends { id: string }, V>(
  find: (limit: number) => Promise<Rows<R>>,
  limit = LIST_LIMIT_DEFAULT,
  view: (row: R) => V,
): Promise<{ items: V[]; nextCursor?: string }> {
  const found = await find(limit + 1);
  const page = found.slice(0, limit);
  const last = page.at(-1);
  const items = page.map(view);
  const hasMore = found.length + (found.skipped ?? 0) > limit;
  return hasMore && last ? { items, nextCursor: cursorOf(last.id) } : { items };
}
