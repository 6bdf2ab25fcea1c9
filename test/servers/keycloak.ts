import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { FolderInUse, lockFolder } from "../../platform/folder-lock.ts";
import { freePort } from "../../platform/free-port.ts";
import { binary } from "./binaries.ts";
import { type ServerProcess, startProcess } from "./process.ts";

const REALM_FILE = resolve(import.meta.dirname, "../../deploy/keycloak/waybill-realm.json");
/** A start takes seconds on an idle machine, and four minutes at a load of twelve for each core. */
const START_TIMEOUT_MS = 600_000;
/** For the hook of a test that starts one. */
export const KEYCLOAK_HOOK_TIMEOUT_MS = START_TIMEOUT_MS + 60_000;
const LOCK_POLL_MS = 500;
/** Parts linked from the installation. Each server has a data folder of its own. */
const SHARED = ["lib", "conf", "providers", "themes", "version.txt"];
const BUILD = ["--db=dev-file", "--health-enabled=true"];

export const KEYCLOAK_ADMIN = "admin";
export const KEYCLOAK_ADMIN_PASSWORD = "admin-of-the-tests-0123456789";
/** The secret that the import gives to the client in deploy/keycloak. */
export const KEYCLOAK_CLIENT_SECRET = "client-secret-of-the-tests-0123456789";

export interface KeycloakServer {
  readonly url: string;
  readonly version: string;
  readonly adminUser: string;
  readonly adminPassword: string;
  readonly clientSecret: string;
  /** From the start of the process to the realm's first answer; 0 for a server that was there. */
  readonly startMs: number;
  /** SIGSTOP and SIGCONT: it is there and does not answer. */
  freeze(): void;
  thaw(): void;
  /** Stops it and removes its folder; a server that another run started continues. */
  stop(): Promise<void>;
  /** As a power failure would: SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, with its data, on the same port. */
  start(): Promise<void>;
}

/** The server that the runner has started (TEST_KEYCLOAK_URL), else one of the caller's own. */
export async function sharedKeycloak(): Promise<KeycloakServer> {
  const url = process.env.TEST_KEYCLOAK_URL;
  if (!url) return startKeycloak();
  const adminUser = process.env.TEST_KEYCLOAK_ADMIN || KEYCLOAK_ADMIN;
  const adminPassword = process.env.TEST_KEYCLOAK_PASSWORD || KEYCLOAK_ADMIN_PASSWORD;
  const nobodys = () => {
    throw new Error("this Keycloak belongs to the whole run");
  };
  return {
    url,
    version: await versionOf(url, adminUser, adminPassword),
    adminUser,
    adminPassword,
    clientSecret: KEYCLOAK_CLIENT_SECRET,
    startMs: 0,
    freeze: nobodys,
    thaw: nobodys,
    stop: async () => undefined,
    kill: async () => nobodys(),
    start: async () => nobodys(),
  };
}

/**
 * A Keycloak in production mode over plain HTTP on a free loopback port, on its file database in a folder of its own,
 * with Waybill's realm imported. The first start on a machine builds the server and makes its empty database once.
 */
export async function startKeycloak(): Promise<KeycloakServer> {
  const installation = await prepared();
  const home = homeOn(installation, join(installation, "empty-h2"));
  cpSync(REALM_FILE, join(home, "data", "import", "waybill-realm.json"));
  const [port, managementPort] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  const run = () =>
    serve(home, port, managementPort, ["--import-realm"], () => expectOk(`${url}/realms/waybill`));
  const beganMs = performance.now();
  let server: ServerProcess = await run();
  const startMs = Math.round(performance.now() - beganMs);
  return {
    url,
    version: await versionOf(url, KEYCLOAK_ADMIN, KEYCLOAK_ADMIN_PASSWORD),
    adminUser: KEYCLOAK_ADMIN,
    adminPassword: KEYCLOAK_ADMIN_PASSWORD,
    clientSecret: KEYCLOAK_CLIENT_SECRET,
    startMs,
    freeze: () => server.signal("SIGSTOP"),
    thaw: () => server.signal("SIGCONT"),
    async stop() {
      await server.end("SIGTERM");
      rmSync(home, { recursive: true, force: true });
    },
    kill: () => server.end("SIGKILL"),
    async start() {
      server = await run();
    },
  };
}

/** A token of the server's own administrator, who may do what Waybill's client may not. */
export async function keycloakAdminToken(url: string, username: string, password: string): Promise<string> {
  const form = new URLSearchParams({ client_id: "admin-cli", grant_type: "password", username, password });
  const answer = await fetch(`${url}/realms/master/protocol/openid-connect/token`, {
    method: "POST",
    body: form,
  });
  if (!answer.ok) throw new Error(`Keycloak's administrator cannot sign in: ${answer.status}`);
  return ((await answer.json()) as { access_token: string }).access_token;
}

