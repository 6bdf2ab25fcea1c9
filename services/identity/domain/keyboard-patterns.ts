/** A password that repeats a piece as short as this is as easy to try as the piece. */
const MAX_PERIOD = 4;
/** A date, a telephone number, a walk over the number pad: all are tried, and all together are few. */
const MAX_DIGITS_ALONE = 10;
/** Short pieces that say nothing by themselves. */
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
/** With and without the row of digits, down and up; the long ones first, since they hold the short ones. */
const COLUMN_WALKS = [...COLUMNS, ...COLUMNS.map((column) => column.slice(1))]
  .flatMap((column) => [column, reversed(column)])
  .sort((a, b) => b.length - a.length);

/**
 * Whether fingers find the text without a thought: repetitions, walks along rows and columns of the keyboard, two
 * walks in turn (`1q2w3e4r`), digits alone, and two or three such pieces or common words in a row (`abc12345`).
 * @param text in lower case
 */
export function hasKeyboardPattern(text: string, words: ReadonlySet<string>): boolean {
  return (
    isRepetition(text) ||
    isRun(text) ||
    isRun(undoubled(text)) ||
    isTwoRunsInTurn(text) ||
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

/** A walk along the alphabet, the digits or the keyboard, in either direction, round and round. */
function isRun(text: string): boolean {
  const back = reversed(text);
  return ROWS.some((row) => {
    const endless = row.repeat(Math.ceil(text.length / row.length) + 1);
    return endless.includes(text) || endless.includes(back);
  });
}

/** `112233445566` is 123456. */
function undoubled(text: string): string {
  return [...text].filter((letter, index, all) => letter !== all[index - 1]).join("");
}

function isTwoRunsInTurn(text: string): boolean {
  const letters = [...text];
  return [0, 1].every((turn) => isRun(letters.filter((_, index) => index % 2 === turn).join("")));
}

function isColumns(text: string): boolean {
  const left = COLUMN_WALKS.reduce((rest, walk) => rest.replaceAll(walk, " "), text).replaceAll(" ", "");
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
