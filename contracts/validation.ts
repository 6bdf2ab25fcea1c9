import { domainToASCII } from "node:url";
import FastestValidator, {
  type ValidationError,
  type ValidationSchema,
  type ValidatorConstructorOptions,
} from "fastest-validator";
import { shorten } from "../lib/text.ts";
import type { FieldError } from "./errors.ts";
import type { Rule } from "./schema.ts";

/** More than so many wrong fields help nobody, and an answer stays small whatever was sent. */
const MAX_ERRORS = 50;
const MAX_MESSAGE_LENGTH = 300;

/**
 * Tells what is wrong with a value; it trims and normalizes texts of the value in place as the schema says.
 * @returns nothing but the wrong fields: an empty list for a valid value
 */
export type Check = (value: unknown) => FieldError[];

type Compile = Parameters<FastestValidator.default["add"]>[1];
/** What its rules are made with; the package's types leave it out. */
interface Validator {
  makeError(error: { type: string; messages: unknown; expected: number; actual: string }): string;
}

// The module is CommonJS and exports the class itself, which its types state as a default export.
const Base = FastestValidator as unknown as typeof FastestValidator.default;
type Finding = Parameters<FastestValidator.default["makeError"]>[0];

/**
 * It keeps nothing of a value but the names of unknown fields. No message shows a value, and the package makes a text of
 * each: of `[{ "toString": "" }]` there is none, and the check would throw.
 */
class FieldValidator extends Base {
  override makeError({ actual, ...finding }: Finding): string {
    return super.makeError(finding.type === "objectStrict" && actual ? { ...finding, actual } : finding);
  }
}

/** What is wrong, to be read beside the field's name; what a form looks like says its rule. */
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

// Absent is left out: null is no value for any field, be it optional.
const notNull = { nullable: false };

const builtIn = new FieldValidator().rules.string as unknown as Compile;

const MAX_MAIL_LENGTH = 254;
const NOT_ASCII = /\P{ASCII}/u;
const ASCII_MAIL = /^[^@]+@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{1,63}$/;
/** Characters that the URL parser behind domainToASCII gives a meaning that they have not in a mail address. */
const NO_DOMAIN = /[\p{ASCII}--[a-zA-Z0-9.\-]]/v;

/** The address with its domain in Punycode; undefined where IDNA knows no such domain. */
function withAsciiDomain(address: string): string | undefined {
  const at = address.lastIndexOf("@") + 1;
  const domain = address.slice(at);
  if (!NOT_ASCII.test(domain) || NO_DOMAIN.test(domain)) return address;
  const ascii = address.slice(0, at) + domainToASCII(domain);
  return ascii.length <= MAX_MAIL_LENGTH && ASCII_MAIL.test(ascii) ? ascii : undefined;
}

/**
 * Texts are measured in code points, as JSON Schema and PostgreSQL do it: an emoji is one of them and two of
 * JavaScript's. A text that is trimmed may have so much as it came, for the documentation states its length and white
 * space has one too; what is too long is not looked at any further.
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

/** What every validator is made with, of the gateway and of the brokers: what one takes, no other refuses. */
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
 * The check of a contract's schema, which is closed at every level. It is compiled once, when the first value
 * comes: those of all routes would be 30 ms of each start.
 */
export function checkOf(rule: Rule): Check {
  let check: Compiled | undefined;
  return (value) => {
    check ??= validator.compile({ $$root: true, ...rule } as ValidationSchema) as Compiled;
    const found = check(value);
    return found === true ? [] : fieldErrors(found);
  };
}

/**
 * The validator's findings in the catalogue's form: each unknown field under its own name, and never the value
 * that was sent, which may be a password.
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
