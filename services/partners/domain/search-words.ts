import { folded } from "./search-fold.ts";

const MAX_WORD_LENGTH = 60;
/** As many words as people type, or one sentence in a script that is cut into pairs. */
const MAX_QUERY_TERMS = 32;
const WORD = /[\p{L}\p{M}\p{N}]+(?:'[\p{L}\p{M}\p{N}]+)*/gu;
/**
 * Scripts that write no spaces between words, and Korean, which writes compounds without. A dictionary (ICU's) would cut
 * them into words, but in another way in each version, and not in the way that somebody types a part of one.
 */
const UNSPACED =
  /(?:(?=[\p{L}\p{M}\p{N}])[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Hangul}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}])+/gu;

/**
 * Which rules `searchWords` followed when the words of a product were written. It stands among them, where no query can
 * ask for it: products whose words were made by other rules, also by a release before this one that still runs, are
 * found by it and made anew. A change of the rules takes a new mark, and a migration with an index for it.
 */
export const WORDS_MARK = "#2";

/** The words that a product is stored with. */
export function storedWords(...texts: (string | undefined)[]): string[] {
  return [WORDS_MARK, ...searchWords(...texts)];
}

/**
 * The words that a text is found by, each once: whole words, and of scripts without spaces every pair of neighbouring
 * characters, with the last character of the run for itself. Written with the product and asked with the query by the
 * same rules, so that "CREME" finds "Crème" whatever the database's locale.
 */
export function searchWords(...texts: (string | undefined)[]): string[] {
  const words = wordsOf(texts.join(" ")).flatMap((word) => {
    const parts = word.split("'");
    // "L'Oréal" is found by "oreal" and by "loreal".
    const all = parts.length > 1 ? [...parts, parts.join("")] : parts;
    return all.flatMap((part) => {
      const { whole, runs } = divided(part);
      return [...whole, ...runs.flatMap((run) => [...pairs(run), run.at(-1) as string])];
    });
  });
  return [...new Set(words.map(cut))];
}

/**
 * The PostgreSQL tsquery for products in which every word of `q`, or a word that begins with it, stands, and of scripts
 * without spaces every pair; undefined when there is no word in `q`.
 */
export function searchQuery(q: string): string | undefined {
  const terms = wordsOf(q).flatMap((word) =>
    word.split("'").flatMap((part) => {
      const { whole, runs } = divided(part);
      const begun = [...whole, ...runs.flatMap((run) => (run.length === 1 ? run : []))];
      return [...begun.map((one) => `'${cut(one)}':*`), ...runs.flatMap(pairs).map((pair) => `'${pair}'`)];
    }),
  );
  const wanted = [...new Set(terms)].slice(0, MAX_QUERY_TERMS);
  return wanted.length > 0 ? wanted.join(" & ") : undefined;
}

function wordsOf(text: string): string[] {
  return folded(text).match(WORD) ?? [];
}

/** Splits a word into `runs` of scripts without spaces, as characters, and the `whole` parts between them. */
function divided(word: string): { whole: string[]; runs: string[][] } {
  return {
    whole: word.split(UNSPACED).filter((part) => part.length > 0),
    runs: (word.match(UNSPACED) ?? []).map((run) => [...run]),
  };
}

function pairs(run: readonly string[]): string[] {
  return run.slice(1).map((character, index) => `${run[index]}${character}`);
}

function cut(word: string): string {
  return [...word].slice(0, MAX_WORD_LENGTH).join("");
}
