import { clearRun } from "./global-setup.ts";
import { runFolder } from "./test-run.ts";

export default async function globalTeardown(): Promise<void> {
  await clearRun(runFolder());
}
