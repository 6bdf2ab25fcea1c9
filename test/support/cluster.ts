import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { ClusterPlaces } from "../servers/cluster.ts";
import { eventually } from "./eventually.ts";
import type { TestPlatform } from "./platform.ts";
import { exclusively, runFolder } from "./test-run.ts";

const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 20_000;
const PROGRAM = fileURLToPath(new URL("../servers/cluster.ts", import.meta.url));

export interface TestCluster extends ClusterPlaces {
  /** As a client of the public API sees it. */
  platform: TestPlatform;
}

/**
 * The cluster that TEST_CLUSTER names, or one of this run, which the first file starts that asks for it: a process of
 * its own keeps it up until the run's end.
 */
export async function cluster(): Promise<TestCluster> {
  const given = process.env.TEST_CLUSTER;
  if (given) return read(given);
  return await exclusively("cluster", async () => {
    const folder = clusterFolder(runFolder());
    const file = join(folder, "cluster.json");
    if (!existsSync(file)) await start(folder, file);
    return read(file);
  });
}

async function start(folder: string, file: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const logFile = join(folder, "cluster.log");
  const log = openSync(logFile, "a");
  const child = spawn(process.execPath, [PROGRAM, folder], { detached: true, stdio: ["ignore", log, log] });
  closeSync(log);
  child.unref();
  await eventually(
    () => {
      if (child.exitCode === null && !existsSync(file)) throw new Error("the cluster is not there yet");
    },
    { timeoutMs: START_TIMEOUT_MS },
  );
  if (!existsSync(file)) throw new Error(`the cluster did not start:\n${readFileSync(logFile, "utf8")}`);
}

/** Stops the cluster that a file of this run has started, if one has. */
export async function stopCluster(run: string): Promise<void> {
  const file = join(clusterFolder(run), "cluster.json");
  if (!existsSync(file)) return;
  const { pid } = JSON.parse(readFileSync(file, "utf8")) as { pid: number };
  try {
    process.kill(pid, "SIGTERM");
    const deadline = Date.now() + STOP_TIMEOUT_MS;
    while (Date.now() < deadline) {
      await delay(20);
      process.kill(pid, 0);
    }
    process.kill(pid, "SIGKILL");
  } catch {
    // It has gone, which is what was wanted.
  }
}

function clusterFolder(run: string): string {
  return join(run, "cluster");
}

function read(file: string): TestCluster {
  const places = JSON.parse(readFileSync(file, "utf8")) as ClusterPlaces;
  const [url = "", ...alsoAt] = places.gateways;
  const { sandboxUrl, mailpitUrl, adminEmail, adminPassword } = places;
  const opsUrl = places.processes[0]?.opsUrl ?? "";
  return {
    ...places,
    platform: {
      ...{ url, alsoAt, opsUrl, sandboxUrl, mailpitUrl },
      ...{ adminEmail, adminPassword, dataDir: join(file, "..") },
    },
  };
}
