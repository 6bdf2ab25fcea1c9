import { NO_CONTROL_CHARACTERS, type Props, type Rule, STORABLE } from "../../contracts/schema.ts";

/** JSON Schema 2020-12, the part that contracts need. */
export interface JsonSchema {
  [keyword: string]: unknown;
}

/** Names for schemas that are used in many places, by the object that holds their fields. */
export type SchemaNames = ReadonlyMap<Props, string>;

interface AnyRule extends Rule {
  readonly props?: Props;
  readonly items?: Rule;
  readonly key?: Rule;
  readonly value?: Rule;
  readonly values?: readonly string[];
  readonly pattern?: RegExp;
  readonly min?: number;
  readonly max?: number;
  readonly integer?: boolean;
  readonly trim?: boolean;
}

/** @returns the schema of a rule, with a reference wherever the rule's fields have a name */
export function jsonSchemaOf(rule: Rule, names: SchemaNames): JsonSchema {
  const name = names.get((rule as AnyRule).props as Props);
  const schema = name ? { $ref: `#/components/schemas/${name}` } : bodyOf(rule, names);
  return rule.nullable ? orNull(schema) : schema;
}

function orNull(schema: JsonSchema): JsonSchema {
  if (schema.$ref) return { anyOf: [schema, { type: "null" }] };
  const values = schema.enum as readonly unknown[] | undefined;
  return { ...schema, type: [schema.type, "null"], ...(values && { enum: [...values, null] }) };
}

/** The named schemas themselves, for the document's components. */
export function componentsOf(names: SchemaNames): Record<string, JsonSchema> {
  const entries = [...names].map(([props, name]) => {
    const rule = { type: "object", props } as Rule;
    return [name, bodyOf(rule, names)] as const;
  });
  return Object.fromEntries(entries.toSorted(([a], [b]) => a.localeCompare(b)));
}

function bodyOf(rule: Rule, names: SchemaNames): JsonSchema {
  const { type, props, items, key, value, values, min, max, integer } = rule as AnyRule;
  switch (type) {
    case "object":
      return objectOf(props ?? {}, names);
    case "array":
      return given({
        type: "array",
        items: jsonSchemaOf(items as Rule, names),
        minItems: min,
        maxItems: max,
      });
    case "record":
      return {
        type: "object",
        propertyNames: jsonSchemaOf(key as Rule, names),
        additionalProperties: jsonSchemaOf(value as Rule, names),
      };
    case "enum":
      return { type: "string", enum: values };
    case "number":
      return given({ type: integer ? "integer" : "number", minimum: min, maximum: max });
    case "boolean":
      return { type: "boolean" };
    case "uuid":
      return { type: "string", format: "uuid" };
    case "string":
      return given({ type: "string", minLength: min, maxLength: max, pattern: patternOf(rule as AnyRule) });
    default:
      throw new Error(`no JSON Schema is known for a rule of type ${type}`);
  }
}

/** Every control character but the line feed. Half a surrogate pair is no text that JSON could carry. */
const CONTROL = "\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f";

/**
 * The pattern as other people's tools read it: few know Unicode's properties of characters. What surrounds a text
 * that is trimmed before it is looked at may be any white space, and a text that may not be empty may not be blank.
 */
function patternOf({ pattern, trim, min = 0 }: AnyRule): string | undefined {
  if (!pattern || pattern.source === STORABLE.source) return undefined;
  if (pattern.source === NO_CONTROL_CHARACTERS.source) {
    const inside = `[^${CONTROL}\\s](?:[^${CONTROL}]*[^${CONTROL}\\s])?`;
    return `^\\s*${min > 0 ? inside : `(?:${inside})?`}\\s*$`;
  }
  const portable = pattern.source
    .replaceAll("\\p{Cc}", "\\x00-\\x1f\\x7f-\\x9f")
    .replaceAll("\\p{Cs}", "")
    // Dialects spell other characters in different ways. Without them the pattern takes more than we do.
    .replace(/\\u[0-9a-f]{4}(?:-\\u[0-9a-f]{4})?/g, "")
    .replaceAll("\\0", "\\x00");
  return trim ? portable.replace(/^\^/, "^\\s*(?:").replace(/\$$/, ")\\s*$") : portable;
}

function objectOf(props: Props, names: SchemaNames): JsonSchema {
  const required = Object.entries(props).flatMap(([name, rule]) => (rule.optional ? [] : [name]));
  const properties = Object.entries(props).map(([name, rule]) => [name, jsonSchemaOf(rule, names)]);
  return {
    type: "object",
    properties: Object.fromEntries(properties),
    ...(required.length > 0 && { required }),
    additionalProperties: false,
  };
}

function given(schema: JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined));
}
