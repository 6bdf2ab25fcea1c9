import { rmSync } from "node:fs";
import { stopPostgres } from "../../platform/embedded-postgres.ts";
import { postgresFolder } from "./postgres.ts";
import { abandonedRunFolders, createRunFolder } from "./test-run.ts";

/** Makes the run's folder; clears away what runs that were killed have left. */
export default async function globalSetup(): Promise<void> {
  for (const folder of abandonedRunFolders()) {
    await stopPostgres(postgresFolder(folder), "SIGQUIT");
    rmSync(folder, { recursive: true, force: true });
  }
  createRunFolder();
}
