import type { Props, Rule } from "../../contracts/schema.ts";

/** JSON Schema 2020-12, the part that contracts need. */
export interface JsonSchema {
  [keyword: string]: unknown;
}

/** Names for schemas that are used in many places, by the object that holds their fields. */
export type SchemaNames = ReadonlyMap<Props, string>;

interface AnyRule extends Rule {
  readonly props?: Props;
  readonly items?: Rule;
  readonly values?: readonly string[];
  readonly pattern?: RegExp;
  readonly min?: number;
  readonly max?: number;
  readonly integer?: boolean;
}

/** @returns the schema of a rule, with a reference wherever the rule's fields have a name */
export function jsonSchemaOf(rule: Rule, names: SchemaNames): JsonSchema {
  const name = names.get((rule as AnyRule).props as Props);
  return name ? { $ref: `#/components/schemas/${name}` } : bodyOf(rule, names);
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
  const { type, props, items, values, pattern, min, max, integer } = rule as AnyRule;
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
      return { type: "object", additionalProperties: { type: "string" } };
    case "enum":
      return { type: "string", enum: values };
    case "number":
      return given({ type: integer ? "integer" : "number", minimum: min, maximum: max });
    case "boolean":
      return { type: "boolean" };
    case "uuid":
      return { type: "string", format: "uuid" };
    case "string":
      return given({ type: "string", minLength: min, maxLength: max, pattern: pattern?.source });
    default:
      throw new Error(`no JSON Schema is known for a rule of type ${type}`);
  }
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
