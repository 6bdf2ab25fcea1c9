import { domainToASCII } from "node:url";
import FastestValidator, {
  type ValidationError,
  type ValidationSchema,
  type ValidatorConstructorOptions,
} from "fastest-validator";
import { shorten } from "../lib/text.ts";
import type { FieldError } from "./errors.ts";
import type { Rule } from "./schema.ts";

/** The most field errors in one answer, so that the answer stays small. */
const MAX_ERRORS = 50;
const MAX_MESSAGE_LENGTH = 300;

/**
 * Validates a value. It trims and normalizes the texts of the value in place, as the schema defines.
 * @returns the invalid fields; an empty list for a valid value
 */
export type Validate = (value: unknown) => FieldError[];

type Compile = Parameters<FastestValidator.default["add"]>[1];
/** The `this` of a compiled rule. The package's types do not include it. */
interface Validator {
  makeError(error: { type: string; messages: unknown; expected: number; actual: string }): string;
}

// The module is CommonJS and exports the class itself, but its types declare a default export.
const Base = FastestValidator as unknown as typeof FastestValidator.default;
type Finding = Parameters<FastestValidator.default["makeError"]>[0];

/**
 * Drops the actual value from errors, except the names of unknown fields. No message shows a value, and the package
 * would convert each value to a string, which throws for `[{ "toString": "" }]`.
 */
class FieldValidator extends Base {
  override makeError({ actual, ...finding }: Finding): string {
    return super.makeError(finding.type === "objectStrict" && actual ? { ...finding, actual } : finding);
  }
}

/** The error messages, shown beside the field's name. A rule with a pattern has its own message. */
const messages = {
  required: "Is required.",
  string: "Must be a text.",
  stringEmpty: "Must not be empty.",
  stringMin: "Must have a length of {expected} or more.",
  stringMax: "Must have a length of {expected} or less.",
  number: "Must be a number.",
  numberMin: "Must be {expected} or more.",
  numberMax: "Must be {expected} or less.",
  numberInteger: "Must be a whole number.",
  array: "Must be a list.",
  arrayMin: "Must hold {expected} or more.",
  arrayMax: "Must hold {expected} or fewer.",
  boolean: "Must be true or false.",
  object: "Must be an object.",
  record: "Must be an object.",
  uuid: "Must be an id, as 0198c0de-7f31-7a10-9d2e-0b7c5d1e2f30.",
};

// Null is not a valid value of any field, not even of an optional one.
const notNull = { nullable: false };

const builtIn = new FieldValidator().rules.string as unknown as Compile;

const MAX_MAIL_LENGTH = 254;
const NOT_ASCII = /\P{ASCII}/u;
const ASCII_MAIL = /^[^@]+@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{1,63}$/;
/** ASCII characters that domainToASCII, a URL parser, would interpret; they are not part of a mail domain. */
const NO_DOMAIN = /[\p{ASCII}--[a-zA-Z0-9.\-]]/v;

/** The address with its domain in Punycode; undefined if IDNA does not allow the domain. */
function withAsciiDomain(address: string): string | undefined {
  const at = address.lastIndexOf("@") + 1;
  const domain = address.slice(at);
  if (!NOT_ASCII.test(domain) || NO_DOMAIN.test(domain)) return address;
  const ascii = address.slice(0, at) + domainToASCII(domain);
  return ascii.length <= MAX_MAIL_LENGTH && ASCII_MAIL.test(ascii) ? ascii : undefined;
}

/**
 * Measures texts in code points, as JSON Schema and PostgreSQL do: an emoji has length 1, but 2 in JavaScript. `max`
 * applies before a text is trimmed, as in the documented schema. A text that is too long is not checked further.
 */
const measuredText: Compile = function (this: Validator, rule, path, context) {
  const { trim, min, max, asciiDomain, ...schema } = rule.schema as {
    trim?: boolean;
    min?: number;
    max?: number;
    asciiDomain?: boolean;
  };
  const { messages } = rule;
  const made = builtIn.call(this, { ...rule, schema: { ...schema, trim } } as typeof rule, path, context);
  const checks: string[] = [];
  if (max !== undefined) {
    const error = this.makeError({ type: "stringMax", messages, expected: max, actual: "value.length" });
    const isLonger = `value.length > ${max} && (value.length > ${2 * max} || [...value].length > ${max})`;
    checks.push(`if (typeof value === "string" && ${isLonger}) { ${error} return value; }`);
  }
  if (min !== undefined) {
    const error = this.makeError({ type: "stringMin", messages, expected: min, actual: "value.length" });
    const isShorter = `text.length < ${min} || (text.length < ${2 * min} && [...text].length < ${min})`;
    const text = trim ? "value.trim()" : "value";
    checks.push(`if (typeof value === "string") { const text = ${text}; if (${isShorter}) { ${error} } }`);
  }
  if (asciiDomain) {
    (context.customs as Record<number, object>)[context.index - 1] = { withAsciiDomain };
    const error = this.makeError({ type: "mailDomain", messages, expected: 0, actual: "value" });
    checks.push(`if (typeof value === "string") {
      const ascii = context.customs[%%INDEX%%].withAsciiDomain(value.trim().toLowerCase());
      if (ascii === undefined) { ${error} return value; }
      value = ascii;
    }`);
  }
  return { ...made, source: [...checks, made.source].join("\n") };
};

/** The custom rules of all validators, of the gateway and of the brokers, so that all accept the same values. */
export const customRules = { string: measuredText };

const validator = new FieldValidator({
  useNewCustomCheckerFunction: true,
  considerNullAsAValue: true,
  customRules,
  messages,
  defaults: {
    object: { strict: true, ...notNull },
    array: notNull,
    boolean: notNull,
    email: notNull,
    enum: notNull,
    number: notNull,
    record: notNull,
    string: notNull,
    uuid: notNull,
  } as ValidatorConstructorOptions["defaults"],
});

type Compiled = (value: unknown) => true | ValidationError[];

/**
 * The validator of a schema, which allows no unknown fields at any level. It is compiled on first use: compiling the
 * schemas of all routes would take 30 ms of each start.
 */
export function validatorOf(rule: Rule): Validate {
  let check: Compiled | undefined;
  return (value) => {
    check ??= validator.compile({ $$root: true, ...rule } as ValidationSchema) as Compiled;
    const found = check(value);
    return found === true ? [] : fieldErrors(found);
  };
}

/**
 * Converts fastest-validator's errors to those of the catalogue: one per unknown field, and without the sent value,
 * which may be a password.
 */
export function fieldErrors(found: readonly Partial<ValidationError>[]): FieldError[] {
  return found.flatMap(oneFinding).slice(0, MAX_ERRORS);
}

function oneFinding({ type = "invalid", field = "", message, actual, expected }: Partial<ValidationError>) {
  if (type === "objectStrict") {
    return String(actual)
      .split(", ")
      .map((name) => ({
        field: cut(field ? `${field}.${name}` : name),
        rule: "unknown",
        message: "There is no such field here.",
      }));
  }
  const text = type === "enumValue" ? `Must be one of: ${expected}.` : (message ?? "Is not valid.");
  return [{ field: cut(field), rule: type, message: cut(text) }];
}

function cut(text: string): string {
  return shorten(text, MAX_MESSAGE_LENGTH);
}
