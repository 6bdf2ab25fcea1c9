import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import {
  searchQuery,
  searchWords,
  storedWords,
  WORDS_VERSION,
} from "../../services/partners/domain/search-words.ts";

describe("search words", () => {
  it.each([
    ["Crème brûlée", ["creme", "brulee"]],
    ["ÄPFEL, äpfel; Apfel", ["apfel"]],
    ["Fritz-Kola 0.33l", ["fritz", "kola", "0", "33l"]],
    ["Пельмени С мясом", ["пельмени", "с", "мясом"]],
    ["ﬁsh & chips", ["fish", "chips"]],
    ["'; DROP TABLE products; --", ["drop", "table", "products"]],
    ["!?", []],
    ["Straße, STRASSE", ["strasse"]],
    ["Łosoś Smørrebrød đậu Þorskur Œuf", ["losos", "smorrebrod", "dau", "thorskur", "oeuf"]],
    ["İskender ISPANAK ıspanak", ["iskender", "ispanak"]],
    ["Ｃｏｌａ ３３０", ["cola", "330"]],
    ["ΣΊΣΥΦΟΣ σίσυφος", ["σισυφοσ"]],
    ["Ёжик ежик", ["ежик"]],
    ["شَاوَرْمَا شاورما", ["شاورما"]],
    ["كـبـاب کباب", ["كباب"]],
    ["قهوة قهوه", ["قهوه"]],
    ["أكل إكل آكل ٱكل", ["اكل"]],
    ["مصلى مصلي", ["مصلي"]],
    ["می\u200cخواهم", ["ميخواهم"]],
    ["٣٥٠ ۳۵۰ ३५०", ["350"]],
    ["שָׁלוֹם שלומ", ["שלומ"]],
    ["क़ीमा कीमा", ["कीमा"]],
    ["Col·lecció caf\u00ade", ["colleccio", "cafe"]],
    ["L’Oréal L'Oreal", ["l", "oreal", "loreal"]],
    ["牛肉面", ["牛肉", "肉面", "面"]],
    ["ラーメン ﾗｰﾒﾝ らーめん", ["らー", "ーめ", "めん", "ん"]],
    ["ガ ｶﾞ", ["が"]],
    ["김치찌개", ["김치", "치찌", "찌개", "개"]],
    ["可乐can3号", ["can3", "可乐", "乐", "号"]],
  ])("of %s are %j", (text, words) => {
    expect(searchWords(text)).toEqual(words);
  });

  it("of numbers in the digits of a common script, are those of the European digits", () => {
    const scripts = "٠۰०০੦૦୦௦౦೦൦๐໐༠၀០";
    for (const zero of scripts) {
      const digits = Array.from({ length: 10 }, (_, value) =>
        String.fromCodePoint((zero.codePointAt(0) as number) + value),
      );
      expect([zero, searchWords(digits.join(""))]).toEqual([zero, ["0123456789"]]);
    }
  });

  it("of any text, are accepted by PostgreSQL: never empty, quoted or longer than a lexeme", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 2_000 }), (text) =>
        searchWords(text).every(
          (word) => word.length > 0 && Buffer.byteLength(word) <= 2_046 && !/['\\\s]/.test(word),
        ),
      ),
    );
  });

  it.each([
    ["牛肉面", "红烧牛肉面"],
    ["面", "红烧牛肉面"],
    ["烧牛", "红烧牛肉面"],
    ["ผัด", "ข้าวผัดกุ้ง"],
    ["らーめん", "味噌ラーメン大盛"],
    ["ﾗｰﾒﾝ", "味噌ラーメン大盛"],
    ["찌개", "김치찌개"],
    ["한국", "한국사람"],
    ["コーラ 500", "コカ・コーラ５００ｍｌ"],
    ["strasse", "Straßenbahn"],
    ["Straße", "STRASSENBAHN"],
    ["losos", "Łosoś wędzony"],
    ["łosoś", "LOSOS"],
    ["ispanak", "Ispanaklı börek"],
    ["شاورما دجاج", "شَاوَرْمَا دَجَاج"],
    ["oreal", "L’Oréal"],
  ])("of the query %s, are all among those of %s", (q, text) => {
    const stored = storedWords(text);
    for (const term of searchQuery(q)?.split(" & ") ?? [""]) {
      const [, word, begun] = /^'(.+)'(:\*)?$/.exec(term) ?? [];
      expect(stored.some((one) => (begun ? one.startsWith(word as string) : one === word))).toBe(true);
    }
  });

  it("of a query, find no product by the version of its rules", () => {
    expect(searchQuery(WORDS_VERSION)).toBe("'2':*");
    expect(searchQuery("#")).toBeUndefined();
  });

  it("of a query, are all found by their beginnings", () => {
    expect(searchQuery("Cré brû")).toBe("'cre':* & 'bru':*");
    expect(searchQuery("  ")).toBeUndefined();
  });
});
