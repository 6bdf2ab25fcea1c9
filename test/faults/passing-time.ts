import { setTimeout as delay } from "node:timers/promises";
import { query } from "../support/sql.ts";
import type { FaultCluster } from "./cluster.ts";

/** The databases that hold times of orders and of their messages. */
const DATABASES = ["orders", "partners", "notifications"] as const;
const MINUTE_MS = 60_000;
/** Longer than the sweep of deadlines takes until it applies one more of them, also on a busy machine. */
const PROGRESS_WITHIN_MS = 20_000;
const POLL_MS = 50;
const TRIES = 5;
const DEADLOCK = "40P01";

/**
 * Time passes for everything that PostgreSQL holds. PostgreSQL's clock cannot be set, so every time that is stored becomes
 * earlier by as much; to all statements, which compare stored times with the clock, the two are the same.
 */
export async function letTimePass({ url }: Pick<FaultCluster, "url">, minutes: number): Promise<void> {
  for (const database of DATABASES) await shift(url(database), minutes * MINUTE_MS);
}

/** Lets hours pass in steps, after each of which the deadlines that have come are acted on. */
export async function letDeadlinesPass(
  cluster: Pick<FaultCluster, "url">,
  { minutes, stepMinutes }: { minutes: number; stepMinutes: number },
): Promise<void> {
  for (let passed = 0; passed < minutes; passed += stepMinutes) {
    await letTimePass(cluster, stepMinutes);
    await untilSwept(cluster.url("orders"));
  }
}

async function shift(url: string, ms: number): Promise<void> {
  const columns = await query<{ table: string; column: string }>(
    url,
    `SELECT table_name AS table, column_name AS column
     FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
     WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name NOT LIKE 'knex%'
       AND data_type = 'timestamp with time zone' AND is_generated = 'NEVER'`,
  );
  const updates = [...Map.groupBy(columns, ({ table }) => table)].map(([table, all]) => {
    const set = all.map(({ column }) => `"${column}" = "${column}" - interval '${ms} milliseconds'`);
    return `UPDATE "${table}" SET ${set.join(", ")}`;
  });
  // Triggers keep the history of orders from being changed; time passes for it too.
  const text = ["BEGIN", "SET LOCAL session_replication_role = replica", ...updates, "COMMIT"].join("; ");
  for (let tries = 1; ; tries += 1) {
    try {
      await query(url, text);
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== DEADLOCK || tries === TRIES) throw error;
    }
  }
}

/** Waits for as long as the number of due deadlines falls: earlier scenarios leave several hundred of them. */
async function untilSwept(url: string): Promise<void> {
  let least = Number.POSITIVE_INFINITY;
  let untilMs = 0;
  for (;;) {
    const [due] = await query<{ count: number }>(
      url,
      `SELECT count(*)::integer AS count FROM orders
       WHERE deadline_at <= now() AND (deadline_retry_at IS NULL OR deadline_retry_at <= now())`,
    );
    const count = due?.count ?? 0;
    if (count === 0) return;
    if (count < least) {
      least = count;
      untilMs = performance.now() + PROGRESS_WITHIN_MS;
    }
    if (performance.now() > untilMs) {
      throw new Error(`${count} deadlines are due and none was applied for ${PROGRESS_WITHIN_MS} ms`);
    }
    await delay(POLL_MS);
  }
}
