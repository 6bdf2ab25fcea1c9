/**
 * `npm run test:containers`: builds the image, starts docker-compose.yml with its sandbox, looks at what runs, and
 * takes the scenarios through it by the published port. It needs root and Debian's docker.io, docker-compose,
 * debootstrap and iptables, and no registry: without --registry the digests that the files pin are removed for the run,
 * and stand-ins.ts makes images under the remaining names. With --registry the images are those that the files name.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { parse } from "yaml";
import { isPortFree } from "../../platform/free-port.ts";
import { eventually } from "../support/eventually.ts";
import { startEngine } from "./engine.ts";
import { LEAST_PORT, shareLoopback } from "./host-loopback.ts";
import { inspectCluster, inspectImages, inspectStore, stopsInTime } from "./inspect.ts";
import { makeStandIns, standInOverrides } from "./stand-ins.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const FILES = ["docker-compose.yml", "docker-compose.sandbox.yml"].map((file) => join(root, file));
/** Keycloak's first start on two cores, and everything that waits for it. */
const READY_TIMEOUT_MS = 600_000;
const PORT_FROM = 8_100;

const { values: wants } = parseArgs({
  options: {
    registry: { type: "boolean" },
    keep: { type: "boolean" },
    tests: { type: "string", multiple: true },
  },
});

const beganMs = performance.now();
const say = (line: string) =>
  process.stdout.write(`${((performance.now() - beganMs) / 1000).toFixed(1).padStart(6)} s  ${line}\n`);

const folder = mkdtempSync(join(tmpdir(), "waybill-containers-"));
const undo: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
let failed = false;
const clearAway = async () => {
  for (let step = wants.keep ? undefined : undo.pop(); step; step = undo.pop()) await step();
};
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void clearAway().then(() => process.exit(130)));
}
try {
  await main();
} catch (error) {
  failed = true;
  process.stderr.write(`${(error as Error).stack}\n`);
}
await clearAway();
process.exit(failed ? 1 : 0);

async function main(): Promise<void> {
  const engine = await startEngine();
  undo.push(() => engine.stop());
  say(`Docker ${engine.version}`);
  const files = [...FILES];
  if (!wants.registry) {
    say("stand-ins: the digests of third-party images are removed for this run");
    await makeStandIns(engine, say);
    for (const file of FILES) {
      const overrides = join(folder, `stand-ins-${basename(file)}`);
      writeFileSync(overrides, standInOverrides(file));
      files.push(overrides);
    }
  }

  const env = await settings();
  const named = files.flatMap((file) => ["--file", file]);
  const compose = (...words: string[]) =>
    engine.compose(["--env-file", join(folder, ".env"), ...named, ...words], { cwd: root, env });
  const buildBeganMs = performance.now();
  // Every service has the image of the first.
  await compose("build", "keycloak", "minio", "gateway", "sandbox");
  const image = `waybill:${env.WAYBILL_VERSION}`;
  const { stdout: bytes } = await engine.docker("image", "inspect", "--format", "{{.Size}}", image);
  say(
    `${image}: ${Math.round(Number(bytes) / 1e6)} MB, built in ${Math.round((performance.now() - buildBeganMs) / 1000)} s`,
  );

  const images = {
    services: image,
    sandbox: `waybill-sandbox:${env.WAYBILL_VERSION}`,
    minio: parse(readFileSync(join(root, "docker-compose.yml"), "utf8"), { merge: true }).services.minio
      .image,
  };
  await inspectImages(engine, images, say);

  undo.push(async () => {
    if (failed) process.stderr.write(`${(await compose("logs", "--no-color", "--tail", "60")).stdout}\n`);
    await compose("down", "--volumes", "--timeout", "15");
  });
  const upBeganMs = performance.now();
  await compose("up", "--detach");
  const api = `http://127.0.0.1:${env.API_PORT}`;
  const sandbox = `http://127.0.0.1:${env.SANDBOX_PORT}`;
  await eventually(
    async () => {
      const { stdout } = await compose("logs", "--no-color", "sandbox");
      if (!stdout.includes("The sandbox is ready")) throw new Error("the sandbox is not ready");
    },
    { timeoutMs: READY_TIMEOUT_MS },
  );
  say(`up after ${Math.round((performance.now() - upBeganMs) / 1000)} s: ${api}/docs/ and ${sandbox}/`);

  const containers = await inspectCluster(engine, compose, say);
  for (const [service, { pid }] of Object.entries(containers)) {
    if (!["orders", "partners", "notifications"].includes(service)) continue;
    const network = `${env.COMPOSE_PROJECT_NAME}_outside`;
    const format = "{{.Id}} {{(index .IPAM.Config 0).Gateway}}";
    const { stdout } = await engine.docker("network", "inspect", "--format", format, network);
    const [id = "", gateway = ""] = stdout.trim().split(" ");
    undo.push(await shareLoopback({ pid, gateway, bridge: `br-${id.slice(0, 12)}` }));
  }
  const { stdout: versions } = await compose("images");
  process.stdout.write(`${versions}\n`);

  await scenarios(api, sandbox, env);
  if (!wants.tests) await inspectStore(compose, say);
  await stopsInTime(engine, compose, say);
}

