import { typeOf } from "../../contracts/errors.ts";
import { SettingsError } from "../../lib/settings/settings.ts";
import { NotRunning } from "../control/client.ts";
import { FolderInUse } from "../folder-lock.ts";
import { inUse } from "../welcome.ts";

/** sysexits.h */
const EX_USAGE = 64;
const EX_UNAVAILABLE = 69;
const EX_CONFIG = 78;

/** The command line is wrong. The message shows the right usage. */
export class UsageError extends Error {}

/** Runs a script of package.json. Prints each error in one line and sets the exit code. */
export function runCommand(work: () => Promise<void>): void {
  work().then(
    () => process.exit(0),
    (error: Error) => {
      if (error instanceof SettingsError) for (const line of error.lines) console.error(line);
      else if (error instanceof FolderInUse) console.error(inUse(process.env.DATA_DIR));
      else console.error(error.message);
      process.exit(codeOf(error));
    },
  );
}

function codeOf(error: Error): number {
  if (error instanceof UsageError) return EX_USAGE;
  if (error instanceof SettingsError) return EX_CONFIG;
  return error instanceof NotRunning || typeOf(error) === "SERVICE_UNAVAILABLE" ? EX_UNAVAILABLE : 1;
}
