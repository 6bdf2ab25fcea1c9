/**
 * `npm run test:cluster` brings up the servers and the cluster, says which versions answered, runs the tests of
 * jest.cluster.config.js against them and takes everything down again. Words behind it go to jest; where they name
 * files that need no platform, none is started:
 *   npm run test:cluster -- test/cluster/storage.spec.ts
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { binary, type ServerName } from "./binaries.ts";
import { type Cluster, startCluster } from "./cluster.ts";

const root = resolve(import.meta.dirname, "../..");
/** Built before anything is started: a build takes all cores, and what runs meanwhile would be late. */
const needed: readonly ServerName[] = [
  ...(["nats-server", "ferretdb", "mailpit", "minio", "keycloak", "redis-server", "stripe-mock"] as const),
];
const USES_PLATFORM = /support\/(?:cluster|platform)\.ts|(?:e2e|"\.)\/(?:client|traced)\.ts/;

const words = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "waybill-cluster-"));
const say = (line: string) => process.stdout.write(`${line}\n`);
const seconds = () => `${Math.round(performance.now() / 1000)} s`;
let cluster: Cluster | undefined;
let interrupted = false;
let running: ChildProcess | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // The servers must be stopped on a signal too, so a signal ends the run through `finally`.
  process.on(signal, () => {
    interrupted = true;
    running?.kill(signal);
  });
}

try {
  for (const name of needed) await binary(name);
  if (needsPlatform()) {
    say("Cluster: starting the servers and eight processes");
    cluster = await startCluster(folder);
    for (const version of cluster.places.versions) say(`  ${version}`);
    for (const { name, readyAfterMs } of cluster.places.processes)
      say(`  ${name} ready after ${readyAfterMs} ms`);
    say(`Cluster: ready after ${seconds()}`);
  }
  process.exitCode = interrupted ? 1 : await jest();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  await cluster?.stop();
  if (process.exitCode === 0 || interrupted) rmSync(folder, { recursive: true, force: true });
  else if (cluster) say(`What the processes printed is in ${folder}`);
  say(`Cluster: done after ${seconds()}`);
}

function needsPlatform(): boolean {
  const files = words.filter((word) => word.endsWith(".spec.ts"));
  return files.length === 0 || files.some((file) => USES_PLATFORM.test(readFileSync(file, "utf8")));
}

function jest(): Promise<number> {
  const env = cluster ? handedOver(cluster) : {};
  const child = spawn(
    process.execPath,
    [
      ...["--disable-warning=ExperimentalWarning", "--experimental-vm-modules"],
      ...["node_modules/jest/bin/jest.js", "--config", "jest.cluster.config.js", ...words],
    ],
    { cwd: root, stdio: "inherit", env: { ...process.env, ...env } },
  );
  running = child;
  return new Promise((done) => child.once("exit", (code) => done(code ?? 1)));
}

function handedOver({ places }: Cluster): Record<string, string> {
  const file = join(folder, "cluster.json");
  writeFileSync(file, JSON.stringify(places, undefined, 2), { mode: 0o600 });
  return {
    TEST_CLUSTER: file,
    TEST_KEYCLOAK_URL: places.keycloak.url,
    TEST_KEYCLOAK_ADMIN: places.keycloak.adminUser,
    TEST_KEYCLOAK_PASSWORD: places.keycloak.adminPassword,
  };
}
