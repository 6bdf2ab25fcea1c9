import { readSettings, SettingsError } from "../lib/settings/settings.ts";
import { FolderInUse } from "./folder-lock.ts";
import { launch, type Platform } from "./launch.ts";
import { stopTelemetry } from "./telemetry.ts";
import { inUse, welcome } from "./welcome.ts";

/** sysexits.h: something is wrong with the configuration. */
const EX_CONFIG = 78;
/** A terminal and npm both pass Ctrl-C on, so the second signal is no second wish until this time is over. */
const SAME_WISH_MS = 1_000;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const say = (line: string) => console.log(line);
const complain = (line: string) => console.error(line);

async function main(): Promise<void> {
  const startedMs = performance.now();
  const secondsText = () => `${(performance.now() / 1000).toFixed(1)} s`.padStart(6);
  const config = readSettings(process.env);
  const starting = new AbortController();
  let platform: Platform | undefined;
  let stopping: Promise<void> | undefined;
  let wishedMs = 0;

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
      if (stopping && nowMs - wishedMs < SAME_WISH_MS) return;
      if (stopping) {
        complain("Stopped at once: running work was cut off.");
        void (platform?.kill() ?? Promise.resolve()).then(() => process.exit(130));
        return;
      }
      wishedMs = nowMs;
      say("\nStopping: running requests and messages are finished first.");
      stop(0);
    });
  }
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (error) => {
      complain(`An error that nobody handled stops the platform: ${(error as Error)?.stack ?? error}`);
      stop(1);
    });
  }

  const launched = launch(config, {
    signal: starting.signal,
    progress: (line) => say(`${secondsText()}  ${line}`),
  });
  platform = await launched.catch((error) => {
    if (!stopping) throw error;
    return undefined;
  });
  if (!platform || stopping) return await stopping;
  for (const line of welcome(platform.places, performance.now() - startedMs)) say(line);
}

function explain(error: unknown): number {
  if (error instanceof SettingsError) {
    for (const line of error.lines) complain(line);
    return EX_CONFIG;
  }
  if (error instanceof FolderInUse) {
    complain(inUse(process.env.DATA_DIR));
    return 1;
  }
  if ((error as Error).name !== "AbortError") complain((error as Error).message);
  return 1;
}

main().catch((error) => process.exit(explain(error)));
