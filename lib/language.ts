/** The recommended minimum of RFC 5646, 4.4.1. No tag in use is longer. */
export const LANGUAGE_TAG_MAX_LENGTH = 35;

/** A BCP 47 tag in its canonical spelling: `zh-Hant` for `zh-hant`. Undefined for an invalid tag. */
export function canonicalLanguage(tag: string): string | undefined {
  try {
    return Intl.getCanonicalLocales(tag)[0];
  } catch {
    return undefined;
  }
}

/**
 * The tag and its fallbacks, the nearest first. Each fallback lacks one more subtag at the end (RFC 4647, lookup). A region
 * without a script gets its usual script: `zh-TW`, `zh-Hant`, `zh`.
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
