/**
 * `npm run repl`: the operator's console. It connects over NATS if NATS_URL is set, otherwise to the platform that runs on
 * DATA_DIR. On a terminal it starts a session. With a command as arguments (`npm run repl -- orders stuck`) or with lines
 * on standard input it runs them and exits; the exit code is not 0 if one of them failed. In a cluster it signs in with
 * ADMIN_EMAIL and ADMIN_PASSWORD, or asks for them.
 */
import { settingsCatalogue } from "../../lib/settings/catalogue.ts";
import type { Setting } from "../../lib/settings/setting.ts";
import { readSettings, SettingsError } from "../../lib/settings/settings.ts";
import { askFor } from "../commands/ask.ts";
import { NotRunning } from "../control/client.ts";
import { type Joined, joinCluster, joinHere } from "./join.ts";
import { customCommands, linesOfStdin, runLines } from "./shell.ts";

const EX_UNAVAILABLE = 69;
const EX_CONFIG = 78;
/** As in a shell: 128 plus the number of the signal. */
const SIGNAL_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

async function main(): Promise<number> {
  const { ADMIN_EMAIL, ADMIN_PASSWORD, ...env } = process.env;
  const config = readSettings(env, { checkRequired: false });
  const { NATS_URL } = config;
  hideSecrets();
  const commands = customCommands(() => platform);
  const account = async () => ({
    email: ADMIN_EMAIL || (await askFor("Admin's e-mail: ", { hidden: false })),
    password: ADMIN_PASSWORD || (await askFor("Password: ")),
  });
  const platform: Joined = NATS_URL
    ? await joinCluster({ ...config, NATS_URL }, account, commands)
    : await joinHere(config, commands);
  // Disconnects explicitly, so that other nodes need not wait for the heartbeat timeout.
  for (const [signal, code] of Object.entries(SIGNAL_CODES)) {
    process.once(signal, () => void platform.leave().finally(() => process.exit(code)));
  }
  platform.onLost(() => {
    console.error("The platform has stopped.");
    process.exit(EX_UNAVAILABLE);
  });
  const words = process.argv.slice(2);
  if (words.length === 0 && process.stdin.isTTY) {
    // Asks for the account before the session uses the terminal.
    if (NATS_URL) await platform.broker.call("orders.listBanks", {});
    const where = NATS_URL ? `the cluster at ${new URL(NATS_URL).host}` : "this machine";
    console.log(`Operator of ${where}. "help" lists the commands, Ctrl-D leaves.`);
    platform.broker.repl();
    return await new Promise<never>(() => undefined);
  }
  try {
    return (await runLines(words.length > 0 ? oneLine(words) : linesOfStdin(), platform)) ? 0 : 1;
  } finally {
    await platform.leave();
  }
}

/** A command may come as one quoted text or as words, which are quoted again for the parser of lines. */
async function* oneLine(words: readonly string[]): AsyncIterable<string> {
  yield words.length === 1
    ? (words[0] as string)
    : words.map((word) => (/^[\w./:=-]+$/.test(word) ? word : `'${word}'`)).join(" ");
}

/** Moleculer's `env` prints the whole environment. */
function hideSecrets(): void {
  for (const [name, setting] of Object.entries<Setting<unknown>>(settingsCatalogue)) {
    const hidden = setting.secret || /_URL(_|$)/.test(name);
    if (hidden && process.env[name]) process.env[name] = "***";
  }
}

main().then(
  (code) => process.exit(code),
  (error) => {
    const lines = error instanceof SettingsError ? error.lines : [(error as Error).message];
    for (const line of lines) console.error(line);
    process.exit(
      error instanceof SettingsError ? EX_CONFIG : error instanceof NotRunning ? EX_UNAVAILABLE : 1,
    );
  },
);
