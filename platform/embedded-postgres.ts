import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { freePort } from "./free-port.ts";
import { type Binaries, chooseRunAs, findBinaries, type RunAs } from "./postgres-binaries.ts";
import {
  clusterOf,
  isAlive,
  isServerOf,
  readPidFile,
  type Server,
  stopPostgres,
} from "./postgres-process.ts";

const USER = "waybill";
const START_TIMEOUT_MS = 30_000;
/** Time limit for the first answer of a server that an earlier process left. Long, for a busy machine. */
const ORPHAN_TIMEOUT_MS = 10_000;
const POLL_MS = 10;
const WATCH_INTERVAL_MS = 500;
const START_TRIES = 3;
const LOG_FOLDER = "log";
/** The server starts a new log file at this size, and we remove the oldest: 40 MB at most. */
const LOG_FILE_KB = 8 * 1_024;
const LOG_FILES_MAX = 4;
/** Twice the number that four services with pools of ten need. */
const CONNECTIONS = 120;

export interface EmbeddedPostgres {
  /** The server listens on loopback only. */
  readonly port: number;
  /** Whether the server was started by an earlier process that was killed. */
  readonly takenOver: boolean;
  url(database: string): string;
  /** Stops supervising the server, which then outlives this process. */
  unwatch(): void;
  /** Fast shutdown: rolls back open transactions; committed data is on disk. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** Contains the cluster, its log and its password. Created when missing. */
  dataDir: string;
  /** Receives a line for each slow step, and when a crashed server is started again. */
  progress?: (line: string) => void;
  /** Faster, but data is lost in a crash. For tests only. */
  unsafe?: boolean;
  /** Maximum number of clients. Default: 120, enough for the platform with its default pools. */
  connections?: number;
}

/**
 * Starts the PostgreSQL of our dependencies in the data folder, for this platform only. It runs in its own process
 * group, so that Ctrl-C does not stop it before the services have finished. A crashed server is started again on the
 * same port.
 * @throws Error in one line, with the path of the server's log if the server does not start
 */
export async function startPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { progress = () => undefined } = options;
  const dataDir = resolve(options.dataDir); // absolute, because the server's programs run in another folder
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const cluster = clusterOf(dataDir);
  const binaries = await findBinaries();
  const runAs = chooseRunAs(binaries, dataDir, cluster);
  if (!existsSync(cluster)) {
    progress("PostgreSQL: creating the database cluster");
    await createCluster(dataDir, binaries, runAs, options.unsafe ?? false);
  }
  const password = readFileSync(passwordFile(dataDir), "utf8");
  const urlOf = (port: number, database: string) =>
    `postgres://${USER}:${password}@127.0.0.1:${port}/${database}`;

  const orphan = await findOrphan(cluster, (port) => urlOf(port, "postgres"));
  let server = orphan ?? (await launch({ ...options, dataDir }, cluster, binaries, runAs));
  if (orphan) progress("PostgreSQL: took over the server that an earlier process left behind");

  const unwatched = new AbortController();
  const watch = async () => {
    for (;;) {
      await delay(WATCH_INTERVAL_MS, undefined, { ref: false, signal: unwatched.signal });
      removeOldLogs(cluster);
      if (isAlive(server.pid)) continue;
      progress("PostgreSQL: the server has crashed and is started again");
      server = await launch({ ...options, dataDir }, cluster, binaries, runAs, server.port).catch(
        (error: Error) => {
          progress(`PostgreSQL: ${error.message}`);
          return server;
        },
      );
    }
  };
  const watching = watch().catch(() => undefined);
  return {
    port: server.port,
    takenOver: orphan !== undefined,
    url: (database) => urlOf(server.port, database),
    unwatch: () => unwatched.abort(),
    async stop() {
      unwatched.abort();
      await watching;
      await stopPostgres(dataDir);
    },
  };
}

const passwordFile = (dataDir: string) => join(dataDir, "postgres.password");
/** The output of the server before its own log starts and after it ends. */
const startLogFile = (dataDir: string) => join(dataDir, "postgres.log");
const logFolder = (cluster: string) => join(cluster, LOG_FOLDER);

/** The server itself does not remove old files. Their names sort by age. */
function removeOldLogs(cluster: string): void {
  const folder = logFolder(cluster);
  const files = existsSync(folder) ? readdirSync(folder).sort() : [];
  for (const file of files.slice(0, -LOG_FILES_MAX)) rmSync(join(folder, file), { force: true });
}

