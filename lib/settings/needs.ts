import { isLoopbackAddress } from "../net/public-address.ts";
import { type ServiceName, serviceNames, settingsCatalogue } from "./catalogue.ts";
import type { Setting } from "./setting.ts";

type Env = Record<string, string | undefined>;

/** Set together: where the first is, the others must be too, in a process that runs one of the services. */
const together: readonly [name: string, others: readonly string[], services: readonly ServiceName[]][] = [
  ["NATS_USER", ["NATS_PASSWORD"], serviceNames],
  ["GRPC_TLS_CERT", ["GRPC_TLS_KEY", "GRPC_TLS_CA"], serviceNames],
  ["GRPC_TLS_KEY", ["GRPC_TLS_CERT"], serviceNames],
  ["GRPC_TLS_CA", ["GRPC_TLS_CERT"], serviceNames],
  ["S3_ENDPOINT", ["S3_ACCESS_KEY", "S3_SECRET_KEY"], ["media"]],
  ["KEYCLOAK_URL", ["KEYCLOAK_CLIENT_SECRET"], ["identity"]],
];

/** What replicas of a service share; a store of the process's own would show each of them something else. */
const shared: readonly [name: string, services: readonly ServiceName[]][] = [
  ["REDIS_URL", ["api"]],
  ["MONGO_URL", ["orders", "notifications"]],
  ["S3_ENDPOINT", ["media"]],
];

/**
 * What has to be set for these services and is not, in a line each. Why it is so for each of them stands in
 * docs/adr/0018-cluster.md.
 * @param services undefined when SERVICES itself is wrong
 */
export function unmetNeeds(env: Env, services: readonly ServiceName[] = serviceNames): string[] {
  const production = env.NODE_ENV === "production";
  const partly = serviceNames.some((service) => !services.includes(service));
  const where = production ? "in production" : "where SERVICES names only some of the services";
  const runsOneOf = (names: readonly string[]) => services.some((service) => names.includes(service));
  const missing = new Map<string, string>();
  const need = (name: string, reason: string) => {
    if (!env[name] && !missing.has(name)) missing.set(name, `${name} must be set ${reason}`);
  };

  if (partly) need("NATS_URL", "where SERVICES names only some of the services: it joins the processes");
  if (production || partly) {
    for (const [name, { neededBy = [] }] of Object.entries<Setting<unknown>>(settingsCatalogue)) {
      if (runsOneOf(neededBy)) need(name, where);
    }
  }
  if (partly && !production && services.includes("api") && env.SANDBOX !== "false") {
    need("ADMIN_EMAIL", "for the sandbox, which the first admin sets up; or start with SANDBOX=false");
  }
  for (const [name, others, users] of together) {
    if (env[name] && runsOneOf(users)) for (const other of others) need(other, `too, since ${name} is`);
  }
  if (production && partly) {
    for (const [name, users] of shared) {
      if (runsOneOf(users)) need(name, "in a cluster in production: replicas share what is there");
    }
  }
  const grpcHost = env.GRPC_HOST || settingsCatalogue.GRPC_HOST.fallback;
  if (production && grpcHost !== "localhost" && !isLoopbackAddress(grpcHost)) {
    for (const name of ["GRPC_TLS_CERT", "GRPC_TLS_KEY", "GRPC_TLS_CA"]) {
      need(name, "in production, unless GRPC_HOST is a loopback address: machines call each other by TLS");
    }
  }
  if (production && env.NATS_URL && URL.parse(env.NATS_URL)?.username === "") {
    need("NATS_USER", "in production: NATS must know who publishes");
  }
  if (production && !partly && !env.S3_ENDPOINT) {
    need("DATA_DIR", "in production: pictures are kept there, unless S3_ENDPOINT is set");
  }
  return [...missing.values()];
}
