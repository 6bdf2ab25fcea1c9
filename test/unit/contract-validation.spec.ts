import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import {
  array,
  boolean,
  email,
  integer,
  money,
  object,
  oneOf,
  optional,
  stringRecord,
  text,
  time,
  uuid,
} from "../../contracts/schema.ts";
import { language, personName, phone } from "../../contracts/shared.ts";
import { fieldErrors, validatorOf } from "../../contracts/validation.ts";

const check = validatorOf(
  object({
    name: text(5),
    note: optional(text(5)),
    inner: optional(object({ count: integer(1, 9) })),
    list: optional(array(object({ kind: oneOf("a", "b") }), { max: 2 })),
  }),
);

const rules = (value: unknown) => check(value).map(({ field, rule }) => `${field} ${rule}`);

describe("validation", () => {
  it("of a valid value, finds nothing and trims it", () => {
    const value = { name: " ab " };
    expect(check(value)).toEqual([]);
    expect(value).toEqual({ name: "ab" });
  });

  it("names each wrong field by its path, unknown ones too", () => {
    expect(rules({ name: 1, extra: 1, other: 2 })).toEqual(["name string", "extra unknown", "other unknown"]);
    expect(rules({ name: "a", inner: { count: 10, x: 1 } })).toEqual([
      "inner.count numberMax",
      "inner.x unknown",
    ]);
    expect(rules({ name: "a", list: [{ kind: "a" }, { kind: "c" }] })).toEqual(["list[1].kind enumValue"]);
  });

  it.each([[null], [undefined], [[]], ["text"], [1]])(
    "of %p in place of an object, reports that",
    (value) => {
      expect(check(value)).toHaveLength(1);
    },
  );

  it("of null in an optional field, reports it: an absent field is left out", () => {
    expect(rules({ name: "a", note: null })).toEqual(["note required"]);
    expect(rules({ name: "a", inner: null })).toEqual(["inner required"]);
  });

  it("names the required form instead of a pattern", () => {
    const form = validatorOf(object({ email, name: personName, phone, password: text(128, 8), at: time }));
    const wrong = form({ email: "ada", name: "<b>", phone: "0151", password: "short", at: "noon" });
    expect(wrong.map(({ message }) => message)).toEqual([
      "Must be an e-mail address, as ada@example.com.",
      "Must be a name, without control characters and markup as < or >.",
      "Must be a number with its country, as +4915112345678.",
      "Must have a length of 8 or more.",
      "Must be a time in UTC, as 2026-11-22T10:30:00Z.",
    ]);
  });

  it.each([
    ["Ada@BÜCHER.example", "ada@xn--bcher-kva.example"],
    ["ada@例え.テスト", "ada@xn--r8jz45g.xn--zckzah"],
    ["ada@straße.example", "ada@xn--strae-oqa.example"],
    ["ada@пример。рф", "ada@xn--e1afmkfd.xn--p1ai"],
    ["ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"],
    [" ada@example.com ", "ada@example.com"],
  ])("of the mail address %s, keeps %s", (given, kept) => {
    const value = { email: given };
    expect(validatorOf(object({ email }))(value)).toEqual([]);
    expect(value.email).toBe(kept);
  });

  it.each([
    ["a domain that IDNA forbids", "ada@a\u200db.example", "mailDomain"],
    ["a label that is too long in Punycode", `ada@${"é".repeat(60)}.example`, "mailDomain"],
    ["an address that is too long in Punycode", `${"a".repeat(200)}@${"é.".repeat(10)}example`, "mailDomain"],
    ["a percent sign in the domain", "ada@ü%41.example", "stringPattern"],
    ["a path behind the domain", "ada@ü.example/x", "stringPattern"],
    ["no dot", "ada@bücher", "mailDomain"],
    ["letters of other scripts in front of the @", "zoë@example.com", "stringPattern"],
  ])("of a mail address with %s, reports it", (_, given, rule) => {
    expect(validatorOf(object({ email }))({ email: given }).map((found) => found.rule)).toEqual([rule]);
  });

  it("never repeats the value, which may be a password", () => {
    const secret = object({ password: { type: "string", min: 8, max: 10, pattern: /^x/ } as const });
    expect(JSON.stringify(validatorOf(secret)({ password: "hunter2" }))).not.toContain("hunter2");
  });

  it("reports at most fifty errors, in texts of limited length", () => {
    const many = Object.fromEntries(
      Array.from({ length: 200 }, (_, index) => [`${"x".repeat(1_000)}${index}`, 1]),
    );
    const found = check({ name: "a", ...many });
    expect(found).toHaveLength(50);
    expect(Math.max(...found.map(({ field }) => field.length))).toBeLessThan(400);
  });

  it.each([
    [
      "a name",
      personName,
      [
        ...[
          "Ada",
          "Jean-Luc",
          "O’Brien",
          "O'Brien",
          "Þóra",
          "Ngọc Ánh",
          "李小龙",
          "'t Hooft",
          "J. R. R.",
          "King Jr.",
        ],
        ...[
          "ʻOkina",
          "阿卜杜拉·居尔",
          "Kumar s/o Raman",
          "Müller-Lüdenscheidt, Dr.",
          "Louis XIV",
          "John 3rd",
        ],
        ...["שמש ״צה״ל״", "علی‌رضا", "N’Diaye–Sow", 'Dwayne "The Rock"', "-", "a".repeat(100)],
      ],
      [
        ...["", " ", "<b>", "a>b", "{{x}}", "[x](y)", "a\u0000", "a\tb", "a\nb", "a\u009fb", "\ud800"],
        ...["a\u202eb", "\u202aa", "a\u2066b\u2069", "a\u2028b", "a".repeat(101)],
      ],
    ],
    [
      "a language",
      language,
      ["en", "de-AT", "es-419", "zh-Hant", "zh-Hant-TW", "sr-Latn-RS", "de-1996", "EN-us", "en-u-nu-latn"],
      [
        "",
        "x-private",
        "i-klingon",
        "e",
        "en_US",
        "en-",
        "-en",
        "en us",
        "C",
        "*",
        "en;q=0.5",
        `en-${"a".repeat(40)}`,
      ],
    ],
    [
      "a phone number",
      phone,
      ["+4915112345678", "+12025550123"],
      ["0151", "+0123456789", "+1", "+1234567890123456", "+49 151"],
    ],
    ["an e-mail address", email, ["a@b.de", " A@B.DE "], ["a", "a@b", "a@@b.de", `${"a".repeat(255)}@b.de`]],
    ["an id", uuid, ["0198c0de-0000-7000-8000-000000000001"], ["1", "0198c0de00007000800000000000000"]],
    [
      "a moment",
      time,
      ["2026-11-22T10:30:00Z", "2026-11-22T10:30:00.123Z"],
      ["2026-11-22", "2026-11-22T10:30:00+01:00"],
    ],
    [
      "money",
      money,
      [
        { amountMinor: 0, currency: "EUR" },
        { amountMinor: 2 ** 53 - 1, currency: "EUR" },
      ],
      [
        { amountMinor: -1, currency: "EUR" },
        { amountMinor: 1.5, currency: "EUR" },
        { amountMinor: 2 ** 53, currency: "EUR" },
        { amountMinor: 1, currency: "eur" },
      ],
    ],
    ["a record", stringRecord, [{}, { a: "b" }], [{ a: 1 }, []]],
    ["a choice", boolean, [true, false], ["true", 1]],
  ] as const)("of %s, accepts valid ones only", (_, rule, sound, wrong) => {
    const one = validatorOf(object({ value: rule }));
    for (const value of sound) expect({ value, found: one({ value }) }).toEqual({ value, found: [] });
    for (const value of wrong)
      expect({ value, ok: one({ value }).length === 0 }).toEqual({ value, ok: false });
  });

  it("of a language, returns its canonical spelling", () => {
    const tagOf = (value: string) => {
      const sent = { value };
      expect(validatorOf(object({ value: language }))(sent)).toEqual([]);
      return sent.value;
    };
    const tags = ["EN-us", "zh-hant-tw", "SR-latn-rs", "es-419", "iw", "de-1996"];
    expect(tags.map(tagOf)).toEqual(["en-US", "zh-Hant-TW", "sr-Latn-RS", "es-419", "he", "de-1996"]);
  });

  it("of any input, never throws", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(Array.isArray(check(value))).toBe(true);
      }),
    );
  });

  it.each([
    [{ text: [{ toString: "" }] }],
    [{ list: { toString: 1 } }],
    [{ toString: null }],
    [[[{ toString: "", valueOf: "" }]]],
    [{ toString: { toString: "" }, more: [[{ toString: "" }]] }],
  ])("of %j, which cannot be converted to text, never throws", (value) => {
    expect(validatorOf(object({ text: text(5), list: array(text(5), { max: 2 }) }))(value)).not.toEqual([]);
  });

  it("of errors in an unknown form, returns a readable text", () => {
    expect(fieldErrors([{}])).toEqual([{ field: "", rule: "invalid", message: "Is not valid." }]);
  });
});