/** Creates the cluster in a temporary folder and moves it when complete, so that a kill leaves no incomplete one. */
async function createCluster(
  dataDir: string,
  binaries: Binaries,
  runAs: RunAs,
  unsafe: boolean,
): Promise<void> {
  const half = join(dataDir, "postgres.half");
  const passwordForInit = join(half, "password");
  const password = randomBytes(24).toString("hex");
  rmSync(half, { recursive: true, force: true });
  mkdirSync(join(half, "cluster"), { recursive: true, mode: 0o700 });
  writeFileSync(passwordFile(dataDir), password, { mode: 0o600 });
  writeFileSync(passwordForInit, password, { mode: 0o600 });
  if (runAs.owner) {
    for (const path of [half, passwordForInit, join(half, "cluster")]) {
      chownSync(path, runAs.owner.uid, runAs.owner.gid);
    }
  }
  const [program, args] = asCommand(runAs, binaries.initdb, [
    `--pgdata=${join(half, "cluster")}`,
    `--username=${USER}`,
    `--pwfile=${passwordForInit}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
    ...(unsafe ? ["--no-sync"] : []),
  ]);
  await promisify(execFile)(program, args, { cwd: "/", ...runAs.owner }).catch((error) => {
    const why = `${error.stderr ?? ""}`.trim().split("\n").at(-1) || error.message;
    throw new Error(`PostgreSQL's initdb failed in ${dataDir}: ${why}`);
  });
  renameSync(join(half, "cluster"), clusterOf(dataDir));
  rmSync(half, { recursive: true, force: true });
}

async function launch(
  options: EmbeddedPostgresOptions,
  cluster: string,
  binaries: Binaries,
  runAs: RunAs,
  samePort?: number,
): Promise<Server> {
  for (let left = START_TRIES; ; left--) {
    const port = samePort ?? (await freePort());
    const server = await tryToLaunch(options, cluster, binaries, runAs, port);
    if (server) return server;
    // Another program may have taken the port after freePort checked it.
    if (left === 1)
      throw new Error(`PostgreSQL does not start: see the newest file in ${logFolder(cluster)}`);
  }
}

async function tryToLaunch(
  options: EmbeddedPostgresOptions,
  cluster: string,
  binaries: Binaries,
  runAs: RunAs,
  port: number,
): Promise<Server | undefined> {
  const settings: Record<string, string | number> = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: "",
    max_connections: options.connections ?? CONNECTIONS,
    timezone: "UTC",
    log_timezone: "UTC",
    jit: "off",
    logging_collector: "on",
    log_directory: LOG_FOLDER,
    log_filename: "%Y-%m-%dT%H-%M-%S.log",
    log_rotation_size: LOG_FILE_KB,
    log_rotation_age: 0,
    ...(options.unsafe ? { fsync: "off", full_page_writes: "off" } : {}),
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const [program, args] = asCommand(runAs, binaries.postgres, ["-D", cluster, ...flags]);
  const log = openSync(startLogFile(options.dataDir), "w", 0o600);
  const child = spawn(program, args, {
    cwd: "/",
    detached: true,
    stdio: ["ignore", log, log],
    ...runAs.owner,
  });
  closeSync(log);
  let exited = false;
  child.once("exit", () => {
    exited = true;
  });
  child.once("error", () => {
    exited = true;
  });
  child.unref();
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!exited && Date.now() < deadline) {
    const server = readPidFile(cluster);
    if (server?.ready && server.pid === child.pid) return { pid: server.pid, port };
    await delay(POLL_MS);
  }
  return undefined;
}

/** Sets the umask that PostgreSQL's files require. */
function asCommand(runAs: RunAs, program: string, args: string[]): [string, string[]] {
  return ["/bin/sh", ["-c", 'umask 022; exec "$@"', "sh", ...runAs.prefix, program, ...args]];
}

/**
 * Finds a server that has outlived its supervisor. Returns it if it accepts our password, otherwise stops it. Removes a
 * pid file whose process has ended or is another program, because PostgreSQL would refuse to start.
 */
async function findOrphan(cluster: string, urlOf: (port: number) => string): Promise<Server | undefined> {
  const found = readPidFile(cluster);
  if (!found) return undefined;
  if (!isServerOf(found.pid, cluster)) {
    rmSync(join(cluster, "postmaster.pid"), { force: true });
    return undefined;
  }
  if (await answers(urlOf(found.port))) return found;
  await stopPostgres(join(cluster, ".."));
  return undefined;
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: ORPHAN_TIMEOUT_MS });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.query("SELECT 1");
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}
