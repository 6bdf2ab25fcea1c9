import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { email, httpUrl, object, type Rule, stringRecord, text } from "../../contracts/schema.ts";
import { validatorOf } from "../../contracts/validation.ts";

const accepts = (rule: Rule, value: unknown) => {
  const input = { value };
  return validatorOf(object({ value: rule }))(input).length === 0 && input;
};

describe("the rule for e-mail addresses", () => {
  it("an address with capitals and spaces around it, is accepted in lower case and trimmed", () => {
    expect(accepts(email, " Ada@Example.COM ")).toEqual({ value: "ada@example.com" });
  });

  it.each([
    "ada@example.com\u0000",
    "ada\u0000@example.com",
    "ada",
    "@example.com",
    "ada@localhost",
    "a b@example.com",
  ])("%j, which is no address, is refused", (value) => {
    expect(accepts(email, value)).toBe(false);
  });

  it("an accepted address has no control character and one @", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (name) => {
        if (accepts(email, `${name}@example.com`)) expect(name.trimStart()).toMatch(/^[!-?A-~]+$/);
      }),
    );
  });
});

describe("the rule for texts", () => {
  it.each(["a\u0000b", "\u001b[31m", "\ud800"])(
    "%j, which no database or terminal supports, is refused",
    (value) => {
      expect(accepts(text(100), value)).toBe(false);
    },
  );

  it("letters of any script with line feeds, are accepted", () => {
    expect(accepts(text(100), "Grüße\nالسلام 👋")).toBeTruthy();
  });

  it("lengths count like the document's, an emoji as one", () => {
    expect(accepts(text(3, 3), "👋👋👋")).toBeTruthy();
    expect(accepts(text(3, 3), " 👋👋 ")).toBe(false);
    expect(accepts(text(3, 3), "👋👋")).toBe(false);
    expect(accepts(text(3, 3), "👋👋👋👋")).toBe(false);
    expect(accepts(text(3, 3), "a👋bc")).toBe(false);
  });
});

describe("the rule for names with values", () => {
  it.each([{ "": "x" }, { "a b": "x" }, { [`x${"y".repeat(256)}`]: "x" }, { key: "a\0b" }, { key: 1 }])(
    "%j, is refused",
    (value) => {
      expect(accepts(stringRecord, value)).toBe(false);
    },
  );

  it("lines of a key, are accepted", () => {
    expect(accepts(stringRecord, { private_key: "-----BEGIN\r\n\tMIIE\r\n-----END\r\n" })).toBeTruthy();
  });
});

describe("the rule for URLs", () => {
  it.each([
    ...[
      "javascript:alert(1)",
      "http://a b",
      "//example.com",
      `https://e.com/${"x".repeat(2048)}`,
      "https://",
    ],
    ...[
      "https://[",
      "https://ada:secret@example.com/",
      "https://256.1.1.1/",
      "https://1.2.3.4.5",
      "https://a:b",
    ],
    ...["https://e.com\\@evil.example", "https://ä.example"],
  ])("%j, is refused", (value) => {
    expect(accepts(httpUrl, value)).toBe(false);
  });

  it.each([
    ...["https://shop.example.org", "http://localhost:3000/orders?of=today#top", "http://10.0.0.7:8080/x"],
    ...[
      "https://xn--kse-qla.example/brot.png",
      "http://kitchen_system/callback",
      "https://e.com/grüße?q[]=1",
    ],
  ])("%j, is accepted", (value) => {
    expect(accepts(httpUrl, value)).toBeTruthy();
  });

  it("an accepted address can be read by clients", () => {
    const address = fc.stringMatching(
      new RegExp(httpUrl.pattern.source.replace("[^\\s\\p{Cc}\\p{Cs}]", "[!-~]")),
    );
    fc.assert(
      fc.property(address, (value) => {
        fc.pre(!/xn--/i.test(value) && Number(/:(\d+)/.exec(value.slice(8))?.[1] ?? 0) < 65_536);
        expect(URL.canParse(value)).toBe(true);
      }),
    );
  });
});
