import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ServiceName } from "../../lib/settings/catalogue.ts";
import { startPostgres } from "../../platform/embedded-postgres.ts";
import { freePort } from "../../platform/free-port.ts";
import { databases, migrate } from "../../platform/migrate.ts";
import { startNats } from "../../test/servers/nats.ts";
import type { Peers } from "./peers.ts";
import { NO_LIMITS, startCommand } from "./platform.ts";

const ROOT = join(import.meta.dirname, "../..");
const START_TIMEOUT_MS = 120_000;
const POLL_MS = 20;

/** One process of a cluster. */
export interface Member {
  services: ServiceName;
  pid: number;
  apiUrl: string;
}

export interface Cluster {
  members: Member[];
  /** Of the first gateway. */
  admin: { email: string; password: string };
  /** For BenchDatabase. */
  dataDir: string;
  natsPid: number;
  natsUrl: string;
  stop(): Promise<void>;
}

/**
 * Starts every service in a process of its own, without TLS and Redis, with NATS and one PostgreSQL beside them.
 * @param replicas how many processes run the gateway and Orders
 */
export async function startCluster(dataDir: string, peers: Peers, replicas: number): Promise<Cluster> {
  const postgres = await startPostgres({ dataDir });
  const nats = await startNats();
  for (const name of databases) await migrate(name, postgres.url(name));
  const secret = () => randomBytes(32).toString("base64url");
  const admin = { email: "admin@bench.example", password: secret() };
  const ports = await Promise.all(Array.from({ length: replicas }, () => freePort()));
  const shared = {
    ...NO_LIMITS,
    ...{ NATS_URL: nats.url, SMTP_URL: peers.smtpUrl, SANDBOX_PORT: "0", OPS_PORT: "0", GRPC_PORT: "0" },
    ...{ BRIDGE_SECRET: secret(), HANDOVER_SECRET: secret(), SEAL_SECRET: secret() },
    ...{
      ADMIN_EMAIL: admin.email,
      ADMIN_PASSWORD: admin.password,
      PUBLIC_URL: `http://127.0.0.1:${ports[0]}`,
    },
    ...Object.fromEntries(
      databases.map((name) => [`POSTGRES_URL_${name.toUpperCase()}`, postgres.url(name)]),
    ),
  };
  const processes: [ServiceName, Record<string, string>][] = [
    // The sandbox runs in the first gateway. Its switch also lets partners have servers on this machine.
    ...ports.map((port, number): [ServiceName, Record<string, string>] => [
      "api",
      { PORT: String(port), ...(number > 0 && { SANDBOX: "false" }) },
    ]),
    ...ports.map((): [ServiceName, Record<string, string>] => ["orders", {}]),
    ...(["identity", "partners", "notifications", "media"] as const).map(
      (name): [ServiceName, Record<string, string>] => [name, {}],
    ),
  ];
  const children: ChildProcess[] = [];
  const stop = async () => {
    for (const child of children) {
      if (child.exitCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    }
    await nats.remove();
    await postgres.stop();
  };
  try {
    const members = await Promise.all(
      processes.map(async ([services, env], number) => {
        const { words, env: allocator } = startCommand();
        const own = join(dataDir, `member-${number}`);
        const child = spawn(process.execPath, words, {
          cwd: ROOT,
          env: { ...process.env, ...allocator, ...shared, ...env, SERVICES: services, DATA_DIR: own },
          stdio: ["ignore", "ignore", "inherit"],
        });
        children.push(child);
        return { services, ...(await placesOf(child, own)) };
      }),
    );
    return { members, admin, dataDir, natsPid: nats.pid as number, natsUrl: nats.url, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function placesOf(child: ChildProcess, dataDir: string): Promise<Omit<Member, "services">> {
  const file = join(dataDir, "platform.json");
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!existsSync(file)) {
    if (child.exitCode !== null) throw new Error(`a process of the cluster ended with ${child.exitCode}`);
    if (Date.now() > deadline) throw new Error("a process of the cluster did not become ready");
    await delay(POLL_MS);
  }
  const { apiUrl } = JSON.parse(readFileSync(file, "utf8")) as { apiUrl: string };
  return { pid: child.pid as number, apiUrl: `${apiUrl}/api/v1` };
}
