import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { parse } from "yaml";
import { settingsCatalogue } from "../../lib/settings/catalogue.ts";

const root = resolve(import.meta.dirname, "../..");
const text = (path: string) => readFileSync(join(root, path), "utf8");

interface Service {
  image: string;
  command?: string[];
  user?: string;
  read_only?: boolean;
  cap_drop?: string[];
  cap_add?: string[];
  security_opt?: string[];
  privileged?: boolean;
  restart?: string;
  ports?: string[];
  environment?: Record<string, string>;
  mem_limit?: string;
  cpus?: number;
  pids_limit?: number;
  profiles?: string[];
  networks?: string[] | Record<string, object>;
  network_mode?: string;
  volumes?: string[];
  tmpfs?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test?: string[]; disable?: boolean };
  deploy?: { replicas?: number };
}
interface Compose {
  services: Record<string, Service>;
  networks: Record<string, { internal?: boolean } | null>;
  volumes: Record<string, unknown>;
}

const compose = parse(text("docker-compose.yml"), { merge: true }) as Compose;
const sandbox = parse(text("docker-compose.sandbox.yml"), { merge: true }) as Compose;
const services = Object.entries(compose.services);
const ours = ["gateway", "orders", "partners", "notifications", "identity", "media"];
const jobs = ["migrate", "bucket", "folders", "certificates"];
const networksOf = ({ networks = [] }: Service) =>
  Array.isArray(networks) ? networks : Object.keys(networks);
const named = (name: string) => compose.services[name] as Service;

/** Options that weaken the isolation of a container, in any spelling. */
const LOOSENING = [
  ...["privileged", "devices", "device_cgroup_rules", "cgroup", "cgroup_parent", "runtime", "sysctls"],
  ...["pid", "ipc", "uts", "userns_mode", "group_add", "volumes_from"],
];

/** Holds a service as it is run, with every file merged, against what all are held against. */
function expectHardened(name: string, service: Service): void {
  expect([name, service]).toMatchObject([name, { read_only: true, cap_drop: ["ALL"] }]);
  expect([name, service.security_opt]).toEqual([name, ["no-new-privileges:true"]]);
  expect([name, service.cap_add]).toEqual([name, name === "folders" ? ["CHOWN"] : undefined]);
  const loosened = LOOSENING.filter((key) => key in service);
  expect([name, loosened]).toEqual([name, []]);
  expect(service.mem_limit).toMatch(/^\d+[mg]$/);
  expect(service.pids_limit).toBeGreaterThan(0);
  expect(service.cpus).toBeGreaterThan(0);
  expect([name, service.restart]).toEqual([name, jobs.includes(name) ? "no" : "unless-stopped"]);
}

/** As Compose reads both files: an override's lists are added, its values take the others' place. */
function merged(service: Service | undefined, override: Service): Service {
  const both = Object.entries(override).map(([key, value]) => {
    const before = service?.[key as keyof Service];
    if (Array.isArray(before) && Array.isArray(value)) return [key, [...before, ...value]];
    const isMap = typeof before === "object" && typeof value === "object";
    return [key, isMap ? { ...before, ...value } : value];
  });
  return { ...service, ...Object.fromEntries(both) };
}

