import { parseArgs } from "node:util";
import { typeOf } from "../../contracts/errors.ts";
import { fieldErrors } from "../../contracts/validation.ts";
import { type Command, type CommandCall, CommandError, masked } from "./command.ts";

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 100;

/** The options of a command as moleculer-repl and the help text need them. */
export const optionsOf = (command: Command) => [
  ...(command.options ?? []).map(({ name, value, description }) => ({
    option: `--${name} <${value}>`,
    description,
  })),
  { option: "--json", description: "prints one JSON document" },
  { option: "--limit <n>", description: `maximum number of rows (1 to ${MAX_LIMIT})` },
  ...(command.yes ? [{ option: "--yes", description: command.yes }] : []),
  ...(command.destroys ? [{ option: "--yes", description: "confirms a command that destroys data" }] : []),
];

export interface Output {
  print(text: string): void;
  printError(text: string): void;
}

export const consoleOutput: Output = { print: console.log, printError: console.error };

/**
 * Runs a command with its arguments.
 * @returns whether it succeeded. It prints one line for a failure
 */
export async function execute(
  command: Command,
  words: readonly string[],
  on: Pick<CommandCall, "broker" | "gauges"> & { output?: Output },
): Promise<boolean> {
  const { print, printError } = on.output ?? consoleOutput;
  try {
    const { values, args, given } = parse(command, words);
    if (values.help) {
      print(helpOf(command));
      return true;
    }
    const options = { limit: limitOf(values.limit), yes: values.yes === true };
    const call = { broker: on.broker, gauges: on.gauges, args, options, given, progress: printError };
    if (command.destroys && !values.yes) {
      const what = typeof command.destroys === "string" ? command.destroys : await command.destroys(call);
      if (what !== undefined) throw new CommandError(`this destroys ${what}: repeat it with --yes`);
    }
    const answer = await command.run(call);
    print(values.json ? JSON.stringify(masked(answer.json), undefined, 2) : answer.text);
    return true;
  } catch (error) {
    printError(`error: ${problem(error)}`);
    return false;
  }
}

export function helpOf(command: Command): string {
  const options = optionsOf(command).map(({ option, description }) => `  ${option.padEnd(20)}${description}`);
  return [command.usage, `  ${command.about}.`, "", ...options, "", "Example:", `  ${command.example}`].join(
    "\n",
  );
}

function parse(command: Command, words: readonly string[]) {
  const own = (command.options ?? []).map(({ name }) => name);
  const names = [...command.usage.matchAll(/[<[](\w+)[>\]]/g)].map(([, name]) => name as string);
  const required = [...command.usage.matchAll(/<\w+>/g)].length;
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({
      args: [...words],
      allowPositionals: true,
      options: {
        json: { type: "boolean" },
        yes: { type: "boolean" },
        limit: { type: "string" },
        ...Object.fromEntries(own.map((name) => [name, { type: "string" as const }])),
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new CommandError((error as Error).message.split(". ")[0] as string);
  }
  const { values, positionals } = parsed;
  const isComplete = positionals.length >= required && positionals.length <= names.length;
  if (!isComplete && !values.help) throw new CommandError(`usage: ${command.usage}`);
  const args = Object.fromEntries(names.map((name, index) => [name, positionals[index]]));
  const given = own.flatMap((name) => (typeof values[name] === "string" ? [[name, values[name]]] : []));
  return { values, args, given: Object.fromEntries(given) as Record<string, string> };
}

function limitOf(text: unknown): number {
  if (text === undefined) return DEFAULT_LIMIT;
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new CommandError(`--limit takes a whole number from 1 to ${MAX_LIMIT}`);
  }
  return limit;
}

function problem(error: unknown): string {
  if (error instanceof CommandError) return error.message;
  const { message, data } = error as Error & { data?: unknown };
  if (typeOf(error) === "NOT_FOUND") return "there is none with this id";
  // A VALIDATION_ERROR of an action lists the invalid parameters.
  if (typeOf(error) !== "VALIDATION_ERROR" || !Array.isArray(data)) return message;
  return fieldErrors(data)
    .map(({ field, message: wrong }) => `${field}: ${wrong}`)
    .join(" ");
}
