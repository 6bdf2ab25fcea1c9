import { setTimeout as delay } from "node:timers/promises";
import { Database, rows } from "../../../lib/sql/database.ts";
import { databases } from "../cluster.ts";
import { killPostgres } from "../postgres.ts";
import type { Outcome, Run } from "../run.ts";
import { underLoad } from "./under-load.ts";

const EVENTS = 150;
const KILLS = 2;
const BETWEEN_MS = 1_000;
const ACQUIRE_TIMEOUT_MS = 5_000;

/** The whole of PostgreSQL is killed, its workers too, and comes back on what is on the disk. */
export async function postgresKilled(run: Run): Promise<Outcome> {
  const outcome = await underLoad(run, {
    promise: "P8",
    title: "kill -9 of PostgreSQL in mid-run",
    events: EVENTS,
    caughtUpWithinMs: 30_000,
    async fault({ cluster }) {
      const away: number[] = [];
      let at = new Date();
      for (let kill = 0; kill < KILLS; kill += 1) {
        away.push(await killPostgres(cluster));
        at = new Date();
        if (kill + 1 < KILLS) await delay(BETWEEN_MS);
      }
      return { at, figures: { kills: KILLS, "away ms": away.join(", ") }, problems: [] };
    },
  });
  return { ...outcome, problems: [...outcome.problems, ...(await lax(run))] };
}

/**
 * The settings that make acknowledged writes durable, read from a connection that is opened as each service opens its
 * own.
 */
async function lax({ cluster }: Run): Promise<string[]> {
  const problems: string[] = [];
  for (const database of databases) {
    const pool = new Database({
      ...{ url: cluster.url(database), poolSize: 1, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS },
      applicationName: `faults ${database}`,
    });
    try {
      const settings = await rows<{ name: string; value: string }>(
        pool,
        `SELECT name, setting AS value FROM pg_settings
         WHERE name IN ('synchronous_commit', 'fsync', 'full_page_writes')
         UNION ALL SELECT 'role or database', array_to_string(setconfig, ',') FROM pg_db_role_setting`,
      );
      for (const { name, value } of settings) {
        const isLax = name === "role or database" ? /synchronous_commit=(?!on)/.test(value) : value !== "on";
        if (isLax) problems.push(`${database}: ${name} is ${value}`);
      }
    } finally {
      await pool.close();
    }
  }
  return problems;
}
