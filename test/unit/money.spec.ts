import { describe, expect, it } from "@jest/globals";
import { object, type Rule } from "../../contracts/schema.ts";
import { validatorOf } from "../../contracts/validation.ts";
import {
  add,
  currencies,
  decimalText,
  isCurrency,
  MoneyError,
  minorUnitDigits,
  money,
  sameMoney,
  times,
} from "../../lib/money.ts";
import { moneyText } from "../../platform/repl/table.ts";
import { fromStripe, toStripe } from "../../providers/banks/stripe-amounts.ts";
import { amountText } from "../../sandbox/layout.ts";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { renderRefund } from "../../services/notifications/domain/templates/render.ts";

/** ISO 4217, list one, of what has no two decimals. */
const OTHER_DIGITS: Record<number, string> = {
  0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
  3: "BHD IQD JOD KWD LYD OMR TND",
  4: "CLF UYW",
};
/** Currencies whose display digits in Intl differ from ISO's minor unit. */
const SHOWN_WITHOUT_DECIMALS = "AFN ALL COP HUF IDR IQD IRR KPW LAK LBP MGA MMK PKR SOS SYP YER".split(" ");

const amount = (amountMinor: number, currency: string) => ({ amountMinor, currency });

describe("currencies", () => {
  it("have the minor unit of ISO 4217, however they are displayed", () => {
    const expected = Object.entries(OTHER_DIGITS).flatMap(([digits, codes]) =>
      codes.split(" ").map((code) => [code, Number(digits)] as const),
    );
    const others = currencies.filter((code) => minorUnitDigits(code) !== 2);
    expect(Object.fromEntries(others.map((code) => [code, minorUnitDigits(code)]))).toEqual(
      Object.fromEntries(expected),
    );
    for (const code of SHOWN_WITHOUT_DECIMALS) expect(minorUnitDigits(code)).toBe(code === "IQD" ? 3 : 2);
  });

  it("are those of real money: no metals and no test codes", () => {
    for (const code of ["EUR", "CHF", "HUF", "IQD", "XOF", "ZWG", "XCG"]) expect(isCurrency(code)).toBe(true);
    for (const code of ["XXX", "XTS", "XAU", "ABC", "BTC", "eur", "", "EUR ", "toString", undefined]) {
      expect(isCurrency(code)).toBe(false);
    }
  });
});

