import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { searchQuery, searchWords } from "../../services/partners/search-words.ts";

describe("search words", () => {
  it.each([
    ["Crème brûlée", ["creme", "brulee"]],
    ["ÄPFEL, äpfel; Apfel", ["apfel"]],
    ["Fritz-Kola 0.33l", ["fritz", "kola", "0", "33l"]],
    ["Пельмени С мясом", ["пельмени", "с", "мясом"]],
    ["ﬁsh & chips", ["fish", "chips"]],
    ["'; DROP TABLE products; --", ["drop", "table", "products"]],
    ["!?", []],
  ])("of %s are %j", (text, words) => {
    expect(searchWords(text)).toEqual(words);
  });

  it("of any text, are words that PostgreSQL takes: never empty, quoted or longer than a lexeme", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 2_000 }), (text) =>
        searchWords(text).every(
          (word) => word.length > 0 && Buffer.byteLength(word) <= 2_046 && !/['\\\s]/.test(word),
        ),
      ),
    );
  });

  it("of a query, are all found by their beginnings", () => {
    expect(searchQuery("Cré brû")).toBe("'cre':* & 'bru':*");
    expect(searchQuery("  ")).toBeUndefined();
  });
});
