import type { Logger } from "../logger.ts";
import { reasonOf } from "./database.ts";

/** The minimum time between two of these log lines of one service. */
const LOG_INTERVAL_MS = 60_000;
const loggedMs = new WeakMap<Logger, number>();

/** Logs once that the background work of a service waits for its database. Otherwise each part of it would log that. */
export function logDatabaseWait(logger: Logger, error: unknown): void {
  const nowMs = performance.now();
  if (nowMs - (loggedMs.get(logger) ?? Number.NEGATIVE_INFINITY) < LOG_INTERVAL_MS) return;
  loggedMs.set(logger, nowMs);
  logger.warn(`Background work waits for the database: ${reasonOf(error)}.`);
}
