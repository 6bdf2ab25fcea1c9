import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { actions } from "../../contracts/actions.ts";
import { exampleOf } from "../../contracts/documentation.ts";
import {
  array,
  clearable,
  integer,
  object,
  optional,
  type Rule,
  stringRecord,
  text,
} from "../../contracts/schema.ts";
import {
  decoder,
  encodeErrorData,
  encoder,
  sentProps,
  snakeName,
  toSnake,
  wireProps,
  wireRule,
} from "../../services/api/pipeline/codec.ts";

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

describe("case mapping", () => {
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

  it("of every contract, there and back again, returns the value", () => {
    for (const { params, result } of Object.values(actions)) {
      for (const one of [params, result] as Rule[]) {
        const value = exampleOf(one);
        expect(decoder(one)(encoder(one)(value))).toEqual(value);
        expect(encoder(one)(value)).toEqual(exampleOf(wireRule(one)));
      }
    }
  });

  it("of any value, never throws and passes on declared fields only", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const decoded = decoder(rule)(value);
        if (typeof decoded !== "object" || decoded === null || Array.isArray(decoded)) return;
        expect(Object.keys(rule.props)).toEqual(expect.arrayContaining(Object.keys(decoded)));
      }),
    );
  });

  it("of a field's path, uses the client's names", () => {
    expect(toSnake("lines[0].unitPrice.amountMinor")).toBe("lines[0].unit_price.amount_minor");
  });

  it("of null from a client, clears what can be cleared, and elsewhere removes the field", () => {
    const language = { ...text(10), absent: "en" } as Rule;
    const nickName = clearable(text(10));
    const decode = decoder(object({ partnerId: text(10), line1: optional(text(10)), nickName, language }));
    expect(decode({ partner_id: "p", line1: null, nick_name: null, language: null })).toStrictEqual({
      ...{ partnerId: "p", nickName: null, language: "en" },
    });
    expect(decode({ partner_id: "p" })).toStrictEqual({ partnerId: "p", language: "en" });
    expect(decode({ nick_name: "n", language: "de" })).toStrictEqual({ nickName: "n", language: "de" });
    const encode = encoder(object({ nickName, language }));
    expect(encode({ nickName: null })).toStrictEqual({});
    for (const value of [null, "text", 7]) expect(decode(value)).toBe(value);
    expect(decoder(array(text(10), { max: 3 }))("no list")).toBe("no list");
  });

  it("as a client may send them, take null wherever a field may be left out, at every level", () => {
    const inner = object({ size: optional(integer(0, 10)) });
    const language = { ...text(10), absent: "en" } as Rule;
    const props = {
      must: text(10),
      may: optional(text(10)),
      language,
      lines: array(inner, { max: 3 }),
      inner,
    };
    const { must, may, language: told, lines, inner: one } = sentProps(props) as Record<string, Rule>;
    expect(must).toBe(props.must);
    expect(may).toMatchObject({ optional: true, nullable: true, type: props.may.type });
    expect(told).toMatchObject({ optional: true, nullable: true });
    const size = { optional: true, nullable: true };
    expect(lines).toMatchObject({ items: { props: { size } } });
    expect(one).toMatchObject({ props: { size } });
    expect(lines).not.toHaveProperty("nullable");
    const plain = { must: text(10), lines: array(text(10), { max: 3 }), inner: object({ must: text(10) }) };
    expect(sentProps(plain)).toBe(plain);
    expect(sentProps(props)).toBe(sentProps(props));
    expect(wireProps(props)).toBe(wireProps(props));
    expect(wireRule(inner)).toBe(wireRule(inner));
    expect(wireRule(props.must)).toBe(props.must);
    expect(wireRule(array(text(10), { max: 3 }))).toMatchObject({ items: text(10) });
    expect(wireRule(array(text(10), { max: 3 }))).not.toHaveProperty("props");
    expect(wireRule(inner)).not.toHaveProperty("items");
  });

  it("of facts, are kept eight levels deep", () => {
    const nested = (levels: number): unknown => (levels === 0 ? 1 : { in: nested(levels - 1) });
    const depthOf = (value: unknown): number => JSON.stringify(value).split('"in"').length - 1;
    expect(encodeErrorData(nested(8))).toEqual(nested(8));
    expect(depthOf(encodeErrorData(nested(9)))).toBe(8);
    const lists = (levels: number): unknown => (levels === 0 ? 1 : [lists(levels - 1)]);
    expect(encodeErrorData(lists(8))).toEqual(lists(8));
    expect(encodeErrorData(lists(9))).not.toEqual(lists(9));
    for (const value of [null, 7, "someText", true]) expect(encodeErrorData(value)).toBe(value);
  });

  it("of facts, are converted at every level, to a bounded depth", () => {
    expect(encodeErrorData({ wasPrice: [{ amountMinor: 1 }] })).toEqual({ was_price: [{ amount_minor: 1 }] });
    const deep = Array.from({ length: 50 }).reduce<unknown>((inner) => ({ inner }), 1);
    expect(JSON.stringify(encodeErrorData(deep)).length).toBeLessThan(200);
  });
});

function fieldNames(one: Rule): string[][] {
  const { props, items } = one as Rule & { props?: Record<string, Rule>; items?: Rule };
  if (items) return fieldNames(items);
  if (!props) return [];
  return [Object.keys(props), ...Object.values(props).flatMap(fieldNames)];
}
