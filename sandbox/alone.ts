/**
 * The sandbox as a program of its own, beside a platform that runs elsewhere: `node sandbox/alone.ts`, told by
 * PUBLIC_URL where the platform is and by ADMIN_EMAIL and ADMIN_PASSWORD as whom to set up its world there.
 */
import { setTimeout as delay } from "node:timers/promises";
import { readConfig } from "../lib/config/config.ts";
import { startSandbox } from "./index.ts";

const POLL_MS = 500;
/** A platform that is not there by then is looked for by whoever started this. */
const PATIENCE_MS = 120_000;

const config = readConfig(process.env, { needs: false });
const { PUBLIC_URL } = config;
if (!PUBLIC_URL) throw new Error("PUBLIC_URL must be set: where the platform is");

const sandbox = await startSandbox({ config: { ...config, PUBLIC_URL } });
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => void sandbox.stop().then(() => process.exit(0)));
}

const deadline = Date.now() + PATIENCE_MS;
while (!(await answers(PUBLIC_URL))) {
  if (Date.now() > deadline) throw new Error(`Nobody answers at ${PUBLIC_URL}`);
  await delay(POLL_MS);
}
await sandbox.seed();
process.stdout.write(`The sandbox is ready: ${sandbox.urls.index}\n`);

async function answers(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/openapi.json`, { signal: AbortSignal.timeout(2_000) }).catch(
    () => undefined,
  );
  await answer?.body?.cancel();
  return answer?.ok ?? false;
}
