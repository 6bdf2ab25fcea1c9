import { countries } from "../lib/countries.ts";
import { decimal, type Infer, matching, object, optional, text } from "./schema.ts";

/** WGS 84, in degrees. */
export const position = object({ latitude: decimal(-90, 90), longitude: decimal(-180, 180) });
export type Position = Infer<typeof position>;

const addressFields = {
  line1: text(200),
  line2: optional(text(200)),
  city: text(100),
  postalCode: text(20),
  /** ISO 3166-1 alpha-2. */
  country: matching(/^[A-Z]{2}$/, 2, "a country of ISO 3166, as DE"),
  position: optional(position),
} as const;
/** An address as it is stored and answered. */
export const address = object(addressFields);
/** An address that somebody gives. */
export const givenAddress = object({
  ...addressFields,
  country: matching(new RegExp(`^(?:${countries.join("|")})$`), 2, "a country of ISO 3166, as DE"),
});
export type Address = Infer<typeof address>;

/** E.164: a plus and at most fifteen digits, none of them a leading zero. */
export const phone = matching(/^\+[1-9]\d{6,14}$/, 16, "a number with its country, as +4915112345678");
/** The name of a person: letters of any script with their marks, spaces, hyphens and apostrophes. */
export const personName = {
  ...text(100),
  pattern: /^\p{L}[\p{L}\p{M} '’-]*$/u,
  messages: { stringPattern: "Must be a name: letters, with spaces, hyphens and apostrophes between them." },
} as const;
/** BCP 47, the part that we have templates for. */
export const language = matching(/^[a-z]{2}(-[A-Z]{2})?$/, 5, "a language, as en or de-AT");
