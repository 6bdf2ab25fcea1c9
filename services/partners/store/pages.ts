import { invalidField } from "../../../contracts/errors.ts";
import { cursorOf, idsOf } from "../../../lib/cursor.ts";
import type { Rows } from "../../../lib/sql/database.ts";

/**
 * Where the page before ended.
 * @param count how many ids the list is ordered by
 * @throws VALIDATION_ERROR for a cursor that is none of ours
 */
export function afterOf(cursor: string | undefined, count: number): string[] | undefined {
  if (cursor === undefined) return undefined;
  const ids = idsOf(cursor, count);
  if (!ids) throw invalidField("cursor", "cursor", "This cursor did not come from this list.");
  return ids;
}

/**
 * One page of a list.
 * @param found the rows that were found, one more than the limit when there are further ones
 * @param idsOfRow what the list is ordered by
 */
export function pageOf<R, V>(
  found: Rows<R>,
  limit: number,
  idsOfRow: (row: R) => string[],
  view: (row: R) => V,
): { items: V[]; nextCursor?: string } {
  const shown = found.slice(0, limit);
  const last = shown.at(-1);
  const items = shown.map(view);
  const isMore = found.length + (found.skipped ?? 0) > limit;
  return isMore && last !== undefined ? { items, nextCursor: cursorOf(...idsOfRow(last)) } : { items };
}
