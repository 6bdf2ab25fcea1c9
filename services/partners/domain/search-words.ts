import { foldCase } from "./search-fold.ts";

const MAX_WORD_LENGTH = 60;
/** Enough for a typed query, or one sentence in a script that is split into pairs. */
const MAX_QUERY_TERMS = 32;
const WORD = /[\p{L}\p{M}\p{N}]+(?:'[\p{L}\p{M}\p{N}]+)*/gu;
/**
 * Scripts without spaces between words, and Korean, whose compounds have no spaces. A dictionary (ICU) could split them into
 * words, but differently in each version, and not at the place where a user types part of a word.
 */
const UNSPACED =
  /(?:(?=[\p{L}\p{M}\p{N}])[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Hangul}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}])+/gu;

/**
 * Version of the rules of `searchWords`, stored as the first word of each product. No query matches it. The reindexer finds
 * products with another version, also those that an earlier release wrote during an update, and rebuilds their words. A
 * change of the rules needs a new version and a migration with an index for it.
 */
export const WORDS_VERSION = "#2";

/** The search words to store with a product, with their version. */
export function storedWords(...texts: (string | undefined)[]): string[] {
  return [WORDS_VERSION, ...searchWords(...texts)];
}

/**
 * The distinct search words of a text: whole words, and for scripts without spaces every pair of neighbouring characters
 * and the last character of a run. Products and queries use the same rules, so that "CREME" finds "Crème" with every
 * locale of the database.
 */
export function searchWords(...texts: (string | undefined)[]): string[] {
  const words = wordsOf(texts.join(" ")).flatMap((word) => {
    const parts = word.split("'");
    // "L'Oréal" is found by "oreal" and by "loreal".
    const all = parts.length > 1 ? [...parts, parts.join("")] : parts;
    return all.flatMap((part) => {
      const { whole, runs } = splitByScript(part);
      return [...whole, ...runs.flatMap((run) => [...pairs(run), run.at(-1) as string])];
    });
  });
  return [...new Set(words.map(truncated))];
}

/**
 * The PostgreSQL tsquery for products that contain every word of `q` as a prefix, and every pair of scripts without spaces;
 * undefined when `q` contains no word.
 */
export function searchQuery(q: string): string | undefined {
  const terms = wordsOf(q).flatMap((word) =>
    word.split("'").flatMap((part) => {
      const { whole, runs } = splitByScript(part);
      const begun = [...whole, ...runs.flatMap((run) => (run.length === 1 ? run : []))];
      return [
        ...begun.map((one) => `'${truncated(one)}':*`),
        ...runs.flatMap(pairs).map((pair) => `'${pair}'`),
      ];
    }),
  );
  const wanted = [...new Set(terms)].slice(0, MAX_QUERY_TERMS);
  return wanted.length > 0 ? wanted.join(" & ") : undefined;
}

function wordsOf(text: string): string[] {
  return foldCase(text).match(WORD) ?? [];
}

/** Splits a word into `runs` of scripts without spaces, as characters, and the `whole` parts between them. */
function splitByScript(word: string): { whole: string[]; runs: string[][] } {
  return {
    whole: word.split(UNSPACED).filter((part) => part.length > 0),
    runs: (word.match(UNSPACED) ?? []).map((run) => [...run]),
  };
}

function pairs(run: readonly string[]): string[] {
  return run.slice(1).map((character, index) => `${run[index]}${character}`);
}

function truncated(word: string): string {
  return [...word].slice(0, MAX_WORD_LENGTH).join("");
}
