import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createContext, runInContext } from "node:vm";
import { describe, expect, it } from "@jest/globals";
import { httpUrl, httpUrlOrEmpty } from "../../contracts/schema.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const FOLDERS = ["contracts", "lib", "mixins", "packages", "platform", "providers", "services"];
/** A quadratic expression needs seconds for this length, a linear one a fraction of a millisecond. */
const LENGTH = 16_000;
const MAX_MS = 60;
/** Exponential ones are broken off here. */
const CUT_OFF_MS = 2_000;
const TRIES = 3;

/** Literals of regular expressions: behind what no division can stand behind. */
const LITERAL =
  /(?<=(?:^|[=(,:[!&|?{};]|=>|\breturn)\s*)\/((?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)\/([dgimsuvy]*)(?=\s*[.,;)\]}:?&|]|\s*$)/gm;

function expressionsIn(folder: string): [name: string, expression: RegExp][] {
  const files = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) => {
      const source = readFileSync(join(root, folder, file), "utf8").replace(
        /^\s*(?:\*|\/\*\*|\/\/).*$/gm,
        "",
      );
      return [...source.matchAll(LITERAL)].map(([text, pattern = "", flags]): [string, RegExp] => [
        `${folder}/${file} ${text}`,
        new RegExp(pattern, flags?.replace(/[gy]/g, "")),
      ]);
    });
}

const expressions: [name: string, expression: RegExp][] = [
  ...FOLDERS.flatMap(expressionsIn),
  // Put together of parts, which no literal shows.
  ["contracts/schema.ts httpUrl", httpUrl.pattern],
  ["contracts/schema.ts httpUrlOrEmpty", httpUrlOrEmpty.pattern],
];

/** One character for each thing that the expression speaks of, beside some that mean something everywhere. */
function alphabetOf({ source }: RegExp): string[] {
  const classes: [RegExp, string][] = [
    [/\\d/, "0"],
    [/\\w|\\p\{L/, "a"],
    [/\\s/, " "],
    [/\\p\{M/, "\u0301"],
    [/\\p\{Cc|\\n/, "\n"],
    [/\\p\{P/, "!"],
    [/\\x21/, "!"],
  ];
  const ranges = [...source.matchAll(/([0-9a-zA-Z])-([0-9a-zA-Z])/g)].map(([, from]) => from as string);
  const literal = source
    .replace(/\\[pP]\{\w+\}|\\[dDwWsSbB]|\\x[0-9a-f]{2}|\(\?<?[:=!]/g, "")
    .match(/[\w "'#%&,/:;<=>@~.+*?()[\]{}^$|\\-]/g);
  const found = [...classes.filter(([mark]) => mark.test(source)).map(([, one]) => one), ...ranges];
  return [...new Set([...found, ...(literal ?? []), "a", "0", " "])].slice(0, 10);
}

/** Texts that begin as the expression wants it, go on for long, and end as it does not. */
function* attacksOn(expression: RegExp): Generator<string> {
  const alphabet = alphabetOf(expression);
  const start = /^\^?((?:[\w:/@,"= -]|\\[/.])*)/.exec(expression.source)?.[1] ?? "";
  const prefixes = [
    ...new Set([
      "",
      start.replace(/\\/g, "").replace(/\?/g, ""),
      "a",
      "https://",
      "a@",
      "2026-01-01T00:00:00.",
    ]),
  ];
  const pumps = alphabet.flatMap((one) => [one, ...alphabet.map((other) => one + other)]);
  for (const pump of pumps) {
    const long = pump.repeat(LENGTH / pump.length);
    for (const prefix of pump.length === 1 ? prefixes : [prefixes[1] ?? ""]) {
      for (const suffix of ["\u0000", "a"]) yield prefix + long + suffix;
    }
  }
}

interface Worst {
  ms: number;
  text: string;
}

/** The least of some tries is what an expression needs: what a busy machine adds is not its own. */
const RUN = `for (const text of attacks()) {
  state.text = text;
  let least = Infinity;
  for (let tries = 0; tries < ${TRIES} && least > ${MAX_MS}; tries++) {
    const startedMs = now();
    expression.exec(text);
    least = Math.min(least, now() - startedMs);
  }
  if (least > state.ms) state.ms = least;
  if (least > ${MAX_MS}) break;
}`;

function worstOf(expression: RegExp): Worst {
  const state: Worst = { ms: 0, text: "" };
  const attacks = () => attacksOn(expression);
  const context = createContext({ expression, attacks, state, now: () => performance.now() });
  try {
    runInContext(RUN, context, { timeout: CUT_OFF_MS });
  } catch {
    state.ms = Number.POSITIVE_INFINITY;
  }
  return { ms: state.ms, text: `${state.text.slice(0, 24)}… of ${state.text.length}` };
}

describe("the regular expressions of the platform", () => {
  it("are all found", () => {
    expect(expressions.length).toBeGreaterThan(100);
    const names = expressions.map(([name]) => name).join("\n");
    for (const known of [
      "schema.ts",
      "edge/request-head.ts",
      "moleculer-grpc/src/credential.ts",
      "guarded-request.ts",
      "parse-message.ts",
    ])
      expect(names).toContain(known);
  });

  it.each([
    ["quadratic", /\s+$/],
    ["exponential", /^(?:a+)+$/],
    ["an e-mail address as many write it", /^([a-z0-9]+\.?)+@x$/],
  ])("that are %s, are found by this test", (_, planted) => {
    expect(worstOf(planted).ms).toBeGreaterThan(MAX_MS);
  });

  it.each(expressions)("%s, takes linear time for any input", (_, expression) => {
    const { ms, text } = worstOf(expression);
    if (ms > MAX_MS) throw new Error(`${ms} ms for ${text}`);
  });
});
