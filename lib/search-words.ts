/** Enough for a full name, an address and a number. */
const MAX_WORDS = 8;
const WORD = /[\p{L}\p{N}]+/gu;
const MARKS = /[\u0300-\u036f]/g;

/**
 * The PostgreSQL tsquery for texts that contain every word of `text` at least as a prefix, by the rules of the SQL function
 * `search_lexemes`; undefined when `text` contains no word.
 */
export function prefixQuery(text: string): string | undefined {
  const words = text.toLowerCase().normalize("NFKD").replace(MARKS, "").match(WORD) ?? [];
  const terms = [...new Set(words)].slice(0, MAX_WORDS).map((word) => `'${word}':*`);
  return terms.length > 0 ? terms.join(" & ") : undefined;
}