describe("docker-compose.yml", () => {
  it("has what a cluster needs, and two gateways", () => {
    const needed = [
      ...ours,
      "proxy",
      "migrate",
      "nats",
      "postgres",
      "redis",
      "mongo",
      "minio",
      "keycloak",
      "mail",
    ];
    const telemetry = ["collector", "jaeger", "prometheus", "grafana"];
    expect(Object.keys(compose.services)).toEqual(expect.arrayContaining([...needed, ...telemetry]));
    expect(named("gateway").deploy?.replicas).toBe(2);
    for (const name of needed) expect(named(name).profiles).toEqual(["core"]);
    for (const name of telemetry) expect(named(name).profiles).toEqual(["telemetry"]);
  });

  it.each(services)("%s: read-only root, no capabilities, no new privileges, bounded", (name, service) => {
    expectHardened(name, service);
  });

  it.each(services.filter(([name]) => name !== "folders"))("%s does not run as root", (_name, { user }) => {
    expect(user).toMatch(/^[1-9]\d*:\d+$/);
  });

  it("the one container that runs as root has no network, and only changes an owner", () => {
    expect(named("folders")).toMatchObject({ network_mode: "none", restart: "no", user: "0:0" });
  });

  it.each(services.filter(([, { image }]) => !image.startsWith("waybill:")))(
    "%s: its image's tag is exact",
    (_name, { image }) => {
      // PostgreSQL counts in two numbers.
      expect(image).toMatch(/^postgres:\d+\.\d+|:v?\d+\.\d+\.\d+/);
      expect(image).not.toMatch(/latest/);
    },
  );

  it("publishes only the proxy, on this machine's loopback", () => {
    const published = services.filter(([, { ports }]) => ports);
    expect(published.map(([name]) => name)).toEqual(["proxy"]);
    for (const port of named("proxy").ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  it("separates networks: no gateway reaches a store, and no store reaches the internet", () => {
    const internal = Object.keys(compose.networks).filter((name) => compose.networks[name]?.internal);
    expect(internal.sort()).toEqual(["data", "inside", "telemetry"]);
    expect(networksOf(named("gateway"))).toEqual(["edge", "inside", "telemetry"]);
    for (const store of ["nats", "postgres", "redis", "mongo", "minio", "keycloak"]) {
      for (const network of networksOf(named(store))) expect(internal).toContain(network);
    }
  });

  it.each(services.filter(([name, service]) => !jobs.includes(name) && service.profiles?.[0] === "core"))(
    "%s has a health check",
    (name, { healthcheck }) => {
      // Those of the image's own, which the Dockerfile names, and MinIO's, whom the bucket's job waits for.
      if ([...ours, "minio"].includes(name)) return;
      expect(healthcheck?.test?.length).toBeGreaterThan(1);
    },
  );

  it("starts in order: stores, migrations, services, gateways, proxy", () => {
    const waits = (name: string) =>
      Object.fromEntries(
        Object.entries(named(name).depends_on ?? {}).map(([other, { condition }]) => [other, condition]),
      );
    for (const name of ["orders", "partners", "notifications", "identity"]) {
      expect(waits(name)).toMatchObject({
        migrate: "service_completed_successfully",
        nats: "service_healthy",
        postgres: "service_healthy",
      });
    }
    expect(waits("identity")).toMatchObject({ keycloak: "service_healthy" });
    expect(waits("media")).toMatchObject({ bucket: "service_completed_successfully" });
    expect(waits("gateway")).toMatchObject({ orders: "service_healthy", partners: "service_healthy" });
    expect(waits("proxy")).toEqual({ gateway: "service_healthy" });
  });

  it("Keycloak can write its transaction log: without a folder each start waits 30 s for one", () => {
    expect(named("keycloak").tmpfs).toContainEqual(
      expect.stringMatching("^/opt/keycloak/data/transaction-logs:rw,"),
    );
  });

  it("PostgreSQL leaves Keycloak the lock that its first start holds in an idle transaction", () => {
    const { command = [] } = named("postgres");
    expect(command).toContain("-cidle_in_transaction_session_timeout=30s");
    expect(named("keycloak").environment?.KC_DB_URL).toMatch(
      /\?options=-c%20idle_in_transaction_session_timeout=15min$/,
    );
  });

  it("reads every secret from .env, and does not start without one", () => {
    for (const [name, { environment = {} }] of services) {
      for (const [variable, value] of Object.entries(environment)) {
        if (!/SECRET|PASSWORD/.test(variable)) continue;
        if (variable.endsWith("_PREVIOUS")) {
          // Only there while one is being replaced.
          expect([name, value]).toEqual([name, `\${${variable}:-}`]);
          continue;
        }
        expect([name, variable, value]).toEqual([
          name,
          variable,
          expect.stringMatching(/^\$\{[A-Z0-9_]+:\?[^}]+\}$/),
        ]);
      }
      for (const value of Object.values(environment)) {
        for (const [, password] of String(value).matchAll(/:\/\/[^/@:]*:([^@]*)@/g)) {
          expect([name, password]).toEqual([name, expect.stringMatching(/^\$\{[A-Z0-9_]+:\?[^}]+\}$/)]);
        }
      }
    }
  });

  it("gives each service only the settings that it needs", () => {
    for (const name of [...ours, "migrate"]) {
      const { environment = {} } = named(name);
      const unknown = Object.keys(environment).filter(
        (variable) => !(variable in settingsCatalogue) && variable !== "OTEL_SERVICE_NAME",
      );
      expect([name, unknown]).toEqual([name, []]);
    }
    const databases = ["orders", "partners", "notifications", "identity"];
    for (const name of ours) {
      const urls = Object.keys(named(name).environment ?? {}).filter((key) =>
        key.startsWith("POSTGRES_URL_"),
      );
      expect(urls).toEqual(databases.includes(name) ? [`POSTGRES_URL_${name.toUpperCase()}`] : []);
      expect(named(name).environment).toMatchObject({ NATS_USER: name, NODE_ENV: "production" });
    }
    // The process that makes the stream has a user of its own.
    expect(named("migrate").environment).toMatchObject({
      NATS_USER: "deploy",
      NATS_PASSWORD: expect.stringContaining("NATS_PASSWORD_DEPLOY"),
    });
    expect(named("gateway").environment).not.toHaveProperty("SEAL_SECRET");
    expect(named("partners").environment).not.toHaveProperty("HANDOVER_SECRET");
  });

  it("gives each service its own certificate and no other's key", () => {
    const environment = { GRPC_TLS_CERT: "/certificates/tls.crt", GRPC_TLS_KEY: "/certificates/tls.key" };
    for (const name of ours) {
      expect(named(name).environment).toMatchObject(environment);
      expect(named(name).volumes).toEqual([`certificates-${name}:/certificates:ro`]);
      expect(named(name).depends_on).toMatchObject(
        name === "gateway" ? {} : { certificates: { condition: "service_completed_successfully" } },
      );
    }
    const { command = [], network_mode } = named("certificates");
    expect(command.slice(-ours.length).sort()).toEqual([...ours].sort());
    expect(network_mode).toBe("none");
  });

  it("mounts only files that are there", () => {
    for (const [name, { volumes = [] }] of [...services, ...Object.entries(sandbox.services)]) {
      for (const volume of volumes) {
        const [source = ""] = volume.split(":");
        if (source.startsWith("./"))
          expect([name, source, existsSync(join(root, source))]).toEqual([name, source, true]);
        else expect(Object.keys({ ...compose.volumes, ...sandbox.volumes })).toContain(source);
      }
    }
  });
});

describe("docker-compose.sandbox.yml", () => {
  it("trusts only this machine, by a switch that production refuses", () => {
    for (const name of ["orders", "partners", "notifications"]) {
      expect(sandbox.services[name]?.environment).toMatchObject({ NODE_ENV: "development", SANDBOX: "true" });
    }
    expect(sandbox.services.gateway?.environment).toMatchObject({ SANDBOX: "false" });
  });

  it.each(Object.entries(sandbox.services))("%s is hardened like the others", (name, override) => {
    const service = merged(compose.services[name], override);
    expectHardened(name, service);
    expect(service.user).toMatch(/^[1-9]\d*:\d+$/);
  });

  it.each(Object.entries(sandbox.services).filter(([name]) => name in compose.services))(
    "%s has other settings or another port, and no other difference",
    (_name, override) => {
      expect(["environment", "ports"]).toEqual(expect.arrayContaining(Object.keys(override)));
    },
  );

  it("shares a network with one service only, and has no socket of the engine", () => {
    for (const [name, { network_mode, volumes = [] }] of Object.entries(sandbox.services)) {
      if (network_mode)
        expect([name, network_mode]).toEqual([name, expect.stringMatching(/^service:[a-z-]+$/)]);
      expect([name, volumes.filter((volume) => volume.startsWith("/"))]).toEqual([name, []]);
    }
    expect(JSON.stringify([compose, sandbox])).not.toContain("docker.sock");
  });

  it("publishes to this machine's loopback only", () => {
    const ports = Object.values(sandbox.services).flatMap((service) => service.ports ?? []);
    expect(ports.length).toBeGreaterThan(0);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
  });
});

describe("deploy/compose/make-env.sh", () => {
  it("makes every required password, new each time, readable by its owner only, and never overwrites others", () => {
    const folder = mkdtempSync(join(tmpdir(), "waybill-env-"));
    const make = (name: string) =>
      execFileSync("sh", [join(root, "deploy/compose/make-env.sh"), join(folder, name)], { stdio: "pipe" });
    const read = (name: string) =>
      Object.fromEntries(
        [...readFileSync(join(folder, name), "utf8").matchAll(/^([A-Z0-9_]+)=(.*)$/gm)].map(
          ([, key, value]) => [key as string, value as string],
        ),
      );
    try {
      make("one");
      make("two");
      expect(() => make("one")).toThrow(/exists already/);
      expect(statSync(join(folder, "one")).mode & 0o777).toBe(0o600);
      const [one, two] = [read("one"), read("two")];
      const required = [...text("docker-compose.yml").matchAll(/\$\{([A-Z0-9_]+):\?/g)].map(
        ([, name]) => name as string,
      );
      expect(new Set(required).size).toBeGreaterThan(20);
      for (const name of required) expect([name, one[name]]).toEqual([name, expect.stringMatching(/./)]);
      const secrets = Object.keys(one).filter((name) => /SECRET|PASSWORD/.test(name));
      const values = [...secrets.map((name) => one[name]), ...secrets.map((name) => two[name])];
      for (const value of values) expect(value).toMatch(/^[0-9a-f]{64}$/);
      expect(new Set(values).size).toBe(values.length);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
