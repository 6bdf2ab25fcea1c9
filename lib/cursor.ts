import { isId } from "./ids.ts";

/** The cursor of a list that is ordered by ids: the ids of the last item of a page. */
export function cursorOf(...ids: string[]): string {
  return Buffer.from(ids.join(" ")).toString("base64url");
}

/**
 * The ids of a cursor; undefined when `cursorOf` did not make it.
 * @param count the number of ids that the list is ordered by
 */
export function idsOf(cursor: string, count: number): string[] | undefined {
  const ids = Buffer.from(cursor, "base64url").toString("utf8").split(" ");
  return ids.length === count && ids.every(isId) ? ids : undefined;
}
