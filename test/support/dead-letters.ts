import { readFileSync } from "node:fs";
import { join } from "node:path";
import { clusterOf, readPidFile } from "../../platform/postgres-process.ts";

export interface PlantedLetters {
  consumer: string;
  count?: number;
  type?: string;
  error?: string;
  state?: "dead" | "quarantined" | "waiting" | "done" | "dropped";
  /** SQL of the moment when they were given up. */
  at?: string;
}

/** SQL that makes messages in an inbox: no test has the patience for a thousand that really die. */
export function plantedLetters(planted: PlantedLetters): string {
  const {
    consumer,
    count = 1,
    type = "user.deleted",
    error = "broken",
    state = "dead",
    at = "now()",
  } = planted;
  return `INSERT INTO inbox (message_id, consumer, source, type, subject, time, dataschema, data, state, attempts, error,
      dead_letter_id, updated_at)
    SELECT uuidv7(), '${consumer}', 'waybill/test', '${type}', 's', ${at}, 'd', '{}', '${state}', 5, '${error}', uuidv7(),
      ${at}
    FROM generate_series(1, ${count})`;
}

/** The address of a database of a platform that runs from this folder. */
export function databaseUrlOf(dataDir: string, database: string): string {
  const password = readFileSync(join(dataDir, "postgres.password"), "utf8");
  return `postgres://waybill:${password}@127.0.0.1:${readPidFile(clusterOf(dataDir))?.port}/${database}`;
}
