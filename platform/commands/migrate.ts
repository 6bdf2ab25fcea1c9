/**
 * `npm run migrate` migrates the databases of POSTGRES_URL_*. For missing URLs it starts the embedded server and migrates
 * its databases. With NATS_URL it also applies the settings of the message stream. In production, this job runs before
 * the services start.
 */
import { mkdirSync } from "node:fs";
import { type ParsedSettings, readSettings, SettingsError } from "../../lib/settings/settings.ts";
import { startPostgres } from "../embedded-postgres.ts";
import { lockFolder } from "../folder-lock.ts";
import { databases, migrate } from "../migrate.ts";
import { dataDirOf, needsEmbeddedPostgres, postgresUrlName } from "../settings.ts";
import { runCommand } from "./command.ts";

runCommand(async () => {
  const config = readSettings(process.env, { checkRequired: false });
  const wanted = databases.filter((database) => config.SERVICES.includes(database));
  if (config.NODE_ENV === "production" && needsEmbeddedPostgres(config)) {
    const missing = wanted.map(postgresUrlName).filter((name) => config[name] === undefined);
    throw new SettingsError(missing.map((name) => `${name} must be set in production`));
  }
  const embedded = needsEmbeddedPostgres(config) ? await startEmbedded(dataDirOf(config)) : undefined;
  try {
    for (const database of wanted) {
      const url = config[postgresUrlName(database)] ?? embedded?.url(database);
      const { applied } = await migrate(database, url as string);
      console.log(`${database}: ${applied.length > 0 ? applied.join(", ") : "up to date"}`);
    }
  } finally {
    await embedded?.stop();
  }
  if (config.NATS_URL) await deployStream({ ...config, NATS_URL: config.NATS_URL });
});

async function deployStream(config: ParsedSettings & { NATS_URL: string }): Promise<void> {
  const { deployMessageBus, streamLimitsOf } = await import("../../providers/message-bus/jetstream.ts");
  const { natsOptions } = await import("../../providers/message-bus/nats-options.ts");
  const namespace = config.NAMESPACE;
  await deployMessageBus({ nats: natsOptions(config), namespace, limits: streamLimitsOf(config) });
  console.log(`stream of ${namespace}: up to date`);
}

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
