import { fail } from "../../../contracts/errors.ts";
import { commonWords } from "./common-passwords.ts";
import { hasKeyboardPattern } from "./keyboard-patterns.ts";

/** So many digits and signs around a common word do not make it an uncommon password. */
const MAX_ORNAMENT = 6;
const MIN_PERSONAL_LENGTH = 3;
const MARKS = /\p{M}/gu;
/** What people put between the halves of a word. */
const BETWEEN = /[\s._-]/gu;

const REPLACED = new Map(
  Object.entries({ "0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", $: "s", "!": "i" }),
);

/**
 * Length is the contract's; this refuses what an attacker tries first.
 * @param personal names and addresses of the person, which are no secret either
 * @throws PASSWORD_TOO_COMMON
 */
export function refuseCommonPassword(password: string, personal: readonly (string | undefined)[] = []): void {
  if (isCommonPassword(password, personal)) {
    throw fail("PASSWORD_TOO_COMMON", "Choose one that is harder to guess; a few unrelated words are good.");
  }
}

export function isCommonPassword(password: string, personal: readonly (string | undefined)[] = []): boolean {
  // Without the marks, for `Pässwörd` is tried as soon as `Passwort`.
  const text = bared(password);
  if (hasKeyboardPattern(text, commonWords)) return true;
  const own = personal.flatMap((value) => piecesOf(value ?? ""));
  return [...coresOf(text), ...coresOf(text.replaceAll(BETWEEN, ""))].some(
    (core) => commonWords.has(core) || own.includes(core),
  );
}

/** What is left of a password when ornaments are taken away: `P@ssw0rd2024!` is password. */
function coresOf(text: string): string[] {
  const bare = text.replace(/^[^\p{L}]+|(?<=\p{L})[^\p{L}]+$/gu, "");
  const spelled = [...text].map((letter) => REPLACED.get(letter) ?? letter).join("");
  const spelledBare = [...bare].map((letter) => REPLACED.get(letter) ?? letter).join("");
  const stripped = spelled.replace(/^[^\p{L}]+|(?<=\p{L})[^\p{L}]+$/gu, "");
  const cores = [text, bare, spelled, spelledBare, stripped].filter(
    (core) => core.length > 0 && text.length - core.length <= MAX_ORNAMENT,
  );
  return [...new Set([...cores, ...cores.flatMap(halfOf)])];
}

/** `monkeymonkey` is no better than monkey. */
function halfOf(text: string): string[] {
  const half = text.slice(0, text.length / 2);
  return text.length % 2 === 0 && text === half + half ? [half] : [];
}

function bared(value: string): string {
  return value.normalize("NFKD").replaceAll(MARKS, "").normalize("NFKC").toLowerCase();
}

function piecesOf(value: string): string[] {
  const text = bared(value);
  const local = text.split("@")[0] as string;
  return [text, local, ...local.split(/[^\p{L}\p{N}]+/u)].filter(
    (piece) => piece.length >= MIN_PERSONAL_LENGTH,
  );
}
