import { setTimeout as delay } from "node:timers/promises";
import { clusterOf, readPidFile } from "../../platform/postgres-process.ts";
import { query } from "../support/sql.ts";
import type { FaultCluster } from "./cluster.ts";

/** The supervisor checks the server twice a second. */
const NOTICED_MS = 500;
const BACK_TIMEOUT_MS = 60_000;
const POLL_MS = 50;

/**
 * Kills the whole of PostgreSQL, its workers too, and waits until it has come back on what is on the disk.
 * @returns how long it was away, in milliseconds
 */
export async function killPostgres(cluster: FaultCluster): Promise<number> {
  const server = readPidFile(clusterOf(cluster.postgresDir));
  if (!server) throw new Error("PostgreSQL does not run");
  process.kill(-server.pid, "SIGKILL");
  const sinceMs = performance.now();
  await delay(NOTICED_MS);
  while (!(await answers(cluster))) {
    if (performance.now() - sinceMs > BACK_TIMEOUT_MS) throw new Error("PostgreSQL did not come back");
    await delay(POLL_MS);
  }
  return Math.round(performance.now() - sinceMs);
}

async function answers({ url }: FaultCluster): Promise<boolean> {
  return await query(url("orders"), "SELECT 1").then(
    () => true,
    () => false,
  );
}
