import type { Logger } from "../logger.ts";
import { reasonOf } from "./database.ts";

/** All background work of a service waits for the same database: that is said once in so long. */
const SAID_EVERY_MS = 60_000;
const saidMs = new WeakMap<Logger, number>();

/** Says that background work of a service waits for its database, which each part of it would otherwise say. */
export function sayDatabaseWait(logger: Logger, error: unknown): void {
  const nowMs = performance.now();
  if (nowMs - (saidMs.get(logger) ?? Number.NEGATIVE_INFINITY) < SAID_EVERY_MS) return;
  saidMs.set(logger, nowMs);
  logger.warn(`Background work waits for the database: ${reasonOf(error)}.`);
}