/** Passwords as an operator makes them, and ports that are free here. */
async function settings(): Promise<Record<string, string>> {
  const ports: string[] = [];
  for (let port = PORT_FROM; ports.length < 5 && port < LEAST_PORT; port++) {
    if (await isPortFree(port, "127.0.0.1")) ports.push(String(port));
  }
  const [api = "", mail = "", grafana = "", jaeger = "", sandbox = ""] = ports;
  const { status } = await finished("sh", ["deploy/compose/make-env.sh", join(folder, ".env")], {});
  if (status !== 0) throw new Error("make-env.sh failed");
  const own = {
    COMPOSE_PROJECT_NAME: `waybill${process.pid}`,
    COMPOSE_PROFILES: "core",
    // A platform that runs on this machine has the other one.
    EDGE_SUBNET: "10.213.78.0/28",
    WAYBILL_VERSION: "under-test",
    PUBLIC_URL: `http://127.0.0.1:${api}`,
    API_PORT: api,
    MAIL_PORT: mail,
    GRAFANA_PORT: grafana,
    JAEGER_PORT: jaeger,
    SANDBOX_PORT: sandbox,
  };
  const made = Object.fromEntries(
    readFileSync(join(folder, ".env"), "utf8")
      .split("\n")
      .filter((line) => /^[A-Z0-9_]+=/.test(line))
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
  return { ...made, ...own };
}

async function scenarios(api: string, sandboxUrl: string, env: Record<string, string>): Promise<void> {
  const file = join(folder, "cluster.json");
  mkdirSync(join(folder, "run"));
  const places = {
    gateways: [api],
    sandboxUrl,
    adminEmail: env.ADMIN_EMAIL,
    adminPassword: env.ADMIN_PASSWORD,
    versions: [],
    processes: [],
    env: {},
  };
  writeFileSync(file, JSON.stringify(places));
  const jest = join(root, "node_modules/jest/bin/jest.js");
  const files = wants.tests ?? ["test/e2e/scenario-[1-8].spec.ts"];
  const words = [
    "--experimental-vm-modules",
    jest,
    "--forceExit",
    "--config",
    join(root, "jest.cluster.config.js"),
    ...files,
  ];
  const { status } = await finished(process.execPath, words, {
    TEST_CLUSTER: file,
    NODE_OPTIONS: "--disable-warning=ExperimentalWarning",
  });
  if (status !== 0) throw new Error("the scenarios failed against the containers");
  say("the scenarios passed by the published port");
}

function finished(
  file: string,
  words: string[],
  env: Record<string, string>,
): Promise<{ status: number | null }> {
  const child = spawn(file, words, { cwd: root, stdio: "inherit", env: { ...process.env, ...env } });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (status) => resolve({ status }));
  });
}
