/** RFC 5646, 4.4.1: no tag that is in use is longer. */
export const LANGUAGE_TAG_MAX_LENGTH = 35;

/** A tag of BCP 47 in its canonical spelling, as `zh-Hant` for `zh-hant`; undefined for any other text. */
export function canonicalLanguage(tag: string): string | undefined {
  try {
    return Intl.getCanonicalLocales(tag)[0];
  } catch {
    return undefined;
  }
}

/**
 * The tag, and then the tags that its readers understand as well, the nearest first: without its last subtag, and so
 * on (RFC 4647, lookup). A region without a script has its usual one: `zh-TW` is followed by `zh-Hant`, then `zh`.
 */
export function languageFallbacks(tag: string): string[] {
  const canonical = canonicalLanguage(tag);
  if (canonical === undefined) return [];
  const [first = "", ...others] = canonical.split("-");
  const longer = others.map((_, removed) => [first, ...others.slice(0, others.length - removed)].join("-"));
  const { language, script } = new Intl.Locale(canonical).maximize();
  const written = others.length > 0 && script ? [`${language}-${script}`] : [];
  return [...new Set([...longer, ...written, first])];
}
