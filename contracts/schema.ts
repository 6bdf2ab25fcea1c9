import { currencies } from "../lib/money.ts";

/**
 * The building blocks of contracts. A schema is a plain fastest-validator rule. `Infer` derives the TypeScript type from
 * it; the OpenAPI document, the Swagger page and the test of the .proto files read the same object.
 */
export interface Rule {
  readonly type: string;
  readonly optional?: boolean;
  /** For an optional field of a change: null removes the present value. */
  readonly nullable?: boolean;
  /** For a field that is always stored: the value if the client omits it. */
  readonly absent?: string;
}

interface ObjectRule<P extends Props = Props> extends Rule {
  readonly type: "object";
  readonly props: P;
}

export interface Props {
  readonly [name: string]: Rule;
}

type Flat<T> = { [K in keyof T]: T[K] };
type OptionalKeys<P extends Props> = {
  [K in keyof P]: P[K] extends { readonly optional: true } ? K : never;
}[keyof P];

/** The TypeScript type of the values that a schema accepts. */
export type Infer<R> = R extends { readonly type: "enum"; readonly values: readonly (infer V)[] }
  ? V
  : R extends { readonly type: "array"; readonly items: infer I }
    ? Infer<I>[]
    : R extends { readonly type: "record" }
      ? Record<string, string>
      : R extends { readonly type: "object"; readonly props: infer P extends Props }
        ? Flat<
            { [K in Exclude<keyof P, OptionalKeys<P>>]: Infer<P[K]> } & {
              [K in OptionalKeys<P>]?:
                | Infer<P[K]>
                | (P[K] extends { readonly nullable: true } ? null : never);
            }
          >
        : R extends { readonly type: "number" }
          ? number
          : R extends { readonly type: "boolean" }
            ? boolean
            : R extends { readonly type: "string" | "uuid" }
              ? string
              : never;

/** An object with these fields only. */
export function object<const P extends Props>(props: P) {
  return { type: "object", strict: true, props } as const;
}

export function array<const R extends Rule>(items: R, limits: { min?: number; max: number }) {
  return { type: "array", items, ...limits } as const;
}

/** A list in an answer. The request limits its length, not the schema. */
export function listOf<const R extends Rule>(items: R) {
  return { type: "array", items } as const;
}

export function optional<const R extends Rule>(rule: R) {
  return { ...rule, optional: true } as const satisfies Rule;
}

/** A field of a change: if absent, the present value stays; null removes it. */
export function clearable<const R extends Rule>(rule: R) {
  return { ...rule, optional: true, nullable: true } as const satisfies Rule;
}

export function oneOf<const V extends string>(...values: V[]) {
  return { type: "enum", values } as const;
}

/** A text of limited length without control characters. PostgreSQL cannot store a NUL. */
export function text(max: number, min = 1) {
  const messages = { stringPattern: "Must not hold control characters." };
  return { type: "string", min, max, trim: true, pattern: NO_CONTROL_CHARACTERS, messages } as const;
}

/**
 * A text that matches a pattern.
 * @param form describes the text after "Must be"; without quotation marks, because the validator compiles it into code
 */
export function matching(pattern: RegExp, max: number, form: string) {
  return { type: "string", pattern, max, messages: { stringPattern: `Must be ${form}.` } } as const;
}

export function integer(min: number, max: number) {
  return { type: "number", integer: true, min, max } as const;
}

export function decimal(min: number, max: number) {
  return { type: "number", min, max } as const;
}

// Refuses all control characters except the line feed, and all lone surrogates.
export const NO_CONTROL_CHARACTERS = /^(?:\n|[^\p{Cc}\p{Cs}])*$/u;

/** The largest version of a row: the range of uint32 in the proto files. */
export const VERSION_MAX = 2 ** 32 - 1;
/** The number of changes of a resource. It is the ETag, with which an If-Match is compared. */
export const version = integer(1, VERSION_MAX);

export const uuid = { type: "uuid" } as const;
export const boolean = { type: "boolean" } as const;
// Letters and digits of all scripts: "bücher" is accepted as written. The classes are negated, because all dialects of
// regular expressions support this form.
const MAIL_LETTER = String.raw`[^\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]`;
const MAIL_LETTER_OR_HYPHEN = String.raw`[^\x00-\x2c\x2e\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]`;
const MAIL_LABEL = `${MAIL_LETTER}(?:${MAIL_LETTER_OR_HYPHEN}{0,61}${MAIL_LETTER})?`;
/**
 * An e-mail address as browsers accept it (HTML Living Standard), in lower case and with a dot in its domain. An
 * internationalized domain is converted to Punycode, so that an address has one spelling only.
 * fastest-validator's own `email` rule accepts control characters.
 */
