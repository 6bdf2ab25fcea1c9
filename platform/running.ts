import { readFileSync } from "node:fs";
import { join } from "node:path";
import { connectToPlatform, NotRunning } from "./control/client.ts";
import type { Places } from "./launch.ts";

/**
 * Addresses of the platform that runs on a data folder. Asks its control socket first, because platform.json of a killed
 * platform remains, and another platform may use its ports.
 * @throws NotRunning when no platform runs or it is not ready yet
 */
export async function runningPlaces(dataDir: string): Promise<Places> {
  const platform = await connectToPlatform(dataDir);
  const { ready } = await platform.request("hello", {});
  platform.close();
  if (!ready)
    throw new NotRunning(`the platform on ${dataDir} is still starting: repeat this when it is ready`);
  return JSON.parse(readFileSync(join(dataDir, "platform.json"), "utf8")) as Places;
}

/** The same for a program of the sandbox. @throws NotRunning also when the platform has no sandbox */
export async function runningSandbox(dataDir: string): Promise<{ apiUrl: string; sandboxUrl: string }> {
  const { apiUrl, sandboxUrl } = await runningPlaces(dataDir);
  if (!sandboxUrl) {
    throw new NotRunning(`the platform on ${dataDir} runs without its sandbox: start it with SANDBOX=true`);
  }
  return { apiUrl, sandboxUrl };
}
