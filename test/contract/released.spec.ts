import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { apiNow, protoNow, RELEASED_API, RELEASED_PROTO } from "./release.ts";
import { apiBreaks, type ReleasedApi } from "./released-api.ts";
import { protoBreaks, type ReleasedProto } from "./released-proto.ts";

function read<T>(file: string): T {
  return JSON.parse(readFileSync(file, "utf8")) as T;
}

describe("since the last release", () => {
  it("the REST API is compatible", () => {
    expect(apiBreaks(read<ReleasedApi>(RELEASED_API), apiNow())).toEqual([]);
  });

  it("the gRPC API is compatible", () => {
    expect(protoBreaks(read<ReleasedProto>(RELEASED_PROTO), protoNow())).toEqual([]);
  });
});

describe("of the REST API, held against an earlier release,", () => {
  const earlier = (): ReleasedApi => ({
    postOrders: {
      method: "post",
      path: "/orders",
      success: "201",
      takes: {
        "query fast": "boolean",
        body: "object!",
        "body.lines": "array!",
        "body.lines[]": "object!",
        "body.lines[].quantity": "integer!",
        "body.note": "string",
        "body.kind": "one of a b",
      },
      answers: { "": "object!", id: "string!", note: "string", status: "one of new old!" },
    },
  });
  const changed = (change: (api: ReleasedApi["x"] & object) => void) => {
    const now = earlier();
    change(now.postOrders as NonNullable<ReleasedApi["x"]>);
    return apiBreaks(earlier(), now);
  };

  it("additions are compatible", () => {
    expect(
      changed(({ takes, answers }) => {
        takes["query slow"] = "boolean";
        takes["body.kind"] = "one of a b c";
        takes["body.address"] = "object";
        takes["body.address.city"] = "string!";
        takes["body.lines[].quantity"] = "integer";
        takes["body.note"] = "string or null";
        answers.created_at = "string!";
        answers.note = "string!";
        answers.status = "one of new old older!";
      }),
    ).toEqual([]);
  });

  it.each<[string, (api: NonNullable<ReleasedApi["x"]>) => void, string]>([
    [
      "a path",
      (api) => Object.assign(api, { path: "/order" }),
      "postOrders: its path was /orders, is /order",
    ],
    ["a status", (api) => Object.assign(api, { success: "200" }), "postOrders: its success was 201, is 200"],
    [
      "a field that is no longer taken",
      ({ takes }) => delete takes["body.note"],
      "takes body.note no longer",
    ],
    [
      "a new required field",
      ({ takes }) => Object.assign(takes, { "body.x": "string!" }),
      "takes only with body.x",
    ],
    [
      "a new required field of an item",
      ({ takes }) => Object.assign(takes, { "body.lines[].x": "string!" }),
      "takes only with body.lines[].x",
    ],
    [
      "a field that is required now",
      ({ takes }) => Object.assign(takes, { "body.note": "string!" }),
      "takes only with body.note",
    ],
    [
      "a value that is taken no longer",
      ({ takes }) => Object.assign(takes, { "body.kind": "one of b" }),
      "takes body.kind as one of b, was one of a b",
    ],
    [
      "a type",
      ({ takes }) => Object.assign(takes, { "query fast": "string" }),
      "takes query fast as string, was boolean",
    ],
    ["a field that is answered no longer", ({ answers }) => delete answers.id, "answers id no longer"],
    [
      "one that may be missing now",
      ({ answers }) => Object.assign(answers, { id: "string" }),
      "answers id not always",
    ],
    [
      "an answer that may be null now",
      ({ answers }) => Object.assign(answers, { note: "string or null" }),
      "answers note as string or null, was string",
    ],
    [
      "an answer's type",
      ({ answers }) => Object.assign(answers, { id: "integer!" }),
      "answers id as integer, was string",
    ],
  ])("%s: is incompatible", (_, change, line) => {
    expect(changed(change)).toEqual([expect.stringContaining(line)]);
  });

  it("a removed operation is incompatible", () => {
    expect(apiBreaks(earlier(), {})).toEqual(["postOrders: removed"]);
  });
});

describe("of the proto files, held against an earlier release,", () => {
  const none = { numbers: [], names: [] };
  const earlier = (): ReleasedProto => ({
    methods: { "a.Orders.Get": "a.GetRequest -> a.Order" },
    messages: { "a.Order": { fields: { id: "1 string", note: "2 optional string" }, reserved: none } },
    enums: { "a.Status": { values: { NEW: 1, OLD: 2 }, reserved: none } },
  });
  const reserved = { numbers: [[2, 2] as [number, number]], names: ["note", "OLD"] };

  it("additions, and removals with reserved numbers, are compatible", () => {
    const now = earlier();
    now.methods["a.Orders.List"] = "a.ListRequest -> a.Page";
    now.messages["a.Order"] = { fields: { id: "1 string", total: "3 a.Money" }, reserved };
    now.enums["a.Status"] = { values: { NEW: 1 }, reserved };
    expect(protoBreaks(earlier(), now)).toEqual([]);
  });

  it.each<[string, Partial<ReleasedProto>, string]>([
    ["a method that has gone", { methods: {} }, "a.Orders.Get: removed"],
    [
      "a method's message",
      { methods: { "a.Orders.Get": "a.Other -> a.Order" } },
      "a.Orders.Get: was a.GetRequest -> a.Order, is a.Other -> a.Order",
    ],
    ["a message that has gone", { messages: {} }, "a.Order: removed"],
    ["an enum that has gone", { enums: {} }, "a.Status: removed"],
    [
      "a field's number",
      { messages: { "a.Order": { fields: { id: "1 string", note: "3 optional string" }, reserved: none } } },
      "a.Order.note: was 2 optional string, is 3 optional string",
    ],
    [
      "a field's type",
      { messages: { "a.Order": { fields: { id: "1 int64", note: "2 optional string" }, reserved: none } } },
      "a.Order.id: was 1 string, is 1 int64",
    ],
    [
      "a field that is removed and not reserved",
      { messages: { "a.Order": { fields: { id: "1 string" }, reserved: none } } },
      "a.Order.note: removed, and 2 and its name are not reserved",
    ],
    [
      "a field whose name alone is reserved",
      { messages: { "a.Order": { fields: { id: "1 string" }, reserved: { numbers: [], names: ["note"] } } } },
      "a.Order.note: removed, and 2 and its name are not reserved",
    ],
    [
      "a value that is removed and not reserved",
      { enums: { "a.Status": { values: { NEW: 1 }, reserved: none } } },
      "a.Status.OLD: removed, and 2 and its name are not reserved",
    ],
  ])("%s: is incompatible", (_, change, line) => {
    expect(protoBreaks(earlier(), { ...earlier(), ...change })).toEqual([line]);
  });

  it("the snapshot of our proto files contains numbers, types and reserved numbers", () => {
    const now = protoNow();
    expect(Object.keys(now.methods).length).toBeGreaterThan(20);
    expect(now.messages["waybill.common.v1.Money"]?.fields).toEqual({
      amount_minor: "1 int64",
      currency: "2 string",
    });
  });
});
