import { isLoopbackAddress } from "../net/public-address.ts";
import { type ServiceName, serviceNames, settingsCatalogue } from "./catalogue.ts";
import type { Setting } from "./setting.ts";

type Env = Record<string, string | undefined>;

/** If the first setting is set, the others are required in a process that runs one of the services. */
const requiredTogether: readonly [
  name: string,
  others: readonly string[],
  services: readonly ServiceName[],
][] = [
  ["NATS_USER", ["NATS_PASSWORD"], serviceNames],
  ["GRPC_TLS_CERT", ["GRPC_TLS_KEY", "GRPC_TLS_CA"], serviceNames],
  ["GRPC_TLS_KEY", ["GRPC_TLS_CERT"], serviceNames],
  ["GRPC_TLS_CA", ["GRPC_TLS_CERT"], serviceNames],
  ["S3_ENDPOINT", ["S3_ACCESS_KEY", "S3_SECRET_KEY"], ["media"]],
  ["KEYCLOAK_URL", ["KEYCLOAK_CLIENT_SECRET"], ["identity"]],
];

/** Stores that the replicas of a service must share. With a store in each process, they would return different data. */
const sharedStores: readonly [name: string, services: readonly ServiceName[]][] = [
  ["REDIS_URL", ["api"]],
  ["MONGO_URL", ["orders", "notifications"]],
  ["S3_ENDPOINT", ["media"]],
];

/**
 * The settings that these services require and that are not set, one line for each. docs/adr/0018-cluster.md has the
 * reasons.
 * @param services default, also for an invalid SERVICES: all services
 */
export function missingSettings(env: Env, services: readonly ServiceName[] = serviceNames): string[] {
  const production = env.NODE_ENV === "production";
  const partly = serviceNames.some((service) => !services.includes(service));
  const where = production ? "in production" : "where SERVICES names only some of the services";
  const runsOneOf = (names: readonly string[]) => services.some((service) => names.includes(service));
  const missing = new Map<string, string>();
  const requireSetting = (name: string, reason: string) => {
    if (!env[name] && !missing.has(name)) missing.set(name, `${name} must be set ${reason}`);
  };

  if (partly)
    requireSetting("NATS_URL", "where SERVICES names only some of the services: it connects the processes");
  if (production || partly) {
    for (const [name, { neededBy = [] }] of Object.entries<Setting<unknown>>(settingsCatalogue)) {
      if (runsOneOf(neededBy)) requireSetting(name, where);
    }
  }
  if (partly && !production && services.includes("api") && env.SANDBOX !== "false") {
    requireSetting("ADMIN_EMAIL", "for the sandbox, which the first admin sets up; or set SANDBOX=false");
  }
  for (const [name, others, users] of requiredTogether) {
    if (env[name] && runsOneOf(users))
      for (const other of others) requireSetting(other, `too, since ${name} is`);
  }
  if (production && partly) {
    for (const [name, users] of sharedStores) {
      if (runsOneOf(users)) requireSetting(name, "in a cluster in production: replicas must share it");
    }
  }
  const grpcHost = env.GRPC_HOST || settingsCatalogue.GRPC_HOST.fallback;
  if (production && grpcHost !== "localhost" && !isLoopbackAddress(grpcHost)) {
    for (const name of ["GRPC_TLS_CERT", "GRPC_TLS_KEY", "GRPC_TLS_CA"]) {
      requireSetting(
        name,
        "in production, unless GRPC_HOST is a loopback address: calls between machines use TLS",
      );
    }
  }
  if (production && env.NATS_URL && URL.parse(env.NATS_URL)?.username === "") {
    requireSetting("NATS_USER", "in production: NATS checks the permissions of each user");
  }
  if (production && !partly && !env.S3_ENDPOINT) {
    requireSetting("DATA_DIR", "in production: it stores pictures, unless S3_ENDPOINT is set");
  }
  return [...missing.values()];
}
