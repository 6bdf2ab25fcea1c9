import { isId } from "./ids.ts";

/** The cursor of a list that is ordered by ids: where the page that went out ended. */
export function cursorOf(...ids: string[]): string {
  return Buffer.from(ids.join(" ")).toString("base64url");
}

/**
 * The ids that a cursor was made of; undefined when it is none of ours.
 * @param count how many ids the list is ordered by
 */
export function idsOf(cursor: string, count: number): string[] | undefined {
  const ids = Buffer.from(cursor, "base64url").toString("utf8").split(" ");
  return ids.length === count && ids.every(isId) ? ids : undefined;
}
