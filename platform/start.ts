import { readSettings, SettingsError } from "../lib/settings/settings.ts";
import { FolderInUse } from "./folder-lock.ts";
import { launch, type Platform } from "./launch.ts";
import { stopTelemetry } from "./telemetry.ts";
import { inUse, welcome } from "./welcome.ts";

/** sysexits.h: something is wrong with the configuration. */
const EX_CONFIG = 78;
/** A terminal and npm both forward Ctrl-C, so a second signal within this time belongs to the first. */
const SAME_SIGNAL_MS = 1_000;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const print = (line: string) => console.log(line);
const printError = (line: string) => console.error(line);

async function main(): Promise<void> {
  const startedMs = performance.now();
  const secondsText = () => `${(performance.now() / 1000).toFixed(1)} s`.padStart(6);
  const config = readSettings(process.env);
  const starting = new AbortController();
  let platform: Platform | undefined;
  let stopping: Promise<void> | undefined;
  let signalledMs = 0;

  const stop = (exitCode: number) => {
    stopping ??= (async () => {
      starting.abort();
      await (await launched.catch(() => undefined))?.stop();
      await stopTelemetry();
      process.exit(exitCode);
    })();
  };
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      const nowMs = performance.now();
      if (stopping && nowMs - signalledMs < SAME_SIGNAL_MS) return;
      if (stopping) {
        printError("Stopped at once: running work was aborted.");
        void (platform?.kill() ?? Promise.resolve()).then(() => process.exit(130));
        return;
      }
      signalledMs = nowMs;
      print("\nStopping: running requests and messages are finished first.");
      stop(0);
    });
  }
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (error) => {
      printError(`An unhandled error stops the platform: ${(error as Error)?.stack ?? error}`);
      stop(1);
    });
  }

  const launched = launch(config, {
    signal: starting.signal,
    progress: (line) => print(`${secondsText()}  ${line}`),
  });
  platform = await launched.catch((error) => {
    if (!stopping) throw error;
    return undefined;
  });
  if (!platform || stopping) return await stopping;
  for (const line of welcome(platform.places, performance.now() - startedMs)) print(line);
}

/** Prints the error. @returns the exit code */
function exitCodeOf(error: unknown): number {
  if (error instanceof SettingsError) {
    for (const line of error.lines) printError(line);
    return EX_CONFIG;
  }
  if (error instanceof FolderInUse) {
    printError(inUse(process.env.DATA_DIR));
    return 1;
  }
  if ((error as Error).name !== "AbortError") printError((error as Error).message);
  return 1;
}

main().catch((error) => process.exit(exitCodeOf(error)));
