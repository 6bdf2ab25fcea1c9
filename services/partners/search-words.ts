const MAX_WORD_LENGTH = 60;
const MAX_QUERY_WORDS = 10;
const WORD = /[\p{L}\p{M}\p{N}]+/gu;
const ACCENTS = /[\u0300-\u036f]/g;

/**
 * The words that a text is found by: in lower case, without accents, each once. Written with the product and
 * asked with the query by this one function, so that "CREME" finds "Crème" whatever the database's locale.
 */
export function searchWords(...texts: (string | undefined)[]): string[] {
  const folded = texts.join(" ").normalize("NFKD").replace(ACCENTS, "").toLowerCase().normalize("NFC");
  const words = folded.match(WORD) ?? [];
  return [...new Set(words.map((word) => [...word].slice(0, MAX_WORD_LENGTH).join("")))];
}

/**
 * The PostgreSQL tsquery for products in which every word of `q`, or a word that begins with it, stands;
 * undefined when there is no word in `q`.
 */
export function searchQuery(q: string): string | undefined {
  const words = searchWords(q).slice(0, MAX_QUERY_WORDS);
  return words.length > 0 ? words.map((word) => `'${word}':*`).join(" & ") : undefined;
}
