import { describe, expect, it } from "@jest/globals";
import { fieldsOf, isText } from "../../providers/banks/fields.ts";
import { oneMatches } from "../../providers/banks/signature.ts";

describe("the fields of a bank's answer", () => {
  it.each([null, undefined, "text", 7, true])("are absent in %p", (value) => {
    expect(fieldsOf(value)).toEqual({});
    expect(typeof fieldsOf(value)).toBe("object");
  });

  it("of an object, are its own", () => {
    expect(fieldsOf({ id: 1 })).toEqual({ id: 1 });
  });
});

describe("an id of a bank", () => {
  it.each(["a", "pi_3SVqL2B7WZ01zgkW1aVb2c3D", "!~", "x".repeat(200)])("is %p", (id) => {
    expect(isText(id)).toBe(true);
  });

  it.each(["", "two words", "line\n", "ü", "\u007f", "x".repeat(201), 7, null, undefined, ["a"]])(
    "is not %p",
    (id) => {
      expect(isText(id)).toBe(false);
    },
  );
});

describe("signatures", () => {
  it("match if one is an expected one; others of any length do not", () => {
    expect(oneMatches(["x", "good"], ["better", "good"])).toBe(true);
    expect(oneMatches(["x", "goodx", ""], ["better", "good"])).toBe(false);
    expect(oneMatches([], ["good"])).toBe(false);
    expect(oneMatches(["good"], [])).toBe(false);
  });
});
