import { type Db, rows } from "../../lib/sql/database.ts";
import { incoming, userDeleted } from "./messaging.ts";

/** So many messages with different ids. */
export const messages = (count: number) => Array.from({ length: count }, () => incoming(userDeleted()));

/** The same, the oldest first. */
export const byId = (count: number) => messages(count).sort((a, b) => (a.id < b.id ? -1 : 1));

/** Sets columns of one row: `values` is SQL. */
export const setRow = (trx: Db, table: "inbox" | "outbox", id: string | undefined, values: string) =>
  rows(trx, `UPDATE ${table} SET ${values} WHERE ${table === "inbox" ? "message_id" : "id"} = ?`, [id]);