export const email = {
  type: "string",
  min: 3,
  max: 254,
  trim: true,
  lowercase: true,
  asciiDomain: true,
  pattern: new RegExp(
    `^[a-zA-Z0-9.!#$%&'*+/=?^_\`{|}~-]+@(?:${MAIL_LABEL}\\.)+${MAIL_LETTER_OR_HYPHEN}{1,63}$`,
    "u",
  ),
  messages: {
    stringPattern: "Must be an e-mail address, as ada@example.com.",
    mailDomain: "Must be an e-mail address whose domain can be registered.",
  },
} as const;
/** All characters except NUL. */
export const NO_NUL = /^[^\0]*$/;
/** A map of texts, as HTTP headers, the values of a template or a provider's settings. */
export const stringRecord = {
  type: "record",
  key: { type: "string", pattern: /^[!-~]{1,256}$/, messages: { stringPattern: "Is no name." } },
  value: { type: "string", max: 65_536, pattern: NO_NUL },
} as const;
// A host as browsers serialize it (Punycode), without user name and password: every client can use such an address.
const LABEL = "[a-zA-Z0-9_-]";
const OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const HOST = String.raw`(?:(?:${LABEL}+\.)*[a-zA-Z]${LABEL}*\.?|${OCTET}(?:\.${OCTET}){3})`;
const HTTP_URL = String.raw`https?:\/\/${HOST}(?::[0-9]{1,5})?(?:[\/?#][^\s\p{Cc}\p{Cs}]*)?`;
const HTTP_URL_FORM = "an address that begins with http:// or https:// and a host's name";
/** An absolute http(s) URL. (fastest-validator's own `url` rule has no length limit.) */
export const httpUrl = matching(new RegExp(`^${HTTP_URL}$`, "u"), 2048, HTTP_URL_FORM);
/** An absolute http(s) URL, or an empty text, which removes the present one. */
export const httpUrlOrEmpty = matching(new RegExp(`^(?:${HTTP_URL})?$`, "u"), 2048, HTTP_URL_FORM);
/** RFC 3339 in UTC. */
export const time = matching(
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/,
  27,
  "a time in UTC, as 2026-11-22T10:30:00Z",
);
/** Text that PostgreSQL can store. */
export const STORABLE = /^[^\0\p{Cs}]*$/u;

/**
 * The same rule for values that are stored already: it keeps the lengths, which are those of the columns, and accepts any
 * text. The rule for user input may have changed since the value was stored, so an inner call, a message or an answer
 * must not repeat it.
 */
export function stored<const R extends Rule>(rule: R): R {
  return relaxed(rule) as R;
}

type Relaxable = Rule & { props?: Props; items?: Rule; pattern?: RegExp; min?: number; max?: number };

function relaxed(rule: Rule): Rule {
  const { type, props, items, pattern, min, max, optional } = rule as Relaxable;
  if (props) {
    const made = relaxedProps(props);
    return made === props ? rule : ({ ...rule, props: made } as Rule);
  }
  if (items) return { ...rule, items: relaxed(items) } as Rule;
  // Times keep their pattern: programs write them, and readers calculate with them.
  if (type !== "string" || pattern === time.pattern) return rule;
  const lengths = { ...(min !== undefined && { min }), ...(max !== undefined && { max }) };
  return { type, ...lengths, pattern: STORABLE, ...(optional && { optional }) } as Rule;
}

/** Returns the same object for the same fields, because the generated documents name a schema by its identity. */
const relaxedBefore = new WeakMap<Props, Props>();

function relaxedProps(props: Props): Props {
  let made = relaxedBefore.get(props);
  if (!made) {
    const entries = Object.entries(props).map(([name, rule]) => [name, relaxed(rule)] as const);
    made = entries.every(([name, rule]) => rule === props[name]) ? props : Object.fromEntries(entries);
    relaxedBefore.set(props, made);
    relaxedBefore.set(made, made);
  }
  return made;
}

/** A currency as it is stored and answered. */
export const currency = matching(/^[A-Z]{3}$/, 3, "a currency, as EUR");
/** A currency in user input: a supported currency of ISO 4217. */
export const knownCurrency = matching(
  new RegExp(`^(?:${currencies.join("|")})$`),
  3,
  "a currency of ISO 4217, as EUR",
);
export const money = object({ amountMinor: integer(0, Number.MAX_SAFE_INTEGER), currency });
export const storedMoney = stored(money);
/** A positive amount of money in user input. */
export const positiveMoney = object({
  amountMinor: integer(1, Number.MAX_SAFE_INTEGER),
  currency: knownCurrency,
});
/** An answer without content. */
export const nothing = object({});

const cursor = matching(/^[A-Za-z0-9_-]+$/, 512, "the next_cursor of the page before");

/** One page of a list. The last page has no cursor. */
export function page<const R extends Rule>(items: R) {
  return object({ items: listOf(items), nextCursor: optional(cursor) });
}

/** The parameters of a list with pages. */
export const paging = {
  cursor: optional(cursor),
  limit: optional({ type: "number", integer: true, min: 1, max: 100, convert: true } as const),
} as const;

/** The `params` of an action for fastest-validator and Moleculer: an object without further fields at the root. */
export function rootOf(rule: ObjectRule): Record<string, unknown> {
  return { $$strict: true, ...rule.props };
}
