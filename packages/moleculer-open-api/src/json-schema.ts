import { isRegExp } from "node:util/types";
import { type AnyRule, type Props, propsOf, type RuleDefinition, ruleOf } from "./rule.ts";

/** JSON Schema 2020-12, which OpenAPI 3.1 and AsyncAPI 3.0 use. */
export interface JsonSchema {
  [keyword: string]: unknown;
}

export interface SchemaOptions {
  /** Names of schemas that are used in many places, by the object that holds their fields. */
  names?: ReadonlyMap<Props, string>;
  /** The fields of named objects to which later versions may add fields, whatever `strictObjects` says. */
  extensible?: ReadonlySet<Props>;
  /** Whether the validator refuses unknown fields of an object whose rule has no `strict`. Default: no. */
  strictObjects?: boolean;
  /** The pattern that the document shows for a rule of type string. Default: `patternOf`. */
  pattern?: (rule: AnyRule) => string | undefined;
}

/** The schema of a rule. It is a reference where `names` has a name for the rule's fields. */
export function jsonSchemaOf(definition: RuleDefinition, options: SchemaOptions = {}): JsonSchema {
  const rule = ruleOf(definition);
  const name = options.names?.get(rule.props as Props);
  const schema = name ? { $ref: `#/components/schemas/${name}` } : described(rule, bodyOf(rule, options));
  return rule.nullable ? orNull(schema) : schema;
}

/** The named schemas themselves, for the document's components. */
export function componentsOf(options: SchemaOptions): Record<string, JsonSchema> {
  const entries = [...(options.names ?? [])].map(([props, name]) => {
    const strict = options.extensible?.has(props) ? "remove" : undefined;
    return [name, bodyOf({ type: "object", props, ...(strict && { strict }) }, options)] as const;
  });
  return Object.fromEntries(entries.toSorted(([a], [b]) => a.localeCompare(b)));
}

function orNull(schema: JsonSchema): JsonSchema {
  if (schema.type === undefined) return { anyOf: [schema, { type: "null" }] };
  const values = schema.enum as readonly unknown[] | undefined;
  return { ...schema, type: [schema.type, "null"], ...(values && { enum: [...values, null] }) };
}

function described(rule: AnyRule, schema: JsonSchema): JsonSchema {
  const { description, default: preset } = rule;
  return {
    ...schema,
    ...(typeof description === "string" && { description }),
    ...(preset !== undefined && typeof preset !== "function" && { default: preset }),
  };
}

function bodyOf(rule: AnyRule, options: SchemaOptions): JsonSchema {
  const { type, value, values, min, max, length, unique, enum: allowed } = rule;
  const schemaOf = (definition: unknown) => jsonSchemaOf(definition as RuleDefinition, options);
  switch (type) {
    case "object":
      return objectOf(rule, options);
    case "array": {
      const items = rule.items === undefined ? allowed && enumOf(allowed) : schemaOf(rule.items);
      const uniqueItems = unique === true ? true : undefined;
      return given({ type, items, minItems: length ?? min, maxItems: length ?? max, uniqueItems });
    }
    case "tuple": {
      const items = (rule.items ?? []) as readonly RuleDefinition[];
      if (items.length === 0) return { type: "array" };
      const prefixItems = items.map(schemaOf);
      return { type: "array", prefixItems, minItems: items.length, maxItems: items.length };
    }
    case "record":
      return given({
        type: "object",
        propertyNames: rule.key === undefined ? undefined : schemaOf(rule.key),
        additionalProperties: value === undefined ? undefined : schemaOf(value),
      });
    case "multi":
      return { anyOf: (rule.rules ?? []).map(schemaOf) };
    case "enum":
      return enumOf(values ?? []);
    case "equal":
      return value === undefined ? {} : { const: value };
    case "number":
      return numberOf(rule);
    case "boolean":
      return { type };
    case "string":
      return stringOf(rule, options);
    default:
      // Any value, for a rule that nothing is known of: the document refuses none that the service takes.
      return texts[type] ?? {};
  }
}

