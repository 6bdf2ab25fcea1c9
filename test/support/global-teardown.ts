import { rmSync } from "node:fs";
import { stopPostgres } from "../../platform/embedded-postgres.ts";
import { postgresFolder } from "./postgres.ts";
import { runFolder } from "./test-run.ts";

/** Stops what the files of this run have started for all of them. */
export default async function globalTeardown(): Promise<void> {
  await stopPostgres(postgresFolder(runFolder()), "SIGQUIT");
  rmSync(runFolder(), { recursive: true, force: true });
}
