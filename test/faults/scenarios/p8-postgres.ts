import { setTimeout as delay } from "node:timers/promises";
import { clusterOf, readPidFile } from "../../../platform/postgres-process.ts";
import { query } from "../../support/sql.ts";
import { databases } from "../cluster.ts";
import type { Outcome, Run } from "../run.ts";
import { underLoad } from "./under-load.ts";

const EVENTS = 150;
const KILLS = 2;
const BETWEEN_MS = 1_000;
const BACK_TIMEOUT_MS = 60_000;

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
        const server = readPidFile(clusterOf(cluster.postgresDir));
        if (!server) throw new Error("PostgreSQL does not run");
        process.kill(-server.pid, "SIGKILL");
        const sinceMs = performance.now();
        await delay(BETWEEN_MS / 2);
        while (!(await answers(run))) {
          if (performance.now() - sinceMs > BACK_TIMEOUT_MS) throw new Error("PostgreSQL did not come back");
          await delay(50);
        }
        away.push(Math.round(performance.now() - sinceMs));
        at = new Date();
        if (kill + 1 < KILLS) await delay(BETWEEN_MS);
      }
      return { at, figures: { kills: KILLS, "away ms": away.join(", ") }, problems: [] };
    },
  });
  return { ...outcome, problems: [...outcome.problems, ...(await lax(run))] };
}

async function answers({ cluster }: Run): Promise<boolean> {
  return await query(cluster.url("orders"), "SELECT 1").then(
    () => true,
    () => false,
  );
}

/** What acknowledged writes rest on, as each service's own session has it. */
async function lax({ cluster }: Run): Promise<string[]> {
  const problems: string[] = [];
  for (const database of databases) {
    const settings = await query<{ name: string; value: string }>(
      cluster.url(database),
      `SELECT name, setting AS value FROM pg_settings
       WHERE name IN ('synchronous_commit', 'fsync', 'full_page_writes')
       UNION ALL SELECT 'role or database', array_to_string(setconfig, ',') FROM pg_db_role_setting`,
    );
    for (const { name, value } of settings) {
      const isLax = name === "role or database" ? /synchronous_commit=(?!on)/.test(value) : value !== "on";
      if (isLax) problems.push(`${database}: ${name} is ${value}`);
    }
  }
  return problems;
}
