const ELLIPSIS = "…";
/** In UTF-16 code units. The characters of all writing systems are far shorter; only meaningless text is longer. */
const CHARACTER_MAX_LENGTH = 64;

const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });

/** The characters as a reader counts them: an emoji with its modifiers, or a letter with its marks, is one. */
export function charactersOf(text: string): string[] {
  return Array.from(segmenter.segment(text), ({ segment }) => segment);
}

/**
 * Sanitizes text from outside for every database, message and provider, and limits its length. Control
 * characters become spaces (a line feed stays), a lone surrogate becomes U+FFFD. Text that is too long is cut between
 * two characters and ends with "…".
 * @param maxLength in UTF-16 code units, at least 1, the ellipsis included: what fits here also fits a limit that
 *   counts code points
 */
export function shorten(text: string, maxLength: number): string {
  const clean = text
    .toWellFormed()
    .replaceAll("\r\n", "\n")
    .replace(/[^\P{Cc}\n]/gu, " ");
  if (clean.length <= maxLength) return clean;
  return cut(clean, maxLength - ELLIPSIS.length).trimEnd() + ELLIPSIS;
}

/** The same on one line: all white space becomes single spaces, with none at either end. */
export function shortenLine(text: string, maxLength: number): string {
  return shorten(text.replace(/[\p{Cc}\s]+/gu, " ").trim(), maxLength);
}

/** The longest beginning of whole characters within `length`, which is less than the text's own. */
function cut(text: string, length: number): string {
  const crossing = segmenter.segment(text.slice(0, length + CHARACTER_MAX_LENGTH)).containing(length);
  const start = crossing?.index ?? length;
  if (length - start < CHARACTER_MAX_LENGTH) return text.slice(0, start);
  // A letter with more marks than any language has is cut between code points.
  const splitsPair = (text.charCodeAt(length) & 0xfc00) === 0xdc00;
  return text.slice(0, splitsPair ? length - 1 : length);
}
