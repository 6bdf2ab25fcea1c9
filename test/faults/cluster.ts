import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type EmbeddedPostgres, startPostgres } from "../../platform/embedded-postgres.ts";
import { freePort } from "../../platform/free-port.ts";
import { startMailbox } from "../../sandbox/mailbox/mailbox.ts";
import { serve } from "../../sandbox/web.ts";
import { type Ferretdb, startFerretdb } from "../servers/ferretdb.ts";
import { grpcCertificates } from "../servers/grpc-certificates.ts";
import type { NatsServer } from "../servers/nats.ts";
import { type RedisServer, startRedis } from "../servers/redis.ts";
import { type ProcessName, processes } from "../servers/topology.ts";
import { type FaultProxy, startToxiproxy } from "../servers/toxiproxy.ts";
import { natsAs, startShippedNats } from "../support/nats.ts";
import { query } from "../support/sql.ts";
import { type Member, member } from "./member.ts";

const MIGRATE = fileURLToPath(new URL("../../platform/commands/migrate.ts", import.meta.url));
const ADMIN_EMAIL = "admin@faults.example";

export type MemberName = ProcessName;
export const databases = ["orders", "partners", "notifications", "identity"] as const;
export type Database = (typeof databases)[number];
export type Dependency = "postgres" | "nats" | "redis" | "documents";

/**
 * A cluster of separate processes on real servers, with a proxy of faults in front of each server. Avatars and photos
 * are files of the media process.
 */
export interface FaultCluster {
  readonly members: Record<MemberName, Member>;
  readonly gateways: { name: MemberName; url: string; port: number; opsPort: number }[];
  readonly proxies: Record<Dependency, FaultProxy>;
  readonly nats: NatsServer;
  readonly redis: RedisServer;
  readonly documents: Ferretdb;
  readonly postgres: EmbeddedPostgres;
  readonly postgresDir: string;
  readonly sandboxUrl: string;
  readonly admin: { email: string; password: string };
  readonly versions: string[];
  /** A database without the proxy in front, for the checks of the state. */
  url(database: Database): string;
  /** Told of every process that ended by itself. */
  onDeath: (name: MemberName, signal: NodeJS.Signals | null, code: number | null) => void;
  stop(): Promise<void>;
}

