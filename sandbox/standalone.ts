/**
 * The sandbox as a program of its own, beside a platform that runs elsewhere: `node sandbox/standalone.ts`, told by
 * PUBLIC_URL where the platform is and by ADMIN_EMAIL and ADMIN_PASSWORD as whom to set up its world there.
 */
import { setTimeout as delay } from "node:timers/promises";
import { readSettings } from "../lib/settings/settings.ts";
import { startSandbox } from "./index.ts";

const PAUSE_MS = 2_000;
const PROBE_TIMEOUT_MS = 2_000;

const config = readSettings(process.env, { needs: false });
const { PUBLIC_URL } = config;
if (!PUBLIC_URL) throw new Error("PUBLIC_URL must be set: where the platform is");

const sandbox = await startSandbox({ config: { ...config, PUBLIC_URL } });
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => void sandbox.stop().then(() => process.exit(0)));
}

// The platform may come later, or be busy with its own start: what was set up by then is found again.
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
