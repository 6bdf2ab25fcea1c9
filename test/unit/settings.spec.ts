import { describe, expect, it } from "@jest/globals";
import { type ParsedSettings, readSettings, type SettingsError } from "../../lib/settings/settings.ts";
import { clientIpOf } from "../../services/api/edge/request-head.ts";

const SECRET = "n0t-for-anybodys-eyes-0123456789";

const production = {
  NODE_ENV: "production",
  DATA_DIR: "/var/lib/waybill",
  PUBLIC_URL: "https://delivery.example.org",
  POSTGRES_URL_ORDERS: "postgres://db/orders",
  POSTGRES_URL_PARTNERS: "postgres://db/partners",
  POSTGRES_URL_NOTIFICATIONS: "postgres://db/notifications",
  POSTGRES_URL_IDENTITY: "postgres://db/identity",
  SMTP_URL: "smtps://mail.example.org",
  BRIDGE_SECRET: "Zm9yIHRoZSBicmlkZ2Ugb25seSAuLi4=",
  HANDOVER_SECRET: "Zm9yIHRoZSBoYW5kb3ZlciAuLi4uLi4=",
  SEAL_SECRET: "Zm9yIHRoZSBzZWFsIC4uLi4uLi4uLi4=",
};

function linesOf(env: Record<string, string>): string[] {
  try {
    readSettings(env);
    return [];
  } catch (error) {
    return (error as SettingsError).lines;
  }
}

describe("the configuration", () => {
  it("of an empty environment runs everything on this machine", () => {
    const config: ParsedSettings = readSettings({});
    const host: string = config.HOST;
    const mode: "development" | "test" | "production" = config.NODE_ENV;
    expect([host, config.PORT, mode, config.SANDBOX]).toEqual(["127.0.0.1", 3000, "development", true]);
    expect(config.SERVICES).toContain("orders");
    expect(config.POSTGRES_URL_ORDERS).toBeUndefined();
  });

  it("reads an empty value as an unset one", () => {
    expect(readSettings({ PORT: "", ADMIN_EMAIL: "" }).PORT).toBe(3000);
  });

  it.each([
    ["NODE_ENV", "prod"],
    ["SERVICES", "orders,nonsense"],
    ["NAMESPACE", "Two words"],
    ["HOST", "http://0.0.0.0"],
    ["PORT", "65536"],
    ["PORT", "-1"],
    ["PORT", "80a"],
    ["OPS_PORT", "1.5"],
    ["PUBLIC_URL", "delivery.example.org"],
    ["PUBLIC_URL", "ftp://delivery.example.org"],
    ["APP_URL", "javascript:alert(1)"],
    ["MAIL_BRAND_NAME", "Nosh\r\nBcc: a@example.org"],
    ["MAIL_BRAND_NAME", "<b>Nosh"],
    ["MAIL_BRAND_COLOR", "red;background:url(x)"],
    ["MAIL_LOGO_URL", "http://cdn.example.org/logo.png"],
    ["MAIL_PIN", "yes"],
    ["CORS_ORIGINS", "*"],
    ["CORS_ORIGINS", "https://shop.example.org/"],
    ["TRUSTED_PROXIES", "10.0.0.0/40"],
    ["TRUSTED_PROXIES", "10.0.0.1, fd00::/129"],
    ["TRUSTED_PROXIES", "1.2.3"],
    ["TRUSTED_PROXIES", "10.0.0.256"],
    ["TRUSTED_PROXIES", "172.16.0.0/"],
    ["TRUSTED_PROXIES", "10.0.0.0/1e1"],
    ["TRUSTED_PROXIES", "10.0.0.0/8/8"],
    ["TRUSTED_PROXIES", "fe80::1%eth0"],
    ["TRUSTED_PROXIES", "10.0.0.1,"],
    ["TRUSTED_PROXIES", "::/"],
    ["SANDBOX", "yes"],
    ["LOG_LEVEL", "loud"],
    ["GRPC_HOST", "a b"],
    ["POSTGRES_URL_ORDERS", "mysql://db/orders"],
    ["POSTGRES_POOL", "1"],
    ["BRIDGE_SECRET", "short"],
    ["SEAL_SECRET", "x".repeat(40)],
    ["HANDOVER_SECRET", `changeme-${SECRET}`],
    ["SMTP_URL", "mail.example.org:25"],
    ["ADMIN_EMAIL", "nobody"],
    ["ADMIN_PASSWORD", "short"],
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"],
  ])("with a wrong %s is refused in one line without the value (%s)", (name, value) => {
    const lines = linesOf({ [name]: value });
    expect(lines).toEqual([expect.stringMatching(new RegExp(`^${name} [^\\n]{4,}$`))]);
    if (!["yes", "short", "1", "prod", "*"].includes(value)) expect(lines[0]).not.toContain(value);
  });

  it.each([
    "127.0.0.1",
    "0.0.0.0/0",
    "10.0.0.0/8 , fd00::/8,::1",
    "192.0.2.7/32,2001:DB8::/128",
    "::ffff:10.0.0.1",
  ])("of trusted proxies, accepts %s, and the gateway can compare an address with it", (value) => {
    const { TRUSTED_PROXIES } = readSettings({ TRUSTED_PROXIES: value });
    expect(() => clientIpOf(TRUSTED_PROXIES.split(",").map((entry) => entry.trim()))).not.toThrow();
  });

  it("names all invalid variables together", () => {
    expect(linesOf({ PORT: "x", SANDBOX: "x", BRIDGE_SECRET: "x" })).toHaveLength(3);
  });

  it("requires both settings of the first admin", () => {
    expect(linesOf({ ADMIN_EMAIL: "admin@example.org" })).toEqual([
      "ADMIN_PASSWORD must be set too: the first admin needs both",
    ]);
  });
});

