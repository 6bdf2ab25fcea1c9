import { stopCluster } from "../support/cluster.ts";
import { stopPlatform } from "../support/platform.ts";
import { runFolder } from "../support/test-run.ts";

/** Stops what has run the changed sources. The database server goes on. */
export default async function globalTeardown(): Promise<void> {
  await stopPlatform(runFolder());
  await stopCluster(runFolder());
}
