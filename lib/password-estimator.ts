import { lazyAsync } from "./lazy-async.ts";

/** Frequent words that the package's list of leaked passwords lacks. */
const MORE_WORDS = `
superuser willkommen bienvenue bienvenido benvenuto login qwertz qwertzuiop yxcvbnm wasd ichliebedich prinzessin papa
yourpassword thisismypassword oldpassword resetpassword loewe pferd schmetterling praha wien maerz mittwoch donnerstag
samstag fruehling geburtstag bayernmunich manchesterunited lukeskywalker fortnite roblox worldofwarcraft mercedesbenz
bmw harleydavidson instagram whatsapp ubuntu netflix spotify hotmail gmail linkedin alhamdulillah iloveyouu uwe red
waybill orders
`;
/**
 * The package tries combinations of replaced letters (`p@55w0rd`). With its default of 100, 32 characters cost up to
 * 22 ms; with 10, up to 5 ms.
 */
const REPLACEMENTS_MAX = 10;

/** Estimates passwords as an attacker would guess them: leaked passwords, keyboard patterns, sequences, dates. */
export interface PasswordEstimator {
  /**
   * The logarithm (base 10) of the number of guesses that the text needs. The time grows faster than the length, so
   * pass at most a few dozen characters.
   * @param known values that an attacker knows of the person
   */
  guessesLog10(text: string, known: readonly string[]): number;
  /** Whether the text is one known word or pattern, also with replaced letters or repeated. */
  isKnown(text: string, known: readonly string[]): boolean;
}

/** Texts must be in lower case. Loads the list on first use: it needs 12 MB of heap, and one service checks passwords. */
export const passwordEstimator: () => Promise<PasswordEstimator> = lazyAsync(async () => {
  const [{ ZxcvbnFactory }, { dictionary, adjacencyGraphs }] = await Promise.all([
    import("@zxcvbn-ts/core"),
    import("@zxcvbn-ts/language-common"),
  ]);
  const moreWords = MORE_WORDS.trim().split(/\s+/);
  const passwords = dictionary["passwords-common"];
  const zxcvbn = new ZxcvbnFactory({
    dictionary: { ...dictionary, moreWords },
    graphs: adjacencyGraphs,
    l33tMaxSubstitutions: REPLACEMENTS_MAX,
  });
  return {
    guessesLog10: (text, known) => zxcvbn.check(text, [...known]).guessesLog10,
    isKnown(text, known) {
      if (moreWords.includes(text) || passwords.includes(text)) return true;
      const { sequence } = zxcvbn.check(text, [...known]);
      return sequence.length === 1 && sequence[0]?.pattern !== "bruteforce";
    },
  };
});
