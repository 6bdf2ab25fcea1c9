/** `npm run clean -- --yes` removes the data folder with its content. It refuses if a platform runs on it. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readSettings } from "../../lib/settings/settings.ts";
import { lockFolder } from "../folder-lock.ts";
import { stopPostgres } from "../postgres-process.ts";
import { dataDirOf } from "../settings.ts";
import { runCommand, UsageError } from "./command.ts";

/** A folder without any of these is not a data folder of Waybill. */
const OURS = ["postgres", "secrets.json", "postgres.half", "platform.lock"];

runCommand(async () => {
  const dataDir = dataDirOf(readSettings(process.env, { checkRequired: false }));
  const { values } = parseArgs({ options: { yes: { type: "boolean" } }, strict: false });
  if (!existsSync(dataDir)) {
    console.log(`There is no ${dataDir}.`);
    return;
  }
  if (!OURS.some((name) => existsSync(join(dataDir, name)))) {
    throw new Error(`${dataDir} does not look like a data folder of Waybill: nothing was removed.`);
  }
  if (values.yes !== true) {
    throw new UsageError(`This removes ${dataDir} with all orders and users: npm run clean -- --yes`);
  }
  const unlock = lockFolder(dataDir);
  await stopPostgres(dataDir, "SIGQUIT");
  rmSync(dataDir, { recursive: true });
  unlock();
  console.log(`Removed ${dataDir}.`);
});
