/** A password that repeats a piece of at most this length is as easy to guess as the piece. */
const MAX_PERIOD = 4;
/** Dates, telephone numbers and patterns on the number pad: there are few of them, and attackers try all. */
const MAX_DIGITS_ALONE = 10;
/** Pieces up to these lengths add no strength. */
const SHORT = { letters: 2, digits: 4, signs: 3 };
const MAX_PIECES = 3;
const MAX_WORDS = 2;

const ROWS = [
  "abcdefghijklmnopqrstuvwxyz",
  "0123456789",
  "qwertyuiop",
  "qwertzuiop",
  "azertyuiop",
  "asdfghjkl",
];
const COLUMNS = ["1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm"];
/** With and without the digits, in both directions; the long ones first, since they contain the short ones. */
const COLUMN_PATTERNS = [...COLUMNS, ...COLUMNS.map((column) => column.slice(1))]
  .flatMap((column) => [column, reversed(column)])
  .sort((a, b) => b.length - a.length);

/**
 * Whether the text is an easy pattern: a repetition, a run along rows or columns of the keyboard, two interleaved runs
 * (`1q2w3e4r`), digits only, or two or three such pieces or common words in a row (`abc12345`).
 * @param text in lower case
 */
export function hasKeyboardPattern(text: string, words: ReadonlySet<string>): boolean {
  return (
    isRepetition(text) ||
    isRun(text) ||
    isRun(undoubled(text)) ||
    isTwoInterleavedRuns(text) ||
    isColumns(text) ||
    (text.length <= MAX_DIGITS_ALONE && /^\d*$/.test(text)) ||
    isOfWeakPieces(text, words)
  );
}

function isRepetition(text: string): boolean {
  for (let period = 1; period <= MAX_PERIOD; period++) {
    const repeated = text.slice(0, period).repeat(Math.ceil(text.length / period));
    if (text === repeated.slice(0, text.length)) return true;
  }
  return false;
}

/** A run along the alphabet, the digits or a keyboard row, in either direction; it may wrap around at the end. */
function isRun(text: string): boolean {
  const back = reversed(text);
  return ROWS.some((row) => {
    const repeated = row.repeat(Math.ceil(text.length / row.length) + 1);
    return repeated.includes(text) || repeated.includes(back);
  });
}

/** `112233445566` is 123456. */
function undoubled(text: string): string {
  return [...text].filter((letter, index, all) => letter !== all[index - 1]).join("");
}

function isTwoInterleavedRuns(text: string): boolean {
  const letters = [...text];
  return [0, 1].every((parity) => isRun(letters.filter((_, index) => index % 2 === parity).join("")));
}

function isColumns(text: string): boolean {
  const left = COLUMN_PATTERNS.reduce((rest, pattern) => rest.replaceAll(pattern, " "), text).replaceAll(
    " ",
    "",
  );
  return left.length <= SHORT.digits && left.length < text.length / 2 && /^\d*$/.test(left);
}

function isOfWeakPieces(text: string, words: ReadonlySet<string>): boolean {
  const pieces = text.match(/\p{L}+|\p{N}+|[^\p{L}\p{N}]+/gu) ?? [];
  if (pieces.length > MAX_PIECES) return false;
  const strong = pieces.filter((piece) => !isShort(piece) && !isRepetition(piece) && !isRun(piece));
  return strong.length <= MAX_WORDS && strong.every((piece) => words.has(piece));
}

function isShort(piece: string): boolean {
  if (/^\p{L}/u.test(piece)) return piece.length <= SHORT.letters;
  return piece.length <= (/^\p{N}/u.test(piece) ? SHORT.digits : SHORT.signs);
}

function reversed(text: string): string {
  return [...text].reverse().join("");
}
