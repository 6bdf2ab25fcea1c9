import { describe, expect, it } from "@jest/globals";
import { actions } from "../../contracts/actions.ts";
import { exampleOf } from "../../contracts/documentation.ts";
import { messages } from "../../contracts/messages.ts";
import { formerNames } from "../../contracts/orders.ts";
import { type Rule, stored } from "../../contracts/schema.ts";
import { validatorOf } from "../../contracts/validation.ts";
import { routes } from "../../services/api/routes/index.ts";

interface AnyRule extends Rule {
  props?: Record<string, AnyRule>;
  items?: AnyRule;
  pattern?: RegExp;
  min?: number;
  max?: number;
}

/** Actions of the gateway itself hand what came in to these. */
const BEHIND_THE_GATEWAY = ["partners.check"];
/** For programs of the platform alone, whose callers type the values in: an edge of its own. */
const FROM_A_COMMAND = [
  "identity.createAdmin",
  "identity.grpcClients",
  "identity.createGrpcClient",
  "identity.revokeGrpcClient",
];

const atTheEdge = new Set<string>([
  ...routes.map(({ action }) => action),
  ...Object.values(formerNames),
  ...BEHIND_THE_GATEWAY,
  ...FROM_A_COMMAND,
]);
const inner = Object.entries(actions).filter(([name]) => !atTheEdge.has(name));

/** Every value that an earlier or later rule of some edge may have let in: the strangest text of this length. */
function strange({ min = 0, max = 10 }: AnyRule): string {
  const text = "\u202e<b> 'x\n{{y}}";
  return [...text.repeat(Math.ceil(max / text.length))].slice(0, Math.max(min, max)).join("");
}

/** The same value with a strange text in place of each text that no program calculates with. */
function estranged(rule: AnyRule, value: unknown): unknown {
  if (rule.props) {
    const fields = Object.entries(value as object).map(([name, inside]) => [
      name,
      estranged(rule.props?.[name] as AnyRule, inside),
    ]);
    return Object.fromEntries(fields);
  }
  if (rule.items) return (value as unknown[]).map((one) => estranged(rule.items as AnyRule, one));
  const isTime = rule.pattern?.test("2026-11-22T10:30:00Z") && !rule.pattern.test("x");
  return rule.type === "string" && !isTime ? strange(rule) : value;
}

const refused = (rule: AnyRule) => validatorOf(rule)(estranged(rule, exampleOf(rule)));

describe("values that the platform has stored", () => {
  it.each(inner)("are accepted by the inner action %s in any form", (_, { params }) => {
    expect(refused(params as AnyRule)).toEqual([]);
  });

  it.each(Object.entries(messages))("are accepted by the message %s in any form", (_, data) => {
    expect(refused(data as AnyRule)).toEqual([]);
  });

  it("include those of the main inner calls", () => {
    const names = inner.map(([name]) => name);
    expect(names).toEqual(
      expect.arrayContaining(["orders.confirm", "orders.applyPartnerCallback", "partners.reserve"]),
    );
  });

  it("would be refused by the rules for clients", () => {
    const { params } = actions["partners.create"];
    const fields = refused(params as unknown as AnyRule).map(({ field }) => field);
    expect(fields).toEqual(expect.arrayContaining(["phone", "email", "currency", "address.country"]));
    expect(refused(stored(params) as unknown as AnyRule)).toEqual([]);
  });
});
