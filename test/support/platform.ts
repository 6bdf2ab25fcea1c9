import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Places } from "../../platform/launch.ts";
import { readSecrets } from "../../platform/secrets.ts";
import { cluster } from "./cluster.ts";
import { ACQUIRE_TIMEOUT_MS, REQUEST_TIMEOUT_MS } from "./postgres.ts";
import { exclusively, runFolder } from "./test-run.ts";
import { placesIn, type SpawnedAs, type StartedProcess, startWaybill } from "./waybill-process.ts";

const APART_START_TIMEOUT_MS = 150_000;
const STOP_TIMEOUT_MS = 10_000;

const patientEnvironment = {
  POSTGRES_ACQUIRE_TIMEOUT_MS: String(ACQUIRE_TIMEOUT_MS),
  REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS),
};

export interface TestPlatform {
  /** Its public URL, which signed callbacks are sent to. */
  url: string;
  /** Where else its API answers: the other gateways of a cluster. */
  alsoAt: readonly string[];
  sandboxUrl: string;
  /** Where its mails go, unless that is the sandbox's mailbox. */
  mailpitUrl?: string;
  opsUrl: string;
  dataDir: string;
  adminEmail: string;
  adminPassword: string;
}

export type StartedPlatform = TestPlatform & StartedProcess;

/**
 * The real platform, with all its services and the sandbox: started by the first file of a run that asks for it,
 * shared by all, stopped at the end of the run. Tests make their own users in it. It is one process, as of
 * `npm start`; in a run of jest.cluster.config.js it is the cluster.
 */
export async function platform(): Promise<TestPlatform> {
  if (process.env.TEST_TOPOLOGY === "cluster") return (await cluster()).platform;
  const dataDir = join(platformFolder(runFolder()), "data");
  if (existsSync(readyFile())) return placesOf(dataDir);
  return await exclusively("platform", async () => {
    // Once it did not start, it would not start for the other files either.
    if (existsSync(failedFile())) throw new Error(readFileSync(failedFile(), "utf8"));
    if (!existsSync(readyFile())) {
      const { pid } = await startPlatform(dataDir).catch((error: Error) => {
        writeFileSync(failedFile(), error.message);
        throw error;
      });
      writeFileSync(readyFile(), String(pid));
    }
    return placesOf(dataDir);
  });
}

/** Starts a platform of the test's own, as `npm start` does. @throws Error with what it printed if it ends early */
export async function startPlatform(
  dataDir: string,
  env: Record<string, string> = {},
  options: SpawnedAs = {},
): Promise<StartedPlatform> {
  const started = await startWaybill(dataDir, { ...patientEnvironment, ...env }, options);
  return { ...started, ...placesOf(dataDir) };
}

/** One for a test that changes banks and senders at will, which the others' orders would not survive. */
export async function platformApart(): Promise<StartedPlatform> {
  const folder = mkdtempSync(join(runFolder(), "apart-"));
  return await startPlatform(join(folder, "data"), {}, { timeoutMs: APART_START_TIMEOUT_MS });
}

/** Stops the shared platform of a run, if there is one. */
export async function stopPlatform(run: string): Promise<void> {
  const places = placesIn(join(platformFolder(run), "data"));
  if (!places) return;
  try {
    process.kill(places.pid, "SIGTERM");
    const deadline = Date.now() + STOP_TIMEOUT_MS;
    while (Date.now() < deadline) {
      await delay(20);
      process.kill(places.pid, 0);
    }
    process.kill(places.pid, "SIGKILL");
  } catch {
    // It has gone, which is what was wanted.
  }
}

export function platformFolder(run: string): string {
  return join(run, "platform");
}

const failedFile = () => join(platformFolder(runFolder()), "failed");
const readyFile = () => join(platformFolder(runFolder()), "ready");

function placesOf(dataDir: string): TestPlatform {
  const places = placesIn(dataDir) as Places;
  return {
    url: places.apiUrl,
    alsoAt: [],
    sandboxUrl: places.sandboxUrl ?? "",
    opsUrl: places.opsUrl,
    dataDir,
    adminEmail: places.adminEmail ?? "",
    adminPassword: readSecrets(dataDir).ADMIN_PASSWORD ?? "",
  };
}
