import { describe, expect, it } from "@jest/globals";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import FastestValidator from "fastest-validator";
import { exampleOf, jsonSchemaOf, type RuleDefinition } from "moleculer-open-api";

// The module is CommonJS and exports the class itself, which its types state as a default export.
const Validator = FastestValidator as unknown as typeof FastestValidator.default;
const ajv = new Ajv2020({ strict: false });
(addFormats as unknown as (ajv: Ajv2020) => void)(ajv);

/** A rule, the schema that it becomes, and values that the schema has to refuse as the validator does. */
const rules: [RuleDefinition, object, unknown[]][] = [
  ["string", { type: "string" }, [1]],
  ["string|min:3|max:5", { type: "string", minLength: 3, maxLength: 5 }, ["ab", "abcdef"]],
  ["string|length:4|numeric", { type: "string", minLength: 4, maxLength: 4 }, ["123", "abcd"]],
  ["string|no-empty", { type: "string", minLength: 1 }, [""]],
  [{ type: "string", enum: ["a", "b"] }, { type: "string", enum: ["a", "b"] }, ["c"]],
  [{ type: "string", pattern: /^[A-Z]{2}$/ }, { type: "string", pattern: "^[A-Z]{2}$" }, ["d"]],
  [{ type: "string", pattern: "^[A-Z]{2}$" }, { type: "string", pattern: "^[A-Z]{2}$" }, ["d"]],
  ["string|alphanum", { type: "string", pattern: "^[a-zA-Z0-9]+$" }, ["a b"]],
  ["number", { type: "number" }, ["1"]],
  ["number|integer|min:5|max:9", { type: "integer", minimum: 5, maximum: 9 }, [4, 10, 5.5]],
  ["number|positive", { exclusiveMinimum: 0 }, [0]],
  ["number|negative", { exclusiveMaximum: 0 }, [0]],
  [{ type: "number", equal: 7 }, { const: 7 }, [8]],
  ["boolean", { type: "boolean" }, ["true"]],
  ["email", { format: "email" }, ["nobody"]],
  ["url", { format: "uri" }, ["nowhere"]],
  ["uuid", { format: "uuid" }, ["4711"]],
  [{ type: "uuid", version: 4 }, { format: "uuid" }, ["4711"]],
  ["luhn", { type: "string" }, []],
  ["mac", { type: "string" }, [5]],
  ["currency|currencySymbol:$", { type: "string" }, []],
  [{ type: "enum", values: ["a", "b"] }, { type: "string", enum: ["a", "b"] }, ["c"]],
  [{ type: "enum", values: [1, "b"] }, { enum: [1, "b"] }, [2]],
  [{ type: "equal", value: "yes" }, { const: "yes" }, ["no"]],
  ["string[]", { type: "array", items: { type: "string" } }, [[1], "text"]],
  [{ type: "array", items: "number|integer", min: 1, max: 2 }, { minItems: 1, maxItems: 2 }, [[], [1, 2, 3]]],
  [{ type: "array", items: "string", unique: true }, { uniqueItems: true }, [["a", "a"]]],
  [{ type: "tuple", items: ["string", "number"] }, { prefixItems: [{}, {}] }, [["a"], [1, "a"]]],
  [{ type: "object", props: { a: "string" } }, { required: ["a"] }, [{}, { a: 1 }]],
  [
    { type: "object", strict: true, properties: { a: "string" } },
    { additionalProperties: false },
    [{ a: "", b: 1 }],
  ],
  [{ type: "object", strict: "remove", props: { a: "string|optional" } }, { properties: {} }, [{ a: 1 }]],
  [{ $$type: "object", a: "string", b: { $$type: "object", c: "number" } }, {}, [{ a: "", b: {} }]],
  [{ type: "record", key: "string|alpha", value: "number" }, { type: "object" }, [{ key: "text" }]],
  [["string", "number"], { anyOf: [{}, {}] }, [true]],
  [{ type: "string", nullable: true }, { type: ["string", "null"] }, [1]],
];

describe.each(rules)("the rule %j", (rule, expected, refused) => {
  // Compiling completes the objects that it is given.
  const copy = () => (typeof rule === "string" ? rule : structuredClone(rule));
  const schema = jsonSchemaOf(copy());
  const validate = ajv.compile(schema);
  const check = new Validator().compile({ value: copy() } as never) as (value: unknown) => unknown;

  it("becomes the JSON Schema that refuses the same values", () => {
    expect(schema).toMatchObject(expected);
    for (const value of refused) {
      expect({ value, accepted: validate(value) }).toEqual({ value, accepted: false });
      expect({ value, accepted: check({ value }) === true }).toEqual({ value, accepted: false });
    }
  });

  it("has an example that the validator and the schema accept", () => {
    const value = exampleOf(copy());
    expect(value).toBeDefined();
    expect({ value, found: check({ value: structuredClone(value) }) }).toEqual({ value, found: true });
    expect({ value, errors: validate(value) ? null : validate.errors }).toEqual({ value, errors: null });
  });
});

describe("a rule without an effect on a document", () => {
  it.each(["any", "custom", "class", "function", "of-another-package"])(
    "of type %s accepts any value",
    (type) => {
      expect(jsonSchemaOf({ type })).toEqual({});
      expect(exampleOf({ type })).toBeUndefined();
    },
  );

  it("with a custom check is not run for an example", () => {
    let calls = 0;
    const rule = { type: "string", custom: () => calls++ };
    expect(exampleOf(rule)).toBe("text");
    expect(calls).toBe(0);
  });

  it("whose pattern was lost between nodes has none", () => {
    expect(jsonSchemaOf(JSON.parse(JSON.stringify({ type: "string", pattern: /a/ })))).toEqual({
      type: "string",
    });
  });

  it("with a pattern that ignores case has none, because JSON Schema has no flags", () => {
    expect(jsonSchemaOf({ type: "string", pattern: /^[a-z]+$/i })).toEqual({ type: "string" });
  });

  it("that forbids a field leaves it out", () => {
    const rule = { type: "object", props: { a: "forbidden", b: "string|optional" } };
    expect(jsonSchemaOf(rule)).toEqual({ type: "object", properties: { b: { type: "string" } } });
  });
});
