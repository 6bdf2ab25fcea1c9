import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { NO_CONTROL_CHARACTERS } from "../../contracts/schema.ts";
import { charactersOf, shorten, shortenLine } from "../../lib/text.ts";

const FAMILY = "👩‍👩‍👧‍👦";

describe("shorten", () => {
  it.each([
    ["short text", "Cold pizza", 10, "Cold pizza"],
    ["a long text", "Cold pizza, twice", 11, "Cold pizza…"],
    ["an emoji at the limit", `${"x".repeat(8)}🍕🍕`, 11, `${"x".repeat(8)}🍕…`],
    ["half an emoji over the limit", `${"x".repeat(9)}🍕🍕`, 11, `${"x".repeat(9)}…`],
    ["an emoji of several code points", `${"x".repeat(9)}${FAMILY}y`, 20, `${"x".repeat(9)}…`],
    ["a flag", "xxxxxxx🇩🇪🇩🇪", 11, "xxxxxxx…"],
    ["a letter with its mark", "xxxxxxxxe\u0301xx", 10, "xxxxxxxx…"],
    ["control characters", "a\0b\tc\u009bd\ne", 20, "a b c d\ne"],
    ["a line end of two characters", "a\r\nb", 20, "a\nb"],
    ["lone surrogates", "a\ud83cb\udf55", 20, "a\ufffdb\ufffd"],
  ])("of %s, keeps whole characters and marks the omission", (_, text, maxLength, short) => {
    expect(shorten(text, maxLength)).toBe(short);
  });

  it("of one letter with very many marks, cuts between its code points", () => {
    const short = shorten(`a${"\u0301".repeat(500)}`, 100);
    expect(short).toHaveLength(100);
    expect(shorten("🍕\u200d".repeat(100), 100).isWellFormed()).toBe(true);
  });

  it("of any text at any limit, returns well-formed text within it, and the same again", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary", maxLength: 300 }),
        fc.integer({ min: 1, max: 200 }),
        (text, max) => {
          const halves = `${text.slice(1)}\ud83c${text}`;
          const short = shorten(halves, max);
          expect(short.length).toBeLessThanOrEqual(max);
          expect(short).toMatch(NO_CONTROL_CHARACTERS);
          expect(shorten(short, max)).toBe(short);
        },
      ),
    );
  });
});

describe("shortenLine", () => {
  it("of text on several lines, makes one line with single spaces", () => {
    expect(shortenLine(" a\r\n\n b\t\0c\u2028d ", 20)).toBe("a b c d");
  });
});

describe("charactersOf", () => {
  it("counts characters as readers do", () => {
    expect(charactersOf(`e\u0301${FAMILY}🇩🇪`)).toHaveLength(3);
  });
});
