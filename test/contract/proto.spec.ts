import { resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { action } from "../../contracts/action.ts";
import { actions } from "../../contracts/actions.ts";
import { grpcMethods } from "../../contracts/grpc-clients.ts";
import {
  boolean,
  decimal,
  integer,
  listOf,
  object,
  oneOf,
  optional,
  type Props,
  stringRecord,
  text,
} from "../../contracts/schema.ts";
import { protoCatalogue } from "../../packages/moleculer-grpc/src/proto-catalogue.ts";
import { compareProtoWithContracts } from "../support/proto-contract.ts";

const PROTO_DIR = resolve(import.meta.dirname, "../../proto");
const FIXTURES = resolve(import.meta.dirname, "../fixtures/proto");

/** Called by the transporter: no client outside has any business with it. */
const WITHOUT_A_METHOD = [
  "orders.applyPartnerCallback",
  "orders.state",
  "orders.openOf",
  "orders.exportPage",
];

describe("the proto files", () => {
  it("have the same fields as the contracts", () => {
    expect(compareProtoWithContracts(PROTO_DIR, actions)).toEqual([]);
  });

  it("have a method for every gRPC action of orders and partners", () => {
    const { methodOf } = protoCatalogue(PROTO_DIR);
    const wanted = Object.keys(actions).filter((name) => /^(orders|partners)\./.test(name));
    expect(wanted.filter((name) => !methodOf(name))).toEqual(WITHOUT_A_METHOD);
  });

  it("have each method that a client can be allowed to call, and three more, which are for nodes only", () => {
    const { methodsOf } = protoCatalogue(PROTO_DIR);
    const services = ["waybill.orders.v1.Orders", "waybill.partners.v1.Partners"];
    const all = services.flatMap(methodsOf).map(({ path }) => path.slice(1));
    expect(grpcMethods.filter((name) => !all.includes(name))).toEqual([]);
    const forNodes = ["Orders/Events", "Partners/Reserve", "Partners/Release"].map(
      (name) => `waybill.${name.startsWith("O") ? "orders" : "partners"}.v1.${name}`,
    );
    expect(all.filter((name) => !grpcMethods.includes(name))).toEqual(forNodes);
  });
});

describe("the comparison", () => {
  const amount = object({ amountMinor: integer(0, Number.MAX_SAFE_INTEGER), currency: text(3) });
  const line = object({ title: text(10), quantity: integer(0, 9), unitPrice: optional(amount) });
  const colour = oneOf("red", "deep_blue");
  const echo = {
    text: text(10),
    flag: boolean,
    big: integer(0, Number.MAX_SAFE_INTEGER),
    small: integer(-5, 5),
    ratio: decimal(0, 1),
    colour,
    amount,
    maybeText: optional(text(10)),
    maybeFlag: optional(boolean),
    maybeBig: optional(integer(0, 1)),
    maybeColour: optional(colour),
    lines: listOf(line),
    words: listOf(text(10)),
    headers: stringRecord,
    settings: optional(stringRecord),
    version: integer(1, 2 ** 31),
  };
  const answer = { ...echo, settings: stringRecord };

  function differences(changes: Props): string[] {
    const contracts = { "probe.echo": action(object({ ...echo, ...changes }), object(answer)) };
    return compareProtoWithContracts(FIXTURES, contracts).filter((line) => line.startsWith("probe.echo"));
  }

  it("of an equal contract and proto, finds no difference", () => {
    expect(differences({})).toEqual([]);
  });

  it("of a method without a contract, names it", () => {
    expect(compareProtoWithContracts(FIXTURES, {})).toContain("probe.echo: a method without a contract");
  });

  it.each<[string, Props, string]>([
    ["a field only in the contract", { more: boolean }, "more: not in waybill.test.v1.EchoMessage"],
    ["a kind", { text: boolean }, "text: string in the proto, bool in the contract"],
    ["a fraction", { small: decimal(0, 1) }, "small: int32 in the proto, double in the contract"],
    ["a range", { small: integer(0, 2 ** 31) }, "small: int32 in the proto, int64 or uint32 in the contract"],
    ["presence", { maybeText: text(10) }, "maybeText: optional only in the proto"],
    ["presence the other way", { flag: optional(boolean) }, "flag: optional only in the contract"],
    [
      "a constant",
      { colour: oneOf("red", "green") },
      "colour: deep_blue, red in the proto, green, red in the contract",
    ],
    [
      "what no constant spells",
      { colour: oneOf("a.b") },
      "colour: enum in the proto, string in the contract",
    ],
    ["a list", { words: text(10) }, "words: list in the proto, one in the contract"],
    ["a map", { headers: listOf(text(10)) }, "headers: map in the proto, list in the contract"],
    ["items", { words: listOf(boolean) }, "words[]: string in the proto, bool in the contract"],
    [
      "something deep inside",
      { lines: listOf(object({ title: text(10), quantity: integer(0, 9) })) },
      "lines[].unitPrice: in waybill.test.v1.Line, not in the contract",
    ],
  ])("of different %s, says so", (_, changes, line) => {
    expect(differences(changes)).toEqual([`probe.echo params.${line}`]);
  });
});
