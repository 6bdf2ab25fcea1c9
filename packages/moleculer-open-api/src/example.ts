import FastestValidator from "fastest-validator";
import { type AnyRule, propsOf, type RuleDefinition, ruleOf } from "./rule.ts";

export interface ExampleOptions {
  /** Usual values of fields by the field's name. A value that the field's rule refuses is not taken. */
  values?: Readonly<Record<string, unknown>>;
  /** Texts of many forms. The first that a rule accepts is taken. */
  candidates?: readonly string[];
}

const ID = "0198c0de-0000-7000-8000-000000000001";
const RANDOM_ID = "9f1c2d3e-4b5a-4c6d-8e7f-0123456789ab";
const TIME = "2026-11-22T10:30:00Z";
const OBJECT_ID = "507f1f77bcf86cd799439011";

const CANDIDATES = [
  "text",
  "ada@example.com",
  "https://example.com/",
  TIME,
  "2026-11-22",
  "10:30",
  "+4915112345678",
  "EUR",
  "DE",
  "en",
  "4711",
  "9f86d081884c7d65",
  ID,
  RANDOM_ID,
  "4242424242424242",
  "00:1a:2b:3c:4d:5e",
  "12.50",
  "$12.50",
  "A text of several words.",
  "A",
];

/** The types of which no value can be written down, or only by the service's own code. */
const UNKNOWN = ["any", "class", "custom", "forbidden", "function"];

/** A value that the rule accepts, the same each time; undefined where none is known. */
export function exampleOf(definition: RuleDefinition, options: ExampleOptions = {}, name = ""): unknown {
  const rule = ruleOf(definition);
  const { type, items, value, values, rules } = rule;
  if (UNKNOWN.includes(type)) return undefined;
  if (rule.default !== undefined && typeof rule.default !== "function") return rule.default;
  switch (type) {
    case "object": {
      const fields = Object.entries(propsOf(rule)).map(([field, inner]) => [
        field,
        exampleOf(inner, options, field),
      ]);
      return Object.fromEntries(fields);
    }
    case "array": {
      const item =
        items === undefined ? (rule.enum?.[0] ?? "text") : exampleOf(items as RuleDefinition, options, name);
      return item === undefined ? [] : [item];
    }
    case "tuple":
      return ((items ?? []) as readonly RuleDefinition[]).map((item) => exampleOf(item, options, name));
    case "record": {
      const of = (value ?? "any") as RuleDefinition;
      return { key: isAccepted(ruleOf(of), "value") ? "value" : exampleOf(of, options) };
    }
    case "multi":
      return rules?.[0] === undefined ? undefined : exampleOf(rules[0], options, name);
    case "enum":
      return values?.[0];
    case "equal":
      return value;
    case "boolean":
      return true;
    case "date":
      return TIME;
    case "objectID":
      return OBJECT_ID;
    case "uuid":
      return [ID, RANDOM_ID].find((id) => isAccepted(rule, id));
    default: {
      const usual = usualValue(name, options.values ?? {});
      const known = type === "number" ? numbersOf(rule) : textsOf(rule, options.candidates ?? CANDIDATES);
      return [usual, ...known].find((candidate) => isAccepted(rule, candidate));
    }
  }
}

function usualValue(name: string, values: Readonly<Record<string, unknown>>): unknown {
  return values[name] ?? values[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)];
}

function numbersOf({ min = 1, max, equal }: AnyRule): unknown[] {
  return [equal, Math.max(1, min), min, max, -1, 0];
}

function textsOf({ enum: allowed, length, min = 1 }: AnyRule, candidates: readonly string[]): unknown[] {
  return [...(allowed ?? []), ...candidates, "a".repeat(length ?? min), "1".repeat(length ?? min)];
}

// The module is CommonJS and exports the class itself, which its types state as a default export.
const Validator = FastestValidator as unknown as typeof FastestValidator.default;
const validator = new Validator();
type Check = (value: unknown) => unknown;

/** Compiling a rule takes most of the time, and the same rules stand in many bodies and answers. */
const checks = new WeakMap<AnyRule, Check>();

function isAccepted(rule: AnyRule, value: unknown): boolean {
  if (value === undefined || !(rule.type in validator.rules)) return false;
  const check = checks.get(rule) ?? compile(rule);
  checks.set(rule, check);
  return check({ value }) === true;
}

function compile(rule: AnyRule): Check {
  // The validator completes the objects that it is given. A function of the service's own may have effects.
  const { custom, messages, ...plain } = rule;
  return validator.compile({ value: plain } as Parameters<typeof validator.compile>[0]) as Check;
}
