/** Of tests and groups; `concurrently` is what a file names its own `it.concurrent`. */
const CALL = /(?<![\w.$])(?:it|test|describe|concurrently)((?:\.\w+)*)(?=[<(])/g;
const TEXT = /\s*\+?\s*("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)/y;
/** Tokens that a scan skips as a whole: texts, comments, and regular expressions where a value may stand. */
const WHOLE =
  /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`|\/\/[^\n]*|\/\*[\s\S]*?\*\/|(?<=[(,=:[!&|?{};\n]\s*)\/(?![/*])(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\//y;

/**
 * The titles of the tests of a source: those of its `it`s and `describe`s, and of those with a table also the texts of
 * its rows, whether the table is written there or is a constant of the file. Comments and assertions are left out.
 */
export function titlesIn(source: string): string[] {
  return callsIn(source).flatMap(({ at, modifiers }) => {
    if (!modifiers.includes(".each")) return textAt(source, at + 1);
    const end = endOf(source, at);
    const table = source.slice(at + 1, end);
    const named = [...table.matchAll(/(?<![\w.$"])[a-zA-Z_$][\w$]*/g)].map(([name]) =>
      constant(source, name),
    );
    const opened = source.indexOf("(", end);
    return [...textAt(source, opened + 1), ...[table, ...named].flatMap(textsIn)];
  });
}

/** The calls that name tests, without those that stand in a text or a comment. */
function callsIn(source: string): { at: number; modifiers: string }[] {
  const inside = new Set<number>();
  walk(source, 0, (from, to) => {
    for (let at = from; at < to; at += 1) inside.add(at);
  });
  return [...source.matchAll(CALL)]
    .filter(({ index }) => !inside.has(index))
    .map(({ 0: call, 1: modifiers = "", index }) => ({
      at: argumentsAt(source, index + call.length),
      modifiers,
    }));
}

/** Where the arguments begin, behind those that say a type, which may hold brackets and arrows of their own. */
function argumentsAt(source: string, from: number): number {
  let depth = 0;
  return walk(source, from, undefined, (character, at) => {
    if (character === "<") depth += 1;
    if (character === ">" && source[at - 1] !== "=") depth -= 1;
    return character === "(" && depth === 0;
  });
}

/** The text, or the texts that are added to one another, at this place; none where something else stands there. */
function textAt(source: string, from: number): string[] {
  let at = from;
  let text: string | undefined;
  for (;;) {
    TEXT.lastIndex = at;
    const found = TEXT.exec(source);
    if (!found) break;
    text = (text ?? "") + unquoted(found[1] as string);
    at = TEXT.lastIndex;
  }
  return text === undefined ? [] : [text];
}

function textsIn(source: string): string[] {
  const texts: string[] = [];
  walk(source, 0, (from, to) => {
    if (/["'`]/.test(source.charAt(from))) texts.push(unquoted(source.slice(from, to)));
  });
  return texts;
}

function unquoted(literal: string): string {
  return literal.slice(1, -1).replace(/\\(["'`\\])/g, "$1");
}

/** The text of the value of a constant in the file. */
function constant(source: string, name: string): string {
  const found = new RegExp(`^(?:export )?const ${name.replaceAll("$", "\\$")}\\b[^=]*=(?=\\s)`, "m").exec(
    source,
  );
  if (!found) return "";
  const from = found.index + found[0].length;
  return source.slice(from, endOf(source, from, ";"));
}

/** Where the bracket that opens here is closed, or where `until` comes outside all brackets. */
function endOf(source: string, from: number, until = ""): number {
  let depth = 0;
  return walk(source, from, undefined, (character) => {
    if ("([{".includes(character)) depth += 1;
    if (")]}".includes(character)) depth -= 1;
    return depth === 0 && (until === "" || character === until);
  });
}

/** Goes through the source. @returns where `isEnd` said so, or its length */
function walk(
  source: string,
  from: number,
  onWhole: (from: number, to: number) => void = () => undefined,
  isEnd: (character: string, at: number) => boolean = () => false,
): number {
  for (let at = from; at < source.length; ) {
    WHOLE.lastIndex = at;
    if (WHOLE.test(source)) {
      onWhole(at, WHOLE.lastIndex);
      at = WHOLE.lastIndex;
    } else if (isEnd(source.charAt(at), at)) return at;
    else at += 1;
  }
  return source.length;
}