async function versionOf(url: string, username: string, password: string): Promise<string> {
  const headers = { authorization: `Bearer ${await keycloakAdminToken(url, username, password)}` };
  const answer = await fetch(`${url}/admin/serverinfo`, { headers });
  return ((await answer.json()) as { systemInfo: { version: string } }).systemInfo.version;
}

/** The unpacked and built server, with a database that has its tables: half the time of each later start. */
async function prepared(): Promise<string> {
  const archive = await binary("keycloak");
  const folder = archive.replace(/\.tar\.gz$/, "");
  if (existsSync(folder)) return folder;
  const unlock = await lockedAt(join(dirname(archive), ".locks", "keycloak-built"));
  const making = `${folder}.making`;
  try {
    if (existsSync(folder)) return folder;
    rmSync(making, { recursive: true, force: true });
    mkdirSync(making);
    const run = promisify(execFile);
    await run("tar", ["xzf", archive, "-C", making, "--strip-components=1"]);
    await run(join(making, "bin", "kc.sh"), ["build", ...BUILD], {
      env: { ...process.env, ...environment() },
    });
    const home = homeOn(making);
    const [port, managementPort] = [await freePort(), await freePort()];
    const server = await serve(home, port, managementPort, [], () =>
      expectOk(`http://127.0.0.1:${port}/realms/master`),
    );
    await server.end("SIGTERM");
    cpSync(join(home, "data", "h2"), join(making, "empty-h2"), { recursive: true });
    rmSync(home, { recursive: true, force: true });
    renameSync(making, folder);
    return folder;
  } finally {
    rmSync(making, { recursive: true, force: true });
    unlock();
  }
}

/** A folder that Keycloak takes for its installation, with data of its own. */
function homeOn(installation: string, database?: string): string {
  const home = mkdtempSync(join(tmpdir(), "waybill-keycloak-"));
  for (const name of SHARED) symlinkSync(join(installation, name), join(home, name));
  mkdirSync(join(home, "data", "import"), { recursive: true });
  if (database) cpSync(database, join(home, "data", "h2"), { recursive: true });
  return home;
}

/** Java itself, not kc.sh, which would stay between us and it. */
function serve(
  home: string,
  port: number,
  managementPort: number,
  words: string[],
  answers: () => Promise<void>,
): Promise<ServerProcess> {
  const java = process.env.JAVA_HOME ? join(process.env.JAVA_HOME, "bin", "java") : "java";
  const options = [
    ...["-Xms64m", "-Xmx512m", "-XX:MetaspaceSize=96M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
    ...["-Djava.net.preferIPv4Stack=true", "-Dfile.encoding=UTF-8", `-Dkc.home.dir=${home}`],
    ...["-Djava.util.logging.manager=org.jboss.logmanager.LogManager", "-Dpicocli.disable.closures=true"],
    "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
    ...["java.util", "java.util.concurrent", "java.security"].map(
      (name) => `--add-opens=java.base/${name}=ALL-UNNAMED`,
    ),
    ...["-cp", join(home, "lib", "quarkus-run.jar"), "io.quarkus.bootstrap.runner.QuarkusEntryPoint"],
    ...["start", "--optimized", "--cache=local", "--http-enabled=true", "--http-host=127.0.0.1"],
    ...[`--http-port=${port}`, `--http-management-port=${managementPort}`],
    ...[`--hostname=http://127.0.0.1:${port}`, ...words],
  ];
  return startProcess(java, options, answers, environment(), { timeoutMs: START_TIMEOUT_MS });
}

function environment(): Record<string, string> {
  return {
    KC_BOOTSTRAP_ADMIN_USERNAME: KEYCLOAK_ADMIN,
    KC_BOOTSTRAP_ADMIN_PASSWORD: KEYCLOAK_ADMIN_PASSWORD,
    KEYCLOAK_CLIENT_SECRET,
    // Else one of two sign-ins at the same moment is refused as if the password were wrong.
    KC_SPI_BRUTE_FORCE_PROTECTOR__DEFAULT_BRUTE_FORCE_DETECTOR__ALLOW_CONCURRENT_REQUESTS: "true",
  };
}

async function expectOk(url: string): Promise<void> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}`);
}

/** One process prepares the server; the others wait. */
async function lockedAt(folder: string): Promise<() => void> {
  mkdirSync(folder, { recursive: true });
  for (;;) {
    try {
      return lockFolder(folder);
    } catch (error) {
      if (!(error instanceof FolderInUse)) throw error;
      await delay(LOCK_POLL_MS);
    }
  }
}

// `node test/servers/keycloak.ts`: starts it, says how long that took, and goes on until it is ended.
if (import.meta.main) {
  const server = await startKeycloak();
  process.stdout.write(`Keycloak ${server.version} at ${server.url} after ${server.startMs} ms\n`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void server.stop().then(() => process.exit(0)));
  }
}
