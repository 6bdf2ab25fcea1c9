import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startPostgres } from "../../platform/embedded-postgres.ts";
import { natsAs, startShippedNats } from "../support/nats.ts";
import { CONNECTIONS } from "../support/postgres.ts";
import { sources } from "./binaries.ts";
import { startFerretdb } from "./ferretdb.ts";
import { sharedKeycloak } from "./keycloak.ts";
import { startMailpit } from "./mailpit.ts";
import { startMinio } from "./minio.ts";
import { startRedis } from "./redis.ts";

/** The servers of a cluster, running. */
export interface Servers {
  /** The settings by which services find them. */
  readonly env: Record<string, string>;
  /** As whom a process speaks at NATS: the name of its service, `gateway`, `operator` or `deploy`. */
  natsUser(name: string): { NATS_USER: string; NATS_PASSWORD: string };
  /** The version line of each server, as `nats-server 2.15.2`. */
  readonly versions: string[];
  readonly mailpitUrl: string;
  readonly keycloak: { url: string; adminUser: string; adminPassword: string };
  stop(): Promise<void>;
}

const BUCKET = "waybill";
const databases = ["orders", "partners", "notifications", "identity"] as const;

/**
 * Brings up every server that the cluster needs, on free ports of the loopback, each with its data in a folder of its
 * own. @throws Error in one line that names the server which is missing or does not answer
 */
export async function startServers(): Promise<Servers> {
  const folder = mkdtempSync(join(tmpdir(), "waybill-servers-"));
  const undo: (() => unknown)[] = [];
  const stop = async () => {
    await Promise.all(undo.splice(0).map((step) => step()));
    rmSync(folder, { recursive: true, force: true });
  };
  /** When one server fails to start, the started ones are stopped. */
  const up = async <S>(starting: Promise<S>, end: (server: S) => unknown): Promise<S> => {
    const server = await starting;
    undo.push(() => end(server));
    return server;
  };
  const starting = [
    up(startShippedNats(), (server) => server.remove()),
    up(startRedis(), (server) => server.remove()),
    up(
      startPostgres({ dataDir: join(folder, "postgres"), unsafe: true, connections: CONNECTIONS }),
      (server) => server.stop(),
    ),
    up(startFerretdb(), (server) => server.stop()),
    up(startMinio(), (server) => server.remove()),
    up(startMailpit(), (server) => server.remove()),
    up(sharedKeycloak(), (server) => server.stop()),
  ] as const;
  try {
    const [nats, redis, postgres, ferretdb, minio, mailpit, keycloak] = await Promise.all(starting);
    return {
      env: {
        NATS_URL: nats.url,
        REDIS_URL: redis.url,
        ...Object.fromEntries(
          databases.map((name) => [`POSTGRES_URL_${name.toUpperCase()}`, postgres.url(name)]),
        ),
        MONGO_URL: ferretdb.url,
        S3_ENDPOINT: minio.url,
        S3_BUCKET: BUCKET,
        S3_ACCESS_KEY: minio.accessKey,
        S3_SECRET_KEY: minio.secretKey,
        KEYCLOAK_URL: keycloak.url,
        KEYCLOAK_CLIENT_SECRET: keycloak.clientSecret,
        SMTP_URL: mailpit.url,
      },
      natsUser(name) {
        const { user = "", pass = "" } = natsAs(nats, name);
        return { NATS_USER: user, NATS_PASSWORD: pass };
      },
      versions: [
        `nats-server ${nats.version}`,
        `redis-server ${redis.version}`,
        await versionOfPostgres(postgres.url("postgres")),
        ferretdb.version,
        `MinIO ${minio.version}`,
        `Keycloak ${keycloak.version}`,
        `mailpit ${sources.mailpit.version}`,
      ],
      mailpitUrl: mailpit.pagesUrl,
      keycloak,
      stop,
    };
  } catch (error) {
    await Promise.allSettled(starting);
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
