import { alert } from "../../contracts/alerts.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/logger.ts";
import type { UnreadableRow } from "../../lib/sql/database.ts";
import type { Postgres } from "../postgres/postgres.mixin.ts";
import { envelope } from "./envelope.ts";
import { insertMessages } from "./outbox.repository.ts";

/** The maximum number of remembered rows. Beyond it an alert may be raised again; its id is the same, so it is sent once. */
const ROWS_MAX = 1_000;

/** Raises one alert for each unreadable row, however often it is read. */
export function unreadableRowAlerts(options: {
  postgres: Postgres;
  source: string;
  clock: Clock;
  logger: Logger;
  /** The maximum number of remembered rows. */
  rowsMax?: number;
}): (row: UnreadableRow) => void {
  const { postgres, source, clock, logger, rowsMax = ROWS_MAX } = options;
  const raised = new Set<string>();
  return ({ id, columns }) => {
    const subject = `${source}/${id}`;
    if (raised.has(subject)) return;
    if (raised.size >= rowsMax) raised.clear();
    raised.add(subject);
    const detail = `The row ${id} in the database of ${source} holds a number beyond 2^53 - 1 in ${columns.join(", ")}. It is left out of lists and left alone by workers until the number is corrected.`;
    logger.error(detail);
    const message = envelope(source, alert("row.unreadable", detail, { subject, under: id }), clock.now());
    // Not in the caller's transaction: the row may belong to another order or partner than the caller's.
    insertMessages(postgres.db, [message]).catch((error) => {
      raised.delete(subject);
      logger.warn(
        "an unreadable row could not be told of and is told of when it is met again:",
        String(error),
      );
    });
  };
}
