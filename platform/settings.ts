import { resolve } from "node:path";
import { type ServiceName, serviceNames } from "../lib/settings/catalogue.ts";
import type { ParsedSettings, Settings } from "../lib/settings/settings.ts";
import { freePort, isPortFree } from "./free-port.ts";
import { databases } from "./migrate.ts";
import { keepSecrets } from "./secrets.ts";

/** The first admin of a sandbox. Its password is in data/secrets.json. */
const SANDBOX_ADMIN_EMAIL = "admin@sandbox.example";
const secretNames = ["BRIDGE_SECRET", "HANDOVER_SECRET", "SEAL_SECRET"] as const;

/** The services that offer their actions by gRPC. */
const grpcServices: readonly ServiceName[] = ["orders", "partners"];

export type PostgresUrls = Pick<Settings, `POSTGRES_URL_${Uppercase<(typeof databases)[number]>}`>;

export function postgresUrlName<D extends (typeof databases)[number]>(
  database: D,
): `POSTGRES_URL_${Uppercase<D>}` {
  return `POSTGRES_URL_${database.toUpperCase() as Uppercase<D>}`;
}

/** Whether this process runs all services, so that it can have its own stores. */
export function runsEverything(config: ParsedSettings): boolean {
  return serviceNames.every((service) => config.SERVICES.includes(service));
}

/** Whether a database of these services has no URL, so that this process must start the embedded server. */
export function needsEmbeddedPostgres(config: ParsedSettings): boolean {
  return databases.some(
    (database) => config.SERVICES.includes(database) && config[postgresUrlName(database)] === undefined,
  );
}

/** The sandbox runs beside the gateway. In other processes, SANDBOX only allows calls to it. */
export function runsSandbox(config: ParsedSettings): boolean {
  return config.SANDBOX && config.SERVICES.includes("api");
}

export function offersGrpc(config: ParsedSettings): boolean {
  return grpcServices.some((service) => config.SERVICES.includes(service));
}

export function dataDirOf(config: ParsedSettings): string {
  return resolve(config.DATA_DIR);
}

/**
 * Replaces each port 0 by a free port, so that every address is known before a server listens.
 * @throws Error in one line with the port that is in use and what to do
 */
export async function choosePorts(config: ParsedSettings): Promise<ParsedSettings> {
  const wanted = [
    ["PORT", config.HOST, config.SERVICES.includes("api")],
    ["OPS_PORT", config.OPS_HOST, true],
    ["GRPC_PORT", config.GRPC_HOST, offersGrpc(config)],
    ["SANDBOX_PORT", "127.0.0.1", runsSandbox(config)],
  ] as const;
  const chosen: Partial<Record<(typeof wanted)[number][0], number>> = {};
  for (const [name, host, needed] of wanted) {
    if (!needed) continue;
    const port = config[name];
    if (port !== 0 && !(await isPortFree(port, host))) {
      throw new Error(
        `Port ${port} on ${host} is taken: start with another ${name}, as in ${name}=0 npm start`,
      );
    }
    chosen[name] = port === 0 ? await freePort(host) : port;
  }
  return { ...config, ...chosen };
}

/**
 * The settings of the services: values of the environment first, then those of the launcher. Settings that no service
 * of this process uses stay unset.
 */
export async function settle(config: ParsedSettings, urls: PostgresUrls): Promise<Settings> {
  const dataDir = dataDirOf(config);
  const given: ParsedSettings = {
    ...config,
    ...(config.SANDBOX &&
      runsEverything(config) &&
      config.ADMIN_EMAIL === undefined && { ADMIN_EMAIL: SANDBOX_ADMIN_EMAIL }),
  };
  // In a cluster, the environment sets the secrets that a process needs.
  const own = runsEverything(config) ? secretNames : [];
  const kept = keepSecrets(dataDir, [
    ...own.filter((name) => given[name] === undefined),
    ...(given.ADMIN_EMAIL !== undefined && given.ADMIN_PASSWORD === undefined
      ? ["ADMIN_PASSWORD" as const]
      : []),
  ]);
  const secrets = Object.fromEntries(secretNames.map((name) => [name, given[name] ?? kept[name]]));
  return {
    ...given,
    ...urls,
    ...(secrets as Record<(typeof secretNames)[number], string>),
    DATA_DIR: dataDir,
    PUBLIC_URL: config.PUBLIC_URL ?? `http://${reachable(config.HOST)}:${config.PORT}`,
    SMTP_URL: config.SMTP_URL ?? `smtp://127.0.0.1:${await freePort()}`,
    ...(given.ADMIN_EMAIL !== undefined && { ADMIN_PASSWORD: config.ADMIN_PASSWORD ?? kept.ADMIN_PASSWORD }),
  };
}

/** The host in a URL for a server of this machine that listens on `host`. */
export function reachable(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}
