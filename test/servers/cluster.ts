import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { freePort } from "../../platform/free-port.ts";
import { otlpServer } from "../support/otlp-server.ts";
import { type StartedProcess, startWaybill } from "../support/waybill-process.ts";
import { type Servers, startServers } from "./all.ts";
import { grpcCertificates } from "./grpc-certificates.ts";
import { type ProcessName, processes } from "./topology.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Eight processes start at once on whatever cores there are. */
const START_TIMEOUT_MS = 90_000;
const ADMIN_EMAIL = "admin@cluster.example";

/** How tests find a cluster: what `cluster.json` holds. */
export interface ClusterPlaces {
  gateways: string[];
  sandboxUrl: string;
  /** Where the cluster's mails are. */
  mailpitUrl: string;
  keycloak: Servers["keycloak"];
  /** Where every process sends its spans. */
  collectorUrl: string;
  adminEmail: string;
  adminPassword: string;
  versions: string[];
  /** `grpcAddress`: where a process with gRPC services listens. */
  processes: { name: ProcessName; pid: number; opsUrl: string; readyAfterMs: number; grpcAddress?: string }[];
  /** The settings of all processes. */
  env: Record<string, string>;
  /** Additional environment of an operator's commands. */
  operatorEnv: Record<string, string>;
  /** The further settings of another process of one of these services. */
  serviceEnv: Record<"partners" | "notifications", Record<string, string>>;
}

export interface Cluster {
  readonly places: ClusterPlaces;
  stop(): Promise<void>;
}

/**
 * Starts the platform as a cluster: real servers, and every service in a process of its own, gateway and orders twice.
 * The output of each process is in `<folder>/<name>.log`.
 */
export async function startCluster(folder: string): Promise<Cluster> {
  mkdirSync(folder, { recursive: true });
  const servers = await startServers();
  const collector = await otlpServer();
  const running: StartedProcess[] = [];
  const stop = async () => {
    // The gateways first: their running requests need the other services.
    const isGateway = ({ places }: StartedProcess) => /gateway-\d$/.test(places.dataDir);
    await Promise.all(running.filter(isGateway).map((each) => each.end("SIGTERM")));
    await Promise.all(running.filter((each) => !isGateway(each)).map((each) => each.end("SIGTERM")));
    collector.close();
    await servers.stop();
  };
  try {
    const shared = settingsOf(servers);
    await promisify(execFile)(process.execPath, [join(root, "platform/commands/migrate.ts")], {
      env: { ...process.env, ...shared, ...servers.natsUser("deploy") },
    });
    const certificatesOf = await grpcCertificates(join(folder, "certificates"));
    const ports = await Promise.all([freePort(), freePort()]);
    const envOf = (services: (typeof processes)[number][1]) => ({
      ...servers.natsUser(services === "api" ? "gateway" : services),
      ...certificatesOf(services),
      PUBLIC_URL: `http://127.0.0.1:${ports[0]}`,
    });
    const starting = processes.map(async ([name, services]) => {
      const gateway = name.startsWith("gateway") ? Number(name.at(-1)) : 0;
      const env = {
        ...shared,
        ...envOf(services),
        SERVICES: services,
        OTEL_SERVICE_NAME: name,
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_BSP_SCHEDULE_DELAY: "100",
        ...(gateway > 0 && { PORT: String(ports[gateway - 1]) }),
        ...(gateway === 2 && { SANDBOX: "false" }),
      };
      const process = await startWaybill(join(folder, name), env, { timeoutMs: START_TIMEOUT_MS });
      running.push(process);
      return process;
    });
    await Promise.allSettled(starting);
    const started = await Promise.all(starting);
    return {
      places: {
        gateways: ports.map((port) => `http://127.0.0.1:${port}`),
        sandboxUrl: started[0]?.places.sandboxUrl ?? "",
        mailpitUrl: servers.mailpitUrl,
        keycloak: servers.keycloak,
        collectorUrl: collector.url,
        adminEmail: ADMIN_EMAIL,
        adminPassword: shared.ADMIN_PASSWORD as string,
        versions: servers.versions,
        processes: started.map(({ pid, places, readyAfterMs }, index) => ({
          name: processes[index]?.[0] as ProcessName,
          ...{ pid, readyAfterMs, opsUrl: places.opsUrl },
          ...(places.grpcAddress && { grpcAddress: places.grpcAddress }),
        })),
        env: shared,
        operatorEnv: servers.natsUser("operator"),
        serviceEnv: { partners: envOf("partners"), notifications: envOf("notifications") },
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function settingsOf(servers: Servers): Record<string, string> {
  const secret = () => randomBytes(32).toString("base64url");
  return {
    NODE_ENV: "test",
    ...servers.env,
    BRIDGE_SECRET: secret(),
    HANDOVER_SECRET: secret(),
    SEAL_SECRET: secret(),
    ADMIN_EMAIL,
    ADMIN_PASSWORD: secret(),
    POSTGRES_ACQUIRE_TIMEOUT_MS: "2000",
  };
}

// `node test/servers/cluster.ts <folder>` runs a cluster until it is stopped, and prints its addresses.
if (import.meta.main) {
  const folder = process.argv[2] as string;
  const cluster = await startCluster(folder);
  const file = join(folder, "cluster.json");
  writeFileSync(`${file}.half`, JSON.stringify({ pid: process.pid, ...cluster.places }, undefined, 2));
  renameSync(`${file}.half`, file);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => void cluster.stop().then(() => process.exit(0)));
  }
  setInterval(() => undefined, 60_000);
}
