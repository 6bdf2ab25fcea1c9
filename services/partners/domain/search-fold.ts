/**
 * Letters with an equivalent spelling. Compatibility decomposition (NFKD) already separates accents, ligatures, full and
 * half width, and presentation forms. This table contains the letters that it leaves unchanged.
 */
const LETTERS: Record<string, string> = {
  // Latin letters that Unicode does not decompose into a base letter and a mark.
  ...{
    ß: "ss",
    æ: "ae",
    œ: "oe",
    ø: "o",
    đ: "d",
    ð: "d",
    þ: "th",
    ħ: "h",
    ł: "l",
    ı: "i",
    ŋ: "n",
    ŧ: "t",
    ĸ: "k",
  },
  ...{
    ə: "e",
    ǝ: "e",
    ɛ: "e",
    ɔ: "o",
    ɓ: "b",
    ƀ: "b",
    ɖ: "d",
    ɗ: "d",
    ƒ: "f",
    ɣ: "g",
    ɨ: "i",
    ƙ: "k",
    ɲ: "n",
  },
  ...{ ʉ: "u", ʋ: "v", ƴ: "y", ɏ: "y", ɍ: "r", ɇ: "e", ȼ: "c", ƶ: "z" },
  // Final forms of Greek and Hebrew; a Ukrainian letter that other Cyrillic alphabets write without its upturn.
  ...{ ς: "σ", ך: "כ", ם: "מ", ן: "נ", ף: "פ", ץ: "צ", ґ: "г" },
  // Arabic: alef wasla, alef maqsura and Persian yeh, Persian kaf, teh marbuta and the hehs of Persian and Urdu.
  ...{ ٱ: "ا", ى: "ي", ی: "ي", ے: "ي", ک: "ك", ة: "ه", ۃ: "ه", ہ: "ه", ھ: "ه", ە: "ه" },
};
const FOLDED_LETTER = new RegExp(`[${Object.keys(LETTERS).join("")}]`, "gu");

/**
 * Optional marks: accents, the points of Hebrew, the vowels of Arabic, the nuktas of Indic scripts,
 * variation selectors. The vowels of Indic scripts and the voicing marks of kana are not optional. Format characters
 * (soft hyphens, joiners, directions), tatweel and the Catalan middle dot inside a word have no meaning.
 */
const IGNORED = new RegExp(
  [
    String.raw`[\u0300-\u036f\u0483-\u0487\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f`,
    String.raw`\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed`,
    String.raw`\u093c\u09bc\u0a3c\u0abc\u0b3c\u0c3c\u0cbc\u0640\u00b7\p{Cf}]`,
  ].join(""),
  "gu",
);

const APOSTROPHE = /[’‘‛ʼʻʽʹ´`׳＇]/gu;
const KATAKANA = /[\u30a1-\u30f6\u30fd\u30fe]/g;
const KATAKANA_TO_HIRAGANA = 0x60;
const OTHER_DIGIT = /[\p{Nd}--[0-9]]/gv;
/** The zero digits of scripts whose digits are in everyday use beside the European digits. */
const ZEROS = [
  ...[0x0660, 0x06f0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66],
  ...[0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x17e0],
];

/** Normalises a text for comparison: lower case, without optional marks, one spelling for equivalent letters. */
export function foldCase(text: string): string {
  return text
    .replace(APOSTROPHE, "'")
    .normalize("NFKD")
    .replace(IGNORED, "")
    .toLowerCase()
    .replace(IGNORED, "") // the lower case of "İ" is i with a combining dot
    .replace(FOLDED_LETTER, (letter) => LETTERS[letter] as string)
    .replace(OTHER_DIGIT, europeanDigit)
    .normalize("NFC")
    .replace(KATAKANA, (kana) => String.fromCharCode(kana.charCodeAt(0) - KATAKANA_TO_HIRAGANA));
}

function europeanDigit(digit: string): string {
  const code = digit.codePointAt(0) as number;
  const zero = ZEROS.find((one) => code >= one && code < one + 10);
  return zero === undefined ? digit : String(code - zero);
}
