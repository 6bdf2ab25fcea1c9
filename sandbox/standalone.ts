/**
 * The sandbox as a program for a platform on another machine: `node sandbox/standalone.ts`. PUBLIC_URL is the URL of the
 * platform; ADMIN_EMAIL and ADMIN_PASSWORD are the account for the set-up.
 */
import { setTimeout as delay } from "node:timers/promises";
import { readSettings } from "../lib/settings/settings.ts";
import { startSandbox } from "./index.ts";

const PAUSE_MS = 2_000;
const PROBE_TIMEOUT_MS = 2_000;

const config = readSettings(process.env, { checkRequired: false });
const { PUBLIC_URL } = config;
if (!PUBLIC_URL) throw new Error("PUBLIC_URL must be set to the URL of the platform");

const sandbox = await startSandbox({ config: { ...config, PUBLIC_URL } });
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => void sandbox.stop().then(() => process.exit(0)));
}

// The platform may start later or be busy. The seed is idempotent, so it is repeated until it succeeds.
for (;;) {
  try {
    await expectAnswer(PUBLIC_URL);
    await sandbox.seed();
    break;
  } catch (error) {
    process.stderr.write(`The sandbox waits for the platform: ${(error as Error).message}\n`);
    await delay(PAUSE_MS);
  }
}
process.stdout.write(`The sandbox is ready: ${sandbox.urls.index}\n`);

async function expectAnswer(url: string): Promise<void> {
  const answer = await fetch(`${url}/openapi.json`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
  await answer.body?.cancel();
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
}
