import { fail } from "../../contracts/errors.ts";
import { commonWords } from "./common-passwords.ts";

/** So many digits and signs around a common word do not make it an uncommon password. */
const MAX_ORNAMENT = 6;
/** A password that repeats a piece as short as this is as easy to try as the piece. */
const MAX_PERIOD = 4;
const MIN_PERSONAL_LENGTH = 3;

const ROWS = [
  "abcdefghijklmnopqrstuvwxyz",
  "0123456789",
  "qwertyuiop",
  "qwertzuiop",
  "azertyuiop",
  "asdfghjkl",
];
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
  const text = password.normalize("NFKC").toLowerCase();
  if (isRepetition(text) || isRun(text)) return true;
  const own = personal.flatMap((value) => piecesOf(value ?? ""));
  return coresOf(text).some((core) => commonWords.has(core) || own.includes(core));
}

function isRepetition(text: string): boolean {
  for (let period = 1; period <= MAX_PERIOD; period++) {
    if (
      text ===
      text
        .slice(0, period)
        .repeat(Math.ceil(text.length / period))
        .slice(0, text.length)
    )
      return true;
  }
  return false;
}

/** A walk along the alphabet, the digits or the keyboard, in either direction, round and round. */
function isRun(text: string): boolean {
  const reversed = [...text].reverse().join("");
  return ROWS.some((row) => {
    const endless = row.repeat(Math.ceil(text.length / row.length) + 1);
    return endless.includes(text) || endless.includes(reversed);
  });
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

function piecesOf(value: string): string[] {
  const text = value.normalize("NFKC").toLowerCase();
  const local = text.split("@")[0] as string;
  return [text, local, ...local.split(/[^\p{L}\p{N}]+/u)].filter(
    (piece) => piece.length >= MIN_PERSONAL_LENGTH,
  );
}
