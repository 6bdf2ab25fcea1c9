/** Values by position or by name. A value must not be undefined: null stands for an absent one. */
export type Bindings = readonly unknown[] | Readonly<Record<string, unknown>>;

interface Parsed {
  /** The name under which connections prepare the statement; undefined when too many texts are known already. */
  preparedAs: string | undefined;
  /** With `$1`, `$2`, … as PostgreSQL reads it. */
  text: string;
  /** The names in the order of their numbers; undefined for bindings by position. */
  names: readonly string[] | undefined;
  count: number;
}

/** The maximum number of known texts, so that dynamically built SQL cannot fill the memory. The program has fewer. */
const PARSED_MAX = 1_000;
const parsedTexts = new Map<string, Parsed>();

const POSITION = /\\\?|\?/g;
/** Not `::type`, and not a colon in a word or a time of day. */
const NAME = /\\\?|(?<![:\w]):([a-zA-Z_]\w*)/g;

/**
 * Replaces `?` or `:name` by `$1`, `$2`, … A name that occurs twice gets two numbers, because PostgreSQL derives the type of
 * each from its place. `\?` is a literal question mark.
 * A name without a value stays as it is: it may be part of a literal.
 * @throws TypeError when a value is undefined, or when there are more or fewer values than places
 */
export function bind(
  sql: string,
  bindings: Bindings,
): Pick<Parsed, "text" | "preparedAs"> & { values: readonly unknown[] } {
  const parsed = parsedTexts.get(sql) ?? parse(sql, bindings);
  const values = parsed.names
    ? parsed.names.map((name) => (bindings as Readonly<Record<string, unknown>>)[name])
    : (bindings as readonly unknown[]);
  if (values.length !== parsed.count || values.includes(undefined)) {
    throw new TypeError(
      `${parsed.count} values are needed, none of them undefined, for: ${sql.slice(0, 200)}`,
    );
  }
  return { text: parsed.text, preparedAs: parsed.preparedAs, values };
}

function parse(sql: string, bindings: Bindings): Parsed {
  const names: string[] | undefined = Array.isArray(bindings) ? undefined : [];
  let count = 0;
  let isComplete = true;
  const text = sql.replace(names ? NAME : POSITION, (found: string, name: string | undefined) => {
    if (found === "\\?") return "?";
    if (names && !(name !== undefined && Object.hasOwn(bindings, name))) {
      isComplete = false;
      return found;
    }
    if (names && typeof name === "string") names.push(name);
    count += 1;
    return `$${count}`;
  });
  const isKnown = isComplete && parsedTexts.size < PARSED_MAX;
  const parsed = { text, names, count, preparedAs: isKnown ? `s${parsedTexts.size}` : undefined };
  if (isKnown) parsedTexts.set(sql, parsed);
  return parsed;
}
