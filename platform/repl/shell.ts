import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import type { ServiceBroker } from "moleculer";
import { type CommandProgram, replProgram } from "../../mixins/transporter/moleculer-internals.ts";
import type { Command } from "./command.ts";
import { commands } from "./commands.ts";
import { execute, helpOf, optionsOf } from "./execute.ts";
import type { Joined } from "./join.ts";

const require = createRequire(import.meta.url);
const { parseArgsStringToArgv } = require("string-argv") as {
  parseArgsStringToArgv(line: string): string[];
};
const WHOLE_ID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/;
/** Codes of the errors that commander throws after it has printed a help text. */
const HELP_CODES = new Set(["commander.helpDisplayed", "commander.help"]);

/** Our commands in the format of moleculer-repl, for a session on a terminal. */
export function customCommands(session: () => Session): unknown[] {
  return commands.map((command) => ({
    command: command.usage,
    description: `${command.about}: ${command.example.replace(WHOLE_ID, "0199c1a2-…")}`,
    options: optionsOf(command),
    action: async (_broker: unknown, { rawCommand }: { rawCommand: string }) => {
      await execute(command, parseArgsStringToArgv(rawCommand).slice(1), session());
    },
  }));
}

/** The platform on which commands run. */
export type Session = Pick<Joined, "broker" | "gauges">;

/**
 * Runs lines of commands without a terminal, ours and Moleculer's own.
 * @returns whether all of them succeeded; the lines after a failure are run all the same
 */
export async function runLines(lines: AsyncIterable<string>, session: Session): Promise<boolean> {
  const program = replProgram(session.broker);
  let succeeded = true;
  for await (const line of lines) {
    const words = parseArgsStringToArgv(line);
    if (words.length === 0 || line.trimStart().startsWith("#")) continue;
    if (!(await runWords(words, session, program))) succeeded = false;
  }
  return succeeded;
}

export function linesOfStdin(): AsyncIterable<string> {
  return createInterface({ input: process.stdin, terminal: false });
}

async function runWords(words: string[], session: Session, program: CommandProgram): Promise<boolean> {
  const [name, ...rest] = words;
  if (name === "exit" || name === "quit" || name === "q") return true;
  const command = commands.find(({ usage }) => usage.split(" ")[0] === name);
  if (command) return await execute(command, rest, session);
  if (name === "help") {
    const asked = commands.find(({ usage }) => usage.split(" ")[0] === rest[0]);
    if (asked) console.log(helpOf(asked));
    else console.log(overview(commands));
    if (asked) return true;
  }
  return await runMoleculers(words, program, session.broker);
}

function overview(all: readonly Command[]): string {
  const lines = all.map(({ usage, about }) => `  ${usage.padEnd(29)}${about}`);
  return ["Waybill's commands (help <command> shows an example):", ...lines, "", "Moleculer's own:"].join(
    "\n",
  );
}

async function runMoleculers(
  words: string[],
  program: CommandProgram,
  broker: ServiceBroker,
): Promise<boolean> {
  let failed = false;
  const watch = { call: broker.call };
  broker.call = ((...args: Parameters<typeof watch.call>) =>
    watch.call.apply(broker, args).catch((error: unknown) => {
      failed = true;
      throw error;
    })) as typeof broker.call;
  try {
    await program.parseAsync(["node", "waybill", ...words]);
    return !failed;
  } catch (error) {
    return HELP_CODES.has((error as { code?: string }).code ?? "");
  } finally {
    broker.call = watch.call;
  }
}
