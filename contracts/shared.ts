import { countries } from "../lib/countries.ts";
import { canonicalLanguage, LANGUAGE_TAG_MAX_LENGTH } from "../lib/language.ts";
import { decimal, type Infer, matching, object, optional, stored, text } from "./schema.ts";

/** WGS 84, in degrees. */
export const position = object({ latitude: decimal(-90, 90), longitude: decimal(-180, 180) });
export type Position = Infer<typeof position>;

const addressFields = {
  line1: text(200),
  line2: optional(text(200)),
  city: text(100),
  /** Empty in a country without postal codes. */
  postalCode: text(20, 0),
  /** ISO 3166-1 alpha-2. */
  country: matching(/^[A-Z]{2}$/, 2, "a country of ISO 3166, as DE"),
  position: optional(position),
} as const;
/** An address in storage and in answers. */
export const address = stored(object(addressFields));
/** An address in user input. */
export const givenAddress = object({
  ...addressFields,
  postalCode: { ...addressFields.postalCode, absent: "" },
  country: matching(new RegExp(`^(?:${countries.join("|")})$`), 2, "a country of ISO 3166, as DE"),
});
export type Address = Infer<typeof address>;

/** The short number of an order, unique for its partner and day. Orders of earlier releases have none. */
export const orderNumber = matching(/^[A-Z]\d-\d{3,6}$/, 9, "the number of an order, as K7-042");

/** E.164: a plus and at most fifteen digits without a leading zero. */
export const phone = matching(/^\+[1-9]\d{6,14}$/, 16, "a number with its country, as +4915112345678");
// Control characters, line separators, characters that change the direction of text, and markup.
const NOT_IN_NAMES = String.raw`\p{Cc}\p{Cs}\u2028-\u202e\u2066-\u2069<>{}|\x60\[\]\\`;
/**
 * A person's name or a part of it: letters, marks, digits, spaces and punctuation of any script
 * ('t Hooft, J. R. R., King Jr., 李小龙).
 */
export const personName = {
  ...text(100),
  pattern: new RegExp(`^[^${NOT_IN_NAMES}\\s](?:[^${NOT_IN_NAMES}]*[^${NOT_IN_NAMES}\\s])?$`, "u"),
  messages: { stringPattern: "Must be a name, without control characters and markup as < or >." },
} as const;

type Finding = { type: string; actual?: unknown };

const languageForm = matching(
  /^(?:[A-Za-z]{2,3}|[A-Za-z]{5,8})(?:-[A-Za-z0-9]{1,8})*$/,
  LANGUAGE_TAG_MAX_LENGTH,
  "a language tag of BCP 47, as en, es-419 or zh-Hant",
);

/** A language tag of BCP 47 in its canonical spelling. A tag for private use only is refused: it names no language. */
export const language = {
  ...languageForm,
  messages: { ...languageForm.messages, languageTag: languageForm.messages.stringPattern },
  custom(value: unknown, errors: Finding[]): unknown {
    if (typeof value !== "string") return value;
    const canonical = canonicalLanguage(value);
    // The pattern's own error reports a text that does not match it. No pattern can express the order of subtags, or
    // that no subtag repeats.
    if (canonical === undefined && languageForm.pattern.test(value)) errors.push({ type: "languageTag" });
    return canonical ?? value;
  },
} as const;

/** The id of a session of any provider. Keycloak's ids look like UUIDs, but with any digit as the version. */
export const sessionId = matching(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 36, "the id of a session");