describe("the configuration in production", () => {
  it("is accepted with all required settings and without the sandbox", () => {
    expect(readSettings(production).SANDBOX).toBe(false);
  });

  it.each(Object.keys(production).filter((name) => !["NODE_ENV", "DATA_DIR"].includes(name)))(
    "is refused without %s",
    (name) => {
      expect(linesOf({ ...production, [name]: "" })).toEqual([`${name} must be set in production`]);
    },
  );

  it("is refused without a bucket or a folder for pictures", () => {
    expect(linesOf({ ...production, DATA_DIR: "" })).toEqual([
      "DATA_DIR must be set in production: it stores pictures, unless S3_ENDPOINT is set",
    ]);
    const bucket = { S3_ENDPOINT: "http://minio:9000", S3_ACCESS_KEY: "waybill", S3_SECRET_KEY: SECRET };
    expect(linesOf({ ...production, DATA_DIR: "", ...bucket })).toEqual([]);
  });

  it("is refused with a NATS without users", () => {
    const lines = ["NATS_USER must be set in production: NATS checks the permissions of each user"];
    expect(linesOf({ ...production, NATS_URL: "nats://nats:4222" })).toEqual(lines);
    const user = { NATS_USER: "orders", NATS_PASSWORD: "p" };
    expect(linesOf({ ...production, NATS_URL: "nats://nats:4222", ...user })).toEqual([]);
    expect(linesOf({ ...production, NATS_URL: "nats://orders:p@nats:4222" })).toEqual([]);
  });

  it("is refused where gRPC listens beyond this machine without certificates", () => {
    const names = ["GRPC_TLS_CERT", "GRPC_TLS_KEY", "GRPC_TLS_CA"];
    const files = Object.fromEntries(names.map((name) => [name, "/certificates/file"]));
    for (const GRPC_HOST of ["0.0.0.0", "10.0.0.7", "orders", "::"]) {
      const lines = linesOf({ ...production, GRPC_HOST });
      expect(lines.map((line) => line.split(" must be set in production, unless")[0])).toEqual(names);
      expect(linesOf({ ...production, GRPC_HOST, ...files })).toEqual([]);
    }
    for (const GRPC_HOST of ["127.0.0.1", "127.0.1.1", "::1", "localhost"]) {
      expect(linesOf({ ...production, GRPC_HOST })).toEqual([]);
    }
  });

  it("refuses the sandbox", () => {
    expect(linesOf({ ...production, SANDBOX: "true" })).toEqual(["SANDBOX must not be true in production"]);
  });
});

