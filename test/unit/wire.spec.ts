import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { actions } from "../../contracts/actions.ts";
import { array, integer, object, optional, type Rule, stringRecord, text } from "../../contracts/schema.ts";
import { exampleOf } from "../../mixins/openapi/example.ts";
import { decoder, encodeFacts, encoder, snakeName, toSnake, wireRule } from "../../services/api/wire.ts";

const rule = object({
  partnerId: text(10),
  line1: optional(text(10)),
  unitPrice: object({ amountMinor: integer(0, 10) }),
  spans: array(object({ fromMinute: integer(0, 10) }), { max: 3 }),
  settings: stringRecord,
});

const inside = {
  partnerId: "p",
  line1: "l",
  unitPrice: { amountMinor: 1 },
  spans: [{ fromMinute: 1 }, { fromMinute: 2 }],
  settings: { appId: "a", api_key: "b" },
};
const outside = {
  partner_id: "p",
  line1: "l",
  unit_price: { amount_minor: 1 },
  spans: [{ from_minute: 1 }, { from_minute: 2 }],
  settings: { appId: "a", api_key: "b" },
};

describe("wire names", () => {
  it("given a value of the contract, spells declared names in snake_case and leaves the names of a record", () => {
    expect(encoder(rule)(inside)).toEqual(outside);
    expect(decoder(rule)(outside)).toEqual(inside);
  });

  it("given fields that no schema declares, drops them in both directions", () => {
    expect(encoder(rule)({ ...inside, passwordHash: "x" })).toEqual(outside);
    expect(decoder(rule)({ ...outside, role: "admin" })).toEqual(inside);
  });

  it("given a key that would reach a prototype, makes nothing of it", () => {
    const forged = JSON.parse('{"__proto__":{"partner_id":"forged"},"constructor":{}}');
    const decoded = decoder(rule)(forged) as object;
    expect(decoded).toEqual({});
    expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype);
    expect((decoded as { partnerId?: string }).partnerId).toBeUndefined();
  });

  it("given absent, undefined or null fields, leaves them out", () => {
    expect(encoder(rule)({ partnerId: "p", line1: undefined, settings: null })).toEqual({ partner_id: "p" });
  });

  it("of every contract, are different for different fields, at every level", () => {
    for (const [name, { params, result }] of Object.entries(actions)) {
      for (const names of [...fieldNames(params), ...fieldNames(result)]) {
        expect({ name, wire: new Set(names.map(snakeName)).size }).toEqual({ name, wire: names.length });
      }
    }
  });

  it("of every contract, there and back again, are what they were", () => {
    for (const { params, result } of Object.values(actions)) {
      for (const one of [params, result] as Rule[]) {
        const value = exampleOf(one);
        expect(decoder(one)(encoder(one)(value))).toEqual(value);
        expect(encoder(one)(value)).toEqual(exampleOf(wireRule(one)));
      }
    }
  });

  it("of whatever value, never throws and never passes on what is not declared", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const decoded = decoder(rule)(value);
        if (typeof decoded !== "object" || decoded === null || Array.isArray(decoded)) return;
        expect(Object.keys(rule.props)).toEqual(expect.arrayContaining(Object.keys(decoded)));
      }),
    );
  });

  it("of a field's path, are spelt as the client knows them", () => {
    expect(toSnake("lines[0].unitPrice.amountMinor")).toBe("lines[0].unit_price.amount_minor");
  });

  it("of facts, are converted at every level, to a bounded depth", () => {
    expect(encodeFacts({ wasPrice: [{ amountMinor: 1 }] })).toEqual({ was_price: [{ amount_minor: 1 }] });
    const deep = Array.from({ length: 50 }).reduce<unknown>((inner) => ({ inner }), 1);
    expect(JSON.stringify(encodeFacts(deep)).length).toBeLessThan(200);
  });
});

function fieldNames(one: Rule): string[][] {
  const { props, items } = one as Rule & { props?: Record<string, Rule>; items?: Rule };
  if (items) return fieldNames(items);
  if (!props) return [];
  return [Object.keys(props), ...Object.values(props).flatMap(fieldNames)];
}
