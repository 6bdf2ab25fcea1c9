/**
 * `npm run migrate` brings the databases up to date: those of POSTGRES_URL_*, and otherwise the embedded ones,
 * whose server it starts for that time. In production this is the job that runs before the services.
 */
import { mkdirSync } from "node:fs";
import { readConfig } from "../../lib/config/config.ts";
import { startPostgres } from "../embedded-postgres.ts";
import { lockFolder } from "../folder-lock.ts";
import { databases, migrate } from "../migrate.ts";
import { dataDirOf, needsEmbeddedPostgres, postgresUrlName } from "../settings.ts";
import { runCommand } from "./command.ts";

runCommand(async () => {
  const config = readConfig(process.env, { needs: false });
  const embedded = needsEmbeddedPostgres(config) ? await startEmbedded(dataDirOf(config)) : undefined;
  try {
    for (const database of databases) {
      const url = config[postgresUrlName(database)] ?? embedded?.url(database);
      const { applied } = await migrate(database, url as string);
      console.log(`${database}: ${applied.length > 0 ? applied.join(", ") : "up to date"}`);
    }
  } finally {
    await embedded?.stop();
  }
});

async function startEmbedded(dataDir: string) {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const unlock = lockFolder(dataDir);
  const server = await startPostgres({ dataDir, progress: (line) => console.log(line) });
  return {
    url: server.url,
    async stop() {
      await server.stop();
      unlock();
    },
  };
}