describe("sums", () => {
  const most = Number.MAX_SAFE_INTEGER;

  it("of one currency, are exact", () => {
    expect(add(amount(1, "EUR"), amount(2, "EUR"))).toEqual(amount(3, "EUR"));
    expect(add(amount(most - 1, "EUR"), amount(1, "EUR"))).toEqual(amount(most, "EUR"));
    expect(times(amount(250, "JPY"), 3)).toEqual(amount(750, "JPY"));
  });

  it.each([
    ["of two currencies", () => add(amount(1, "EUR"), amount(1, "CHF"))],
    ["beyond what is counted exactly", () => add(amount(most, "EUR"), amount(1, "EUR"))],
    ["of a product beyond it", () => times(amount(most, "EUR"), 2)],
    ["of half a piece", () => times(amount(1, "EUR"), 0.5)],
    ["of no whole number", () => money(0.1, "EUR")],
    ["of no number", () => money(Number.NaN, "EUR")],
  ])("%s, are refused", (_, sum) => {
    expect(sum).toThrow(MoneyError);
  });

  it("are equal with the same amount and the same currency only", () => {
    const one = amount(1, "EUR");
    expect([one, amount(2, "EUR"), amount(1, "CHF")].map((other) => sameMoney(one, { ...other }))).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe("an amount as text", () => {
  it.each([
    [amount(123_456, "HUF"), "1234.56"],
    [amount(0, "EUR"), "0.00"],
    [amount(5, "EUR"), "0.05"],
    [amount(1_000, "JPY"), "1000"],
    [amount(1_234, "IQD"), "1.234"],
    [amount(-5, "EUR"), "-0.05"],
    [amount(9_007_199_254_740_991, "EUR"), "90071992547409.91"],
    [amount(12_345, "ABC"), "123.45"],
  ])("of %j, is exact in the console, the sandbox and the mails", (money, text) => {
    expect(decimalText(money)).toBe(text);
    expect(moneyText(money)).toBe(`${text} ${money.currency}`);
    expect(amountText(money.amountMinor, money.currency)).toBe(`${money.currency} ${text}`);
    const { title, body } = renderRefund({ amount: money }, undefined, "en");
    const [shown = ""] = /-?[\d,]+(?:\.\d+)?/.exec(`${title} ${body}`.replace(/[^\d.,-]/g, " ").trim()) ?? [];
    expect(shown.replaceAll(",", "")).toBe(text.replace("-", ""));
  });

  it.each([
    [amount(123_400, "HUF"), "de", /1\.234\sHUF/],
    [amount(123_450, "HUF"), "en", /1,234\.50/],
    [amount(10_000_000, "IDR"), "en", /IDR\s100,000(?!\.)/],
    [amount(1_200, "EUR"), "en", /€12\.00/],
  ])("of %j in %s, has decimals if the currency or the amount has some", (money, language, shown) => {
    expect(renderRefund({ amount: money }, undefined, language).body.replaceAll("\u00a0", " ")).toMatch(
      shown,
    );
  });
});

describe("amounts at Stripe", () => {
  it("of every currency that Stripe counts as ISO does, are the same; ISK, UGX and MGA are not", () => {
    const differing = currencies.filter((code) => toStripe(amount(1_000_000, code)) !== 1_000_000);
    expect(differing).toEqual(["CLF", "IQD", "ISK", "LYD", "MGA", "UGX", "UYI", "UYW"]);
    for (const code of currencies) {
      expect(fromStripe(toStripe(amount(1_000_000, code)), code.toLowerCase())).toEqual(
        amount(1_000_000, code),
      );
    }
  });

  it("in an unknown currency, are refused", () => {
    for (const code of ["xxx", "abc", "btc", "EUR", 978]) expect(fromStripe(100, code)).toBeUndefined();
  });
});

/** The rules of every field of this name, wherever an operation takes it. */
function rulesOf(name: string, operation: string, rule: unknown): { where: string; rule: Rule }[] {
  const { props, items } = rule as { props?: Record<string, Rule>; items?: Rule };
  const inner = Object.entries(props ?? {}).flatMap(([field, one]) =>
    field === name ? [{ where: operation, rule: one }] : rulesOf(name, operation, one),
  );
  return items ? [...inner, ...rulesOf(name, operation, items)] : inner;
}

describe("the values that operations accept", () => {
  const bodies = routes
    .map(endpointOf)
    .flatMap(({ operation, body }) => (body?.part ? [{ operation, rule: body.part.rule }] : []));
  const takers = (name: string) => bodies.flatMap(({ operation, rule }) => rulesOf(name, operation, rule));
  const refuses = (rule: Rule, value: string) => validatorOf(object({ value: rule }))({ value }).length > 0;

  it("of currencies, are those of ISO 4217 only", () => {
    expect(takers("currency").length).toBeGreaterThanOrEqual(4);
    for (const { where, rule } of takers("currency")) {
      for (const code of ["XXX", "ABC", "BTC", "XTS", "eur"]) {
        expect({ where, code, refused: refuses(rule, code) }).toEqual({ where, code, refused: true });
      }
      expect(refuses(rule, "HUF")).toBe(false);
    }
  });

  it("of countries, are those of ISO 3166-1 and Kosovo", () => {
    expect(takers("country").length).toBeGreaterThanOrEqual(4);
    for (const { where, rule } of takers("country")) {
      for (const code of ["ZZ", "XX", "AA", "UK", "EU", "de", "DEU"]) {
        expect({ where, code, refused: refuses(rule, code) }).toEqual({ where, code, refused: true });
      }
      for (const code of ["DE", "GB", "HK", "XK"]) expect(refuses(rule, code)).toBe(false);
    }
  });
});
