import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ServiceName } from "../lib/settings/catalogue.ts";
import type { ParsedSettings, Settings } from "../lib/settings/settings.ts";
import { TimeoutError, untilAborted, withTimeout } from "../lib/timeout.ts";
import type { Sandbox } from "../sandbox/index.ts";
import { controlSocketPath } from "./control/address.ts";
import { startPostgres } from "./embedded-postgres.ts";
import { lockFolder } from "./folder-lock.ts";
import { checkSchema, databases, migrate } from "./migrate.ts";
import { stopPostgres } from "./postgres-process.ts";
import {
  choosePorts,
  dataDirOf,
  needsEmbeddedPostgres,
  offersGrpc,
  type PostgresUrls,
  postgresUrlName,
  reachable,
  runsSandbox,
  settle,
} from "./settings.ts";

/** A stop takes ten seconds at most. The remaining time is for PostgreSQL's last checkpoint. */
const DRAIN_TIMEOUT_MS = 7_500;
/**
 * How long a gateway of a cluster serves requests after /readyz has become 503. A proxy that checks at least every half
 * second stops sending requests before a connection is refused.
 */
const PRE_STOP_DELAY_MS = 1_500;

/** Maximum number of connections of one service outside its pool: LISTEN, advisory locks, documents, a tool. */
const DIRECT_CONNECTIONS = 11;

/** Addresses and paths of a running platform, also written to data/platform.json for programs. */
export interface Places {
  pid: number;
  /** The services of this process. */
  services: readonly ServiceName[];
  apiUrl: string;
  opsUrl: string;
  /** `host:port` of the gRPC server; absent where none of these services offers gRPC. */
  grpcAddress?: string;
  /** The sandbox's pages: its index, and the mails that the platform has sent. */
  sandboxUrl?: string;
  mailboxUrl?: string;
  adminEmail?: string;
  dataDir: string;
}

export interface Platform {
  readonly places: Places;
  /** Finishes running work and stops everything, within ten seconds. */
  stop(): Promise<void>;
  /** Stops PostgreSQL without waiting. It recovers committed data at the next start. */
  kill(): Promise<void>;
}

export interface LaunchOptions {
  /** Aborts a running start. */
  signal: AbortSignal;
  progress: (line: string) => void;
}

/** Undoes one step of the start. Run in reverse order at a stop and after a failed start. */
type Undo = () => void | Promise<void>;

/**
 * Starts the platform of this process: stores, services and, if configured, the sandbox.
 * @throws Error in one line, after it has stopped everything that was started
 */
