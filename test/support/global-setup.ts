import { rmSync } from "node:fs";
import { resolve } from "node:path";
import { stopPostgres } from "../../platform/postgres-process.ts";
import { stopCluster } from "./cluster.ts";
import { platformFolder, stopPlatform } from "./platform.ts";
import { postgresFolder } from "./postgres.ts";
import { abandonedRunFolders, createRunFolder } from "./test-run.ts";

/** Makes the run's folder; clears away what runs that were killed have left. */
export default async function globalSetup(): Promise<void> {
  for (const folder of abandonedRunFolders()) await clearRun(folder);
  createRunFolder();
  // Half of what a child process does in a test is reading our sources.
  process.env.NODE_COMPILE_CACHE ??= resolve("node_modules/.cache/waybill");
}

/** Stops what the files of a run have started for all of them, and removes it. */
export async function clearRun(folder: string): Promise<void> {
  await stopPlatform(folder);
  await stopCluster(folder);
  await stopPostgres(`${platformFolder(folder)}/data`, "SIGQUIT");
  await stopPostgres(postgresFolder(folder), "SIGQUIT");
  rmSync(folder, { recursive: true, force: true });
}