/** The types whose values are texts of one form. */
const texts: Record<string, JsonSchema> = {
  currency: { type: "string" },
  date: { type: "string", format: "date-time" },
  email: { type: "string", format: "email" },
  luhn: { type: "string" },
  mac: { type: "string" },
  objectID: { type: "string", pattern: "^[0-9a-fA-F]{24}$" },
  url: { type: "string", format: "uri" },
  uuid: { type: "string", format: "uuid" },
};

function objectOf(rule: AnyRule, options: SchemaOptions): JsonSchema {
  const { strict = options.strictObjects, minProps, maxProps } = rule;
  const fields = Object.entries(propsOf(rule)).filter(([, field]) => ruleOf(field).type !== "forbidden");
  const required = fields.flatMap(([name, field]) => (isOptional(field) ? [] : [name]));
  const properties = fields.map(([name, field]) => [name, jsonSchemaOf(field, options)]);
  return given({
    type: "object",
    properties: Object.fromEntries(properties),
    required: required.length > 0 ? required : undefined,
    // "remove" takes unknown fields and drops them.
    additionalProperties: strict === true ? false : undefined,
    minProperties: minProps,
    maxProperties: maxProps,
  });
}

/** Whether a field may be left out. A field with a default may. */
export function isOptional(definition: RuleDefinition): boolean {
  const { optional, default: preset } = ruleOf(definition);
  return optional === true || (preset !== undefined && preset !== null);
}

function enumOf(values: readonly unknown[]): JsonSchema {
  const types = new Set(values.map((value) => typeof value));
  const [only = ""] = types.size === 1 ? types : [];
  return { ...(["string", "number", "boolean"].includes(only) && { type: only }), enum: values };
}

function numberOf({ integer, min, max, positive, negative, equal }: AnyRule): JsonSchema {
  return given({
    type: integer ? "integer" : "number",
    minimum: min,
    maximum: max,
    exclusiveMinimum: positive === true ? 0 : undefined,
    exclusiveMaximum: negative === true ? 0 : undefined,
    const: equal,
  });
}

function stringOf(rule: AnyRule, options: SchemaOptions): JsonSchema {
  const { min, max, length, empty, enum: allowed } = rule;
  const minLength = length ?? min ?? (empty === false ? 1 : undefined);
  const pattern = (options.pattern ?? patternOf)(rule);
  return given({ type: "string", minLength, maxLength: length ?? max, pattern, enum: allowed });
}

/** The pattern of each flag of a string rule. */
const flags: Record<string, string> = {
  alpha: "^[a-zA-Z]+$",
  alphadash: "^[a-zA-Z0-9_-]+$",
  alphanum: "^[a-zA-Z0-9]+$",
  hex: "^[0-9a-fA-F]*$",
  numeric: "^-?[0-9]+(\\.[0-9]+)?$",
};

/**
 * The pattern of a string's rule as the tools of other languages read it, which know few properties of characters.
 * White space around a text that is trimmed before it is checked is allowed. A pattern with flags has no equal.
 */
export function patternOf(rule: AnyRule): string | undefined {
  const { pattern, patternFlags, trim } = rule;
  const flag = Object.keys(flags).find((name) => rule[name] === true);
  // A pattern of a remote service's action is lost: regular expressions do not survive JSON.
  if (!isRegExp(pattern) && typeof pattern !== "string") return flag && flags[flag];
  const { source, flags: modifiers } =
    typeof pattern === "string" ? { source: pattern, flags: String(patternFlags ?? "") } : pattern;
  if (/[ims]/.test(modifiers)) return undefined;
  const portable = source
    .replaceAll("\\p{Cc}", "\\x00-\\x1f\\x7f-\\x9f")
    .replaceAll("\\p{Cs}", "")
    // Dialects spell other characters in different ways. Without them the pattern takes more than the validator.
    .replace(/\\u[0-9a-f]{4}(?:-\\u[0-9a-f]{4})?/g, "")
    .replaceAll("\\0", "\\x00");
  return trim ? portable.replace(/^\^/, "^\\s*(?:").replace(/\$$/, ")\\s*$") : portable;
}

function given(schema: JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined));
}
