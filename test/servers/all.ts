import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startPostgres } from "../../platform/embedded-postgres.ts";
import { startNats } from "./nats.ts";
import { startRedis } from "./redis.ts";

/** The servers of a cluster, running. */
export interface Servers {
  /** The settings by which services find them; NATS_USER and its password differ from process to process. */
  readonly env: Record<string, string>;
  /** What each server said about itself, as `nats-server 2.15.2`. */
  readonly versions: string[];
  stop(): Promise<void>;
}

const databases = ["orders", "partners", "notifications", "identity"] as const;

/** Brings up every server that the cluster needs, on free ports of the loopback, with its data in a folder of its own. */
export async function startServers(): Promise<Servers> {
  const folder = mkdtempSync(join(tmpdir(), "waybill-servers-"));
  const undo: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const stop = async () => {
    for (let step = undo.pop(); step; step = undo.pop()) await step();
  };
  try {
    const [nats, redis, postgres] = await Promise.all([
      startNats().then((server) => {
        undo.push(() => server.remove());
        return server;
      }),
      startRedis().then((server) => {
        undo.push(() => server.remove());
        return server;
      }),
      startPostgres({ dataDir: join(folder, "postgres"), unsafe: true }).then((server) => {
        undo.push(() => server.stop());
        return server;
      }),
    ]);
    const env = {
      NATS_URL: nats.url,
      REDIS_URL: redis.url,
      ...Object.fromEntries(
        databases.map((name) => [`POSTGRES_URL_${name.toUpperCase()}`, postgres.url(name)]),
      ),
    };
    const versions = [
      `nats-server ${nats.version}`,
      `redis-server ${redis.version}`,
      await versionOfPostgres(postgres.url("postgres")),
    ];
    return { env, versions, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function versionOfPostgres(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query("SELECT version()");
    return (rows[0].version as string).split(" ").slice(0, 2).join(" ");
  } finally {
    await client.end();
  }
}
