import { dirname, join } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { parse } from "yaml";
import { settingsCatalogue } from "../../lib/settings/catalogue.ts";
import { readSettings } from "../../lib/settings/settings.ts";
import { text } from "../support/manifests.ts";

type Environments = Record<string, { environment?: Record<string, string> }>;
const read = (path: string) => (parse(text(path), { merge: true }) as { services: Environments }).services;
const services = read("docker-compose.yml");
const sandbox = read("docker-compose.sandbox.yml");

const names = Object.keys(settingsCatalogue);
const ours = ["gateway", "identity", "media", "orders", "partners", "notifications"];

/** Settings that Compose fixes because its containers and files depend on the value. */
const fixed: Record<string, string> = {
  NODE_ENV: "production; the sandbox's file says otherwise",
  SERVICES: "a container a service",
  NAMESPACE: "deploy/nats/nats.conf grants the subjects of this one",
  DATA_DIR: "the image's; nothing is kept there",
  HOST: "the image's: any address, since only the networks' members reach it",
  PORT: "the image's, which the proxy asks",
  OPS_HOST: "the image's, as HOST",
  OPS_PORT: "the image's, which the health checks and Prometheus ask",
  SANDBOX: "refused in production; the sandbox's file says otherwise",
  SANDBOX_PORT: "as SANDBOX",
  GRPC_HOST: "the image's, as HOST",
  GRPC_PORT: "the image's",
  GRPC_ANNOUNCE: "the container's name",
  GRPC_TLS_CERT: "what the job `certificates` makes",
  GRPC_TLS_KEY: "as GRPC_TLS_CERT",
  GRPC_TLS_CA: "as GRPC_TLS_CERT",
  NATS_URL: "the container nats",
  NATS_USER: "the service's name, as deploy/nats/nats.conf knows it",
  NATS_STREAM_REPLICAS: "there is one NATS server",
  REDIS_URL: "the container redis",
  MONGO_URL: "the container mongo",
  S3_ENDPOINT: "the container minio",
  S3_REGION: "MinIO has none",
  S3_BUCKET: "the one that deploy/minio/make-bucket.sh makes",
  S3_ACCESS_KEY: "the user that deploy/minio/make-bucket.sh makes",
  KEYCLOAK_URL: "the container keycloak",
  KEYCLOAK_REALM: "that of deploy/keycloak/waybill-realm.json",
  KEYCLOAK_CLIENT_ID: "as KEYCLOAK_REALM",
  KEYCLOAK_ISSUER: "the container's name, as KC_HOSTNAME says",
  POSTGRES_URL_ORDERS: "the container postgres",
  POSTGRES_URL_PARTNERS: "the container postgres",
  POSTGRES_URL_NOTIFICATIONS: "the container postgres",
  POSTGRES_URL_IDENTITY: "the container postgres",
};

/** Settings that the platform around the services reads, and the containers that need them. */
const readByPlatform: Record<string, readonly string[]> = {
  LOG_LEVEL: ours,
  REQUEST_TIMEOUT_MS: ours,
  ALLOWED_HOSTS: ours,
  PUBLIC_URL: [...ours, "migrate"],
  BRIDGE_SECRET: ours,
  BRIDGE_SECRET_PREVIOUS: ours,
  OTEL_EXPORTER_OTLP_ENDPOINT: ours,
  NATS_PASSWORD: [...ours, "migrate"],
  NATS_STREAM_MAX_MB: [...ours, "migrate"],
  NATS_STREAM_MAX_AGE_HOURS: [...ours, "migrate"],
  ADMIN_EMAIL: ["identity"],
  ADMIN_PASSWORD: ["identity"],
};

/** The modules that a service's own is made of, those of the configuration itself left out. */
function modulesOf(path: string, found = new Set<string>()): Set<string> {
  if (found.has(path) || path.startsWith("lib/settings/")) return found;
  found.add(path);
  const imports = /(?:^(?:import|export) (?!type\b)[^;]*?from |\bimport\()"(\.[^"]+\.ts)"/gm;
  for (const [, to = ""] of text(path).matchAll(imports)) modulesOf(join(dirname(path), to), found);
  return found;
}

/** The containers whose processes read each setting. */
const readers = new Map<string, Set<string>>(
  Object.entries(readByPlatform).map(([name, containers]) => [name, new Set(containers)]),
);
for (const container of ours) {
  const service = container === "gateway" ? "api" : container;
  const code = [...modulesOf(`services/${service}/${service}.service.ts`)].map(text).join("\n");
  for (const name of names) {
    // As a property, or taken out of the settings; elsewhere it is only spoken of.
    if (new RegExp(`\\.${name}\\b|\\b${name}: \\w+[, ]`).test(code)) {
      readers.set(name, (readers.get(name) ?? new Set()).add(container));
    }
  }
}

describe("a line of .env", () => {
  it("exists for every setting of the catalogue, except those that Compose fixes", () => {
    expect(names.filter((name) => !(name in fixed) && !readers.has(name))).toEqual([]);
    expect(Object.keys(fixed).filter((name) => !names.includes(name))).toEqual([]);
    expect(readers.get("RATE_LIMIT_USER")).toEqual(new Set(["gateway"]));
    expect(readers.get("STRIPE_API_URL")).toEqual(new Set(["orders"]));
    expect(readers.get("KEYCLOAK_TIMEOUT_MS")).toEqual(new Set(["identity"]));
    expect(readers.get("ONESIGNAL_API_URL")).toEqual(new Set(["notifications"]));
    expect(readers.get("POSTGRES_POOL")).toEqual(
      new Set(["identity", "orders", "partners", "notifications"]),
    );
  });

  it.each(names.filter((name) => !(name in fixed)))("%s reaches its containers", (name) => {
    const deaf = [...(readers.get(name) ?? [])].filter((container) => {
      const { [name]: value } = services[container]?.environment ?? {};
      return !String(value).includes(`\${${name}`);
    });
    expect(deaf).toEqual([]);
  });

  it("is not overridden by the sandbox's file, except the sandbox's own settings", () => {
    const over = Object.entries(sandbox)
      .filter(([container]) => ours.includes(container))
      .flatMap(([, { environment = {} }]) => Object.entries(environment))
      .filter(([name, value]) => !(name in fixed) && !value.includes(`\${${name}`));
    expect([...new Set(over.map(([name]) => name))]).toEqual(["SMTP_URL"]);
  });

  it("that is missing is an empty value, which counts as unset", () => {
    const empty = Object.fromEntries(names.map((name) => [name, ""]));
    expect(readSettings(empty)).toEqual(readSettings({}));
  });
});
