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

/** Users can set any language, and creating the rules takes 40 us. */
const PLURAL_RULES_MAX = 200;
const pluralRules = new Map<string, Intl.PluralRules>();

/**
 * The plural category of a number (CLDR): in English `one` for 1, else `other`. A language whose rules are unknown has
 * those of English, whatever the language of the process is.
 */
export function pluralCategory(language: string, value: number): Intl.LDMLPluralRule {
  let rules = pluralRules.get(language);
  if (!rules) {
    if (pluralRules.size >= PLURAL_RULES_MAX) pluralRules.clear();
    rules = new Intl.PluralRules([language, "en"]);
    pluralRules.set(language, rules);
  }
  return rules.select(value);
}

const ACCEPT_LANGUAGE_MAX = 20;

/**
 * The language out of `offered` that an `Accept-Language` header prefers (RFC 9110, 12.5.4). A wildcard and what follows
 * the first 20 languages are ignored.
 */
export function acceptedLanguage(header: string | undefined, offered: readonly string[]): string | undefined {
  const wanted = (header ?? "")
    .split(",", ACCEPT_LANGUAGE_MAX)
    .map((entry) => {
      const [tag = "", quality] = entry.split(";");
      return {
        tag: tag.trim(),
        weight: Number(/^\s*q=([01](?:\.\d{0,3})?)\s*$/i.exec(quality ?? "q=1")?.[1] ?? 0),
      };
    })
    .filter(({ weight }) => weight > 0)
    .toSorted((a, b) => b.weight - a.weight);
  return wanted.flatMap(({ tag }) => languageFallbacks(tag)).find((language) => offered.includes(language));
}