export async function startFaultCluster(folder: string): Promise<FaultCluster> {
  const undo: (() => unknown)[] = [];
  const stop = async () => {
    for (let step = undo.pop(); step; step = undo.pop()) await step();
  };
  try {
    return await start(folder, undo, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  folder: string,
  undo: (() => unknown)[],
  stop: () => Promise<void>,
): Promise<FaultCluster> {
  const postgresDir = join(folder, "postgres");
  const up = async <S>(starting: Promise<S>, end: (server: S) => unknown): Promise<S> => {
    const server = await starting;
    undo.push(() => end(server));
    return server;
  };
  const [nats, redis, postgres, documents, toxiproxy] = await Promise.all([
    up(startShippedNats(), (server) => server.remove()),
    up(startRedis(), (server) => server.remove()),
    up(startDatedPostgres(postgresDir), (server) => server.stop()),
    up(startDocuments(join(folder, "documents")), (server) => server.stop()),
    up(startToxiproxy(), (server) => server.stop()),
  ]);
  const mailbox = await up(startMailbox({ base: "/mailbox", host: "127.0.0.1", smtpPort: 0 }), (it) =>
    it.stop(),
  );
  const web = await up(serve(mailbox.routes, { host: "127.0.0.1", port: 0 }), (it) => it.stop());
  const proxies = {
    postgres: await toxiproxy.proxy("postgres", postgres.port),
    nats: await toxiproxy.proxy("nats", nats.clientPort),
    redis: await toxiproxy.proxy("redis", redis.port),
    documents: await toxiproxy.proxy("documents", documents.port),
  };
  const secret = () => randomBytes(32).toString("base64url");
  const admin = { email: ADMIN_EMAIL, password: secret() };
  const gatewayPorts = [await freePort(), await freePort()];
  const env: Record<string, string> = {
    NODE_ENV: "test",
    NATS_URL: at(nats.url, proxies.nats),
    REDIS_URL: at(redis.url, proxies.redis),
    MONGO_URL: at(documents.url, proxies.documents),
    ...Object.fromEntries(
      databases.map((name) => [
        `POSTGRES_URL_${name.toUpperCase()}`,
        at(postgres.url(name), proxies.postgres),
      ]),
    ),
    SMTP_URL: mailbox.smtpUrl,
    PUBLIC_URL: `http://127.0.0.1:${gatewayPorts[0]}`,
    BRIDGE_SECRET: secret(),
    HANDOVER_SECRET: secret(),
    SEAL_SECRET: secret(),
    // Every request comes from one address: limits are not under test here.
    RATE_LIMIT_ADDRESS: "0",
    RATE_LIMIT_USER: "0",
    RATE_LIMIT_SIGN_IN: "0",
    POSTGRES_ACQUIRE_TIMEOUT_MS: "1000",
  };
  const userOf = (name: string) => {
    const { user = "", pass = "" } = natsAs(nats, name);
    return { NATS_USER: user, NATS_PASSWORD: pass };
  };
  await promisify(execFile)(process.execPath, [MIGRATE], {
    env: { PATH: process.env.PATH, ...env, ...userOf("deploy") },
  });

  const certificatesOf = await grpcCertificates(join(folder, "certificates"));
  const members = {} as Record<MemberName, Member>;
  const gateways: FaultCluster["gateways"] = [];
  const cluster: FaultCluster = {
    ...{ members, gateways, proxies, nats, redis, documents, postgres, postgresDir, admin, stop },
    sandboxUrl: web.url,
    versions: [
      `nats-server ${nats.version}`,
      `redis-server ${redis.version}`,
      "PostgreSQL 18 (embedded-postgres)",
      documents.version,
      toxiproxy.version,
    ],
    url: (database) => postgres.url(database),
    onDeath: () => undefined,
  };
  for (const [name, services] of processes) {
    const opsPort = await freePort();
    const gateway = services === "api" ? gatewayPorts[Number(name.at(-1)) - 1] : undefined;
    if (gateway) gateways.push({ name, port: gateway, opsPort, url: `http://127.0.0.1:${gateway}` });
    members[name] = member({
      ...{ name, opsPort, dataDir: join(folder, name) },
      env: {
        ...env,
        ...userOf(services === "api" ? "gateway" : services),
        ...certificatesOf(services),
        SERVICES: services,
        OTEL_SERVICE_NAME: name,
        OPS_PORT: String(opsPort),
        SANDBOX_PORT: "0",
        PORT: String(gateway ?? 0),
        // Elsewhere the switch lets services speak to what is on the loopback; a gateway would start a sandbox of its own.
        SANDBOX: services === "api" ? "false" : "true",
        ...(services === "identity" && { ADMIN_EMAIL: admin.email, ADMIN_PASSWORD: admin.password }),
      },
      onDeath: (_, signal, code) => cluster.onDeath(name, signal, code),
    });
  }
  undo.push(async () => {
    cluster.onDeath = () => undefined;
    await Promise.all(gateways.map(({ name }) => members[name].terminate()));
    await Promise.all(Object.values(members).map((one) => one.kill()));
  });
  await Promise.all(Object.values(members).map((one) => one.start()));
  return cluster;
}

/** A PostgreSQL that can say when a transaction committed: harnesses measure from there. */
async function startDatedPostgres(dataDir: string): Promise<EmbeddedPostgres> {
  const asShipped = await startPostgres({ dataDir });
  await query(asShipped.url("postgres"), "ALTER SYSTEM SET track_commit_timestamp = on");
  await asShipped.stop();
  return await startPostgres({ dataDir });
}

/**
 * MongoDB's place is taken on a PostgreSQL of its own: on SQLite every query but that for one id reads its whole
 * collection, which after some ten thousand documents takes longer than any service waits.
 */
async function startDocuments(dataDir: string): Promise<Ferretdb> {
  const tables = await startPostgres({ dataDir });
  await query(tables.url("postgres"), "CREATE DATABASE documents");
  const server = await startFerretdb({ postgresUrl: tables.url("documents") });
  return {
    ...server,
    async stop() {
      await server.stop();
      await tables.stop();
    },
  };
}

/** The same address, through the proxy. */
function at(url: string, { port }: FaultProxy): string {
  const through = new URL(url);
  through.port = String(port);
  return through.href;
}
