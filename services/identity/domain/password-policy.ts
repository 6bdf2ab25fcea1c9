import { fail } from "../../../contracts/errors.ts";
import { type PasswordEstimator, passwordEstimator } from "../../../lib/password-estimator.ts";

/** A password that needs fewer guesses than ten million is refused. Eight random letters need a hundred million. */
const MIN_GUESSES_LOG10 = 7;
/** Dates, telephone numbers and patterns on the number pad: there are few of them, and attackers try all. */
const DIGITS_ALONE = /^\d{0,10}$/;
/** A longer text is estimated in parts of this length, which bounds the time of a check. */
const PART = /.{1,32}/gsu;
/** A known word with up to this many digits and signs around it is easy to guess. */
const MAX_AFFIXES_LENGTH = 6;
/** From the first letter to the last one. An expression for what surrounds them would take quadratic time. */
const WORD = /\p{L}(?:.*\p{L})?/su;
const MIN_WORD_LENGTH = 3;
const MAX_WORD_LENGTH = 32;
const MARKS = /\p{M}/gu;
/** Separators that people put into a word. */
const SEPARATORS = /[\s._-]/gu;

/**
 * Refuses passwords that an attacker tries first. The contract checks the length.
 * @param personal names and addresses of the person, which an attacker may know
 * @throws PASSWORD_TOO_COMMON
 */
export async function refuseCommonPassword(
  password: string,
  personal: readonly (string | undefined)[] = [],
): Promise<void> {
  if (await isCommonPassword(password, personal)) {
    throw fail("PASSWORD_TOO_COMMON", "Choose one that is harder to guess; a few unrelated words are good.");
  }
}

export async function isCommonPassword(
  password: string,
  personal: readonly (string | undefined)[] = [],
): Promise<boolean> {
  // Accents are removed, since an attacker who tries `Passwort` also tries `Pässwörd`.
  const text = normalized(password);
  if (DIGITS_ALONE.test(text)) return true;
  const estimator = await passwordEstimator();
  const known = personal.flatMap((value) => piecesOf(value ?? ""));
  return [...new Set([text, text.replaceAll(SEPARATORS, "")])].some(
    (spelling) => isWeak(spelling, known, estimator) || isWordWithAffixes(spelling, known, estimator),
  );
}

/** One strong part makes the whole text strong. */
function isWeak(text: string, known: readonly string[], { guessesLog10 }: PasswordEstimator): boolean {
  return (text.match(PART) ?? []).every((part) => guessesLog10(part, known) < MIN_GUESSES_LOG10);
}

/** `!!monkey2024`, `P@ssw0rd2024!` */
function isWordWithAffixes(text: string, known: readonly string[], { isKnown }: PasswordEstimator): boolean {
  const [word = ""] = WORD.exec(text) ?? [];
  if (word.length < MIN_WORD_LENGTH || word.length > MAX_WORD_LENGTH) return false;
  return text.length - word.length <= MAX_AFFIXES_LENGTH && isKnown(word, known);
}

function normalized(value: string): string {
  return value.normalize("NFKD").replaceAll(MARKS, "").normalize("NFKC").toLowerCase();
}

function piecesOf(value: string): string[] {
  const text = normalized(value);
  const local = text.split("@")[0] as string;
  return [text, local, ...local.split(/[^\p{L}\p{N}]+/u)].filter((piece) => piece.length >= MIN_WORD_LENGTH);
}
