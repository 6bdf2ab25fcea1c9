import { invalidField } from "../../../contracts/errors.ts";
import { cursorOf, idsOf } from "../../../lib/cursor.ts";
import type { Rows } from "../../../lib/sql/database.ts";

/**
 * The ids of the last row of the previous page; undefined for the first page.
 * @param count number of ids in the order of the list
 * @throws VALIDATION_ERROR for an invalid cursor
 */
export function afterOf(cursor: string | undefined, count: number): string[] | undefined {
  if (cursor === undefined) return undefined;
  const ids = idsOf(cursor, count);
  if (!ids) throw invalidField("cursor", "cursor", "This cursor did not come from this list.");
  return ids;
}

/**
 * One page of a list.
 * @param found up to one row more than the limit, which shows that a next page exists
 * @param idsOfRow the ids in the order of the list
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
