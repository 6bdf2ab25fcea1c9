/**
 * `npm run repl` joins the platform that runs on DATA_DIR. On a terminal it is a session; with words behind it
 * (`npm run repl -- orders stuck`) or with lines on its standard input it runs those and ends, with an exit code
 * other than 0 when one of them failed.
 */
import { catalogue } from "../../lib/config/catalogue.ts";
import { ConfigError, readConfig } from "../../lib/config/config.ts";
import type { Setting } from "../../lib/config/setting.ts";
import { connectToPlatform, NotRunning } from "../control/client.ts";
import { dataDirOf } from "../settings.ts";
import { operatorBroker } from "./operator-broker.ts";
import { customCommands, linesOfStdin, runLines, type Session } from "./shell.ts";

const EX_UNAVAILABLE = 69;
const EX_CONFIG = 78;

async function main(): Promise<number> {
  const dataDir = dataDirOf(readConfig(process.env, { needs: false }));
  hideSecrets();
  const platform = await connectToPlatform(dataDir);
  const session: Session = {
    platform,
    broker: await operatorBroker(
      platform,
      customCommands(() => session),
    ),
  };
  let leaving = false;
  platform.onLost(() => {
    if (leaving) return;
    console.error("The platform has stopped.");
    process.exit(EX_UNAVAILABLE);
  });
  const words = process.argv.slice(2);
  if (words.length === 0 && process.stdin.isTTY) {
    console.log('Operator of this machine. "help" lists the commands, Ctrl-D leaves.');
    session.broker.repl();
    return await new Promise<never>(() => undefined);
  }
  const succeeded = await runLines(words.length > 0 ? oneLine(words) : linesOfStdin(), session);
  leaving = true;
  await session.broker.stop();
  platform.close();
  return succeeded ? 0 : 1;
}

/** A command may come as one quoted text or as words, which are quoted again for the parser of lines. */
async function* oneLine(words: readonly string[]): AsyncIterable<string> {
  yield words.length === 1
    ? (words[0] as string)
    : words.map((word) => (/^[\w./:=-]+$/.test(word) ? word : `'${word}'`)).join(" ");
}

/** Moleculer's `env` prints the whole environment. */
function hideSecrets(): void {
  for (const [name, setting] of Object.entries<Setting<unknown>>(catalogue)) {
    const hidden = setting.secret || /_URL(_|$)/.test(name);
    if (hidden && process.env[name]) process.env[name] = "***";
  }
}

main().then(
  (code) => process.exit(code),
  (error) => {
    const lines = error instanceof ConfigError ? error.lines : [(error as Error).message];
    for (const line of lines) console.error(line);
    process.exit(error instanceof ConfigError ? EX_CONFIG : error instanceof NotRunning ? EX_UNAVAILABLE : 1);
  },
);