export async function launch(config: ParsedSettings, options: LaunchOptions): Promise<Platform> {
  const undo: Undo[] = [];
  const stop = async () => {
    for (let step = undo.pop(); step; step = undo.pop()) await step();
  };
  try {
    const places = await start(config, options, undo);
    return { places, stop, kill: () => stopPostgres(dataDirOf(config), "SIGQUIT") };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  wanted: ParsedSettings,
  { signal, progress }: LaunchOptions,
  undo: Undo[],
): Promise<Places> {
  const dataDir = dataDirOf(wanted);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  undo.push(lockFolder(dataDir));
  // Deletes the documents of earlier versions. PostgreSQL has them now, and old files would never be erased.
  rmSync(join(dataDir, "documents"), { recursive: true, force: true });
  const config = await choosePorts(wanted);
  // Loading the modules takes a second of one core; PostgreSQL starts on another one meanwhile.
  const parts = Promise.all([
    import("./topology.ts"),
    import("./operations/operations-server.ts"),
    import("./operations/call-metrics.ts"),
    import("./control/server.ts"),
    import("./operator.ts"),
    import("./services.ts").then(({ serviceSchemas }) => serviceSchemas(config.SERVICES)),
  ]);
  parts.catch(() => undefined);

  const urls = await databaseUrls(config, progress, undo);
  signal.throwIfAborted();
  await prepareDatabases(config, urls, progress);
  signal.throwIfAborted();
  const settings = await settle(config, urls);
  const [
    { topology },
    { startOperationsServer },
    { callMetrics },
    { startControlServer },
    { ensureFirstAdmin, operatorHandlers },
  ] = await parts;

  progress("Services: starting");
  const metrics = callMetrics();
  const services = await topology(settings, metrics, progress);
  const operations = await startOperationsServer({
    host: settings.OPS_HOST,
    port: settings.OPS_PORT,
    allowedHosts: settings.ALLOWED_HOSTS,
    brokers: () => services.brokers,
    degradations: services.degradations,
    counters: metrics.text,
  });
  undo.push(() => operations.stop());
  undo.push(async () => {
    await withTimeout(DRAIN_TIMEOUT_MS, () => services.stop()).catch((error: unknown) => {
      if (!(error instanceof TimeoutError)) throw error;
    });
  });
  // The start waits for NATS without a limit, so it must be abortable.
  const [sandbox] = await untilAborted(signal, Promise.all([openSandbox(settings, undo), services.start()]));
  await ensureFirstAdmin(services, settings, { signal, report: progress });

  let ready = false;
  undo.push(
    await startControlServer(controlSocketPath(dataDir), services.namespace, {
      hello: () => ({
        namespace: services.namespace,
        services: settings.SERVICES,
        pid: process.pid,
        ready,
      }),
      ...operatorHandlers(services, settings),
    }),
  );
  if (sandbox) {
    progress("Sandbox: setting up a bank, partners and a deliverer");
    await sandbox.seed();
  }
  signal.throwIfAborted();
  operations.ready();
  ready = true;
  const isBehindProxy = settings.NATS_URL !== undefined && settings.SERVICES.includes("api");
  undo.push(async () => {
    operations.unready();
    if (isBehindProxy) await delay(PRE_STOP_DELAY_MS);
  });
  const places: Places = {
    pid: process.pid,
    services: settings.SERVICES,
    apiUrl: settings.PUBLIC_URL,
    opsUrl: `http://${settings.OPS_HOST}:${operations.port}`,
    dataDir,
    ...(offersGrpc(settings) && { grpcAddress: `${reachable(settings.GRPC_HOST)}:${settings.GRPC_PORT}` }),
    ...(sandbox && { sandboxUrl: new URL(sandbox.urls.index).origin, mailboxUrl: sandbox.urls.mailbox }),
    ...(settings.ADMIN_EMAIL && { adminEmail: settings.ADMIN_EMAIL }),
  };
  undo.push(announce(dataDir, places));
  return places;
}

async function databaseUrls(
  config: ParsedSettings,
  progress: (line: string) => void,
  undo: Undo[],
): Promise<PostgresUrls> {
  const server = needsEmbeddedPostgres(config)
    ? await startPostgres({ dataDir: dataDirOf(config), progress, connections: connectionsOf(config) })
    : undefined;
  if (server) undo.push(() => server.stop());
  const urls = databases.map((database) => {
    const name = postgresUrlName(database);
    // A service that runs elsewhere needs no URL here.
    return [name, config.SERVICES.includes(database) ? (config[name] ?? server?.url(database)) : undefined];
  });
  return Object.fromEntries(urls) as PostgresUrls;
}

/** Enough for all pools, twice, because the connections of an earlier process may still be open. */
function connectionsOf(config: ParsedSettings): number {
  return 2 * databases.length * (config.POSTGRES_POOL + DIRECT_CONNECTIONS);
}

/** In production, one job (`npm run migrate`) migrates before the services start; this only checks the schema. */
async function prepareDatabases(
  config: ParsedSettings,
  urls: PostgresUrls,
  progress: (line: string) => void,
): Promise<void> {
  const needed = databases.filter((database) => config.SERVICES.includes(database));
  if (config.NODE_ENV === "production") {
    await Promise.all(needed.map((database) => checkSchema(database, urls[postgresUrlName(database)])));
    return;
  }
  const done = await Promise.all(
    needed.map((database) => migrate(database, urls[postgresUrlName(database)])),
  );
  for (const { service, applied } of done) {
    if (applied.length > 0) progress(`PostgreSQL: ${service} migrated (${applied.length})`);
  }
}

/** Starts the sandbox's mailbox and pages. */
async function openSandbox(settings: Settings, undo: Undo[]): Promise<Sandbox | undefined> {
  if (!runsSandbox(settings)) return undefined;
  const { startSandbox } = await import("../sandbox/index.ts");
  const sandbox = await startSandbox({ config: settings });
  undo.push(() => sandbox.stop());
  return sandbox;
}

function announce(dataDir: string, places: Places): Undo {
  const path = join(dataDir, "platform.json");
  // Written as a whole, so that no program reads an incomplete file.
  writeFileSync(`${path}.new`, `${JSON.stringify(places, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return () => rmSync(path, { force: true });
}
