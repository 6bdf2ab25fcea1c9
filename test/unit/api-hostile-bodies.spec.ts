import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";

/** Properties that every object inherits and that a body may override. */
const inherited = fc.constantFrom("toString", "valueOf", "constructor", "__proto__", "toJSON", "length");
const { value: hostile } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    ...[fc.string(), fc.double(), fc.boolean(), fc.constant(null)],
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.oneof(inherited, fc.string()), tie("value"), { maxKeys: 4 }),
  ),
}));
const operations = routes.map(endpointOf).flatMap(({ operation, body }) => {
  const check = body?.part?.check;
  return check ? [{ operation, check }] : [];
});

describe("the body of", () => {
  it.each(operations)("$operation, with any content, is checked without a throw", ({ check }) => {
    fc.assert(
      fc.property(hostile, (value) => {
        const text = JSON.stringify(value);
        expect(Array.isArray(check(JSON.parse(text)))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("more than thirty operations is JSON", () => {
    expect(operations.length).toBeGreaterThan(30);
  });
});