describe("the configuration of a process that runs some of the services", () => {
  const media = {
    SERVICES: "media",
    NATS_URL: "nats://127.0.0.1:4222",
    PUBLIC_URL: "http://127.0.0.1:3000",
    BRIDGE_SECRET: production.BRIDGE_SECRET,
  };
  const orders = {
    ...media,
    SERVICES: "orders",
    POSTGRES_URL_ORDERS: "postgres://db/orders",
    HANDOVER_SECRET: production.HANDOVER_SECRET,
    SEAL_SECRET: production.SEAL_SECRET,
  };

  it("requires the settings of its services and no others", () => {
    expect(linesOf(media)).toEqual([]);
    expect(linesOf(orders)).toEqual([]);
  });

  it.each(Object.keys(orders).filter((name) => name !== "SERVICES"))("is refused without %s", (name) => {
    expect(linesOf({ ...orders, [name]: "" })).toEqual([
      expect.stringMatching(`^${name} must be set where SERVICES names only some of the services`),
    ]);
  });

  it("requires the first admin for a sandbox beside the gateway", () => {
    const api = { ...media, SERVICES: "api" };
    expect(linesOf(api)).toEqual([expect.stringMatching(/^ADMIN_EMAIL must be set for the sandbox/)]);
    expect(linesOf({ ...api, SANDBOX: "false" })).toEqual([]);
    expect(linesOf({ ...api, ADMIN_EMAIL: "admin@example.org", ADMIN_PASSWORD: SECRET })).toEqual([]);
  });

  it("in production requires the stores that replicas share", () => {
    const inProduction = { NODE_ENV: "production", NATS_USER: "u", NATS_PASSWORD: "p" };
    const needs = (env: Record<string, string>) =>
      linesOf({ ...env, ...inProduction }).map((line) => line.split(" ")[0]);
    expect(needs({ ...orders, SERVICES: "api" })).toEqual(["REDIS_URL"]);
    expect(needs(orders)).toEqual(["MONGO_URL"]);
    expect(needs(media)).toEqual(["S3_ENDPOINT"]);
  });

  it.each([
    ["NATS_USER", "orders", "NATS_PASSWORD", "orders"],
    ["GRPC_TLS_CERT", "/c.pem", "GRPC_TLS_KEY", "orders"],
    ["GRPC_TLS_CERT", "/c.pem", "GRPC_TLS_CA", "orders"],
    ["GRPC_TLS_KEY", "/k.pem", "GRPC_TLS_CERT", "orders"],
    ["GRPC_TLS_CA", "/a.pem", "GRPC_TLS_CERT", "orders"],
    ["S3_ENDPOINT", "http://minio:9000", "S3_SECRET_KEY", "media"],
    ["KEYCLOAK_URL", "http://keycloak:8080", "KEYCLOAK_CLIENT_SECRET", "identity"],
  ])("with %s requires its secret, where it is used", (name, value, secret, service) => {
    expect(linesOf({ [name]: value }).join("\n")).toContain(`${secret} must be set too, since ${name} is`);
    const elsewhere = {
      ...{ ...media, SANDBOX: "false", [name]: value },
      SERVICES: service === "media" ? "api" : "media",
    };
    if (service !== "orders") expect(linesOf(elsewhere)).toEqual([]);
  });

  it("requires no setting for a command that runs no service", () => {
    expect(
      readSettings({ SERVICES: "orders", NODE_ENV: "production" }, { checkRequired: false }).SERVICES,
    ).toEqual(["orders"]);
  });
});
