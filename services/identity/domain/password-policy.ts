import { fail } from "../../../contracts/errors.ts";
import { commonWords } from "./common-passwords.ts";
import { hasKeyboardPattern } from "./keyboard-patterns.ts";

/** A common word with up to this many digits and signs around it is still a common password. */
const MAX_AFFIXES_LENGTH = 6;
const MIN_PERSONAL_LENGTH = 3;
const MARKS = /\p{M}/gu;
/** Separators that people put into a word. */
const SEPARATORS = /[\s._-]/gu;

const LETTER_BY_REPLACEMENT = new Map(
  Object.entries({ "0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", $: "s", "!": "i" }),
);

/**
 * Refuses passwords that an attacker tries first. The contract checks the length.
 * @param personal names and addresses of the person, which an attacker may know
 * @throws PASSWORD_TOO_COMMON
 */
export function refuseCommonPassword(password: string, personal: readonly (string | undefined)[] = []): void {
  if (isCommonPassword(password, personal)) {
    throw fail("PASSWORD_TOO_COMMON", "Choose one that is harder to guess; a few unrelated words are good.");
  }
}

export function isCommonPassword(password: string, personal: readonly (string | undefined)[] = []): boolean {
  // Accents are removed, since an attacker who tries `Passwort` also tries `Pässwörd`.
  const text = normalized(password);
  if (hasKeyboardPattern(text, commonWords)) return true;
  const own = personal.flatMap((value) => piecesOf(value ?? ""));
  return [...coresOf(text), ...coresOf(text.replaceAll(SEPARATORS, ""))].some(
    (core) => commonWords.has(core) || own.includes(core),
  );
}

/** The words in a password without affixes and replacements: `password` for `P@ssw0rd2024!`. */
function coresOf(text: string): string[] {
  const bare = text.replace(/^[^\p{L}]+|(?<=\p{L})[^\p{L}]+$/gu, "");
  const spelled = [...text].map((letter) => LETTER_BY_REPLACEMENT.get(letter) ?? letter).join("");
  const spelledBare = [...bare].map((letter) => LETTER_BY_REPLACEMENT.get(letter) ?? letter).join("");
  const stripped = spelled.replace(/^[^\p{L}]+|(?<=\p{L})[^\p{L}]+$/gu, "");
  const cores = [text, bare, spelled, spelledBare, stripped].filter(
    (core) => core.length > 0 && text.length - core.length <= MAX_AFFIXES_LENGTH,
  );
  return [...new Set([...cores, ...cores.flatMap(halfOf)])];
}

/** `monkey` for `monkeymonkey`. */
function halfOf(text: string): string[] {
  const half = text.slice(0, text.length / 2);
  return text.length % 2 === 0 && text === half + half ? [half] : [];
}

function normalized(value: string): string {
  return value.normalize("NFKD").replaceAll(MARKS, "").normalize("NFKC").toLowerCase();
}

function piecesOf(value: string): string[] {
  const text = normalized(value);
  const local = text.split("@")[0] as string;
  return [text, local, ...local.split(/[^\p{L}\p{N}]+/u)].filter(
    (piece) => piece.length >= MIN_PERSONAL_LENGTH,
  );
}
