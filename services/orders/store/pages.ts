import { invalidField } from "../../../contracts/errors.ts";
import { cursorOf, idsOf } from "../../../lib/cursor.ts";
import type { Rows } from "../../../lib/sql/database.ts";

const LIST_DEFAULT = 20;

/** Where the page before ended. @throws VALIDATION_ERROR for a cursor that is none of ours */
export function beforeOf(cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined;
  const [before] = idsOf(cursor, 1) ?? [];
  if (!before) throw invalidField("cursor", "cursor", "This cursor did not come from this list.");
  return before;
}

/** One page of a list that is ordered by its ids. @param find the first so many rows, of which one is for looking ahead */
export async function pageOf<R extends { id: string }, V>(
  find: (limit: number) => Promise<Rows<R>>,
  limit = LIST_DEFAULT,
  view: (row: R) => V,
): Promise<{ items: V[]; nextCursor?: string }> {
  const found = await find(limit + 1);
  const shown = found.slice(0, limit);
  const last = shown.at(-1);
  const items = shown.map(view);
  const isMore = found.length + (found.skipped ?? 0) > limit;
  return isMore && last ? { items, nextCursor: cursorOf(last.id) } : { items };
}
