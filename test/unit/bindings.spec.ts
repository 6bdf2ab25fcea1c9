import { describe, expect, it } from "@jest/globals";
import { bind } from "../../lib/sql/bindings.ts";

describe("bindings of a statement", () => {
  it.each([
    ["SELECT ?, ?", [1, "b"], "SELECT $1, $2", [1, "b"]],
    ["SELECT a \\? 'k' FROM t WHERE id = ?", [1], "SELECT a ? 'k' FROM t WHERE id = $1", [1]],
    ["SELECT now(); SELECT 2", [], "SELECT now(); SELECT 2", []],
    ["SELECT :a::text, :b, :a", { a: 1, b: null }, "SELECT $1::text, $2, $3", [1, null, 1]],
    ["SELECT (:a)::uuid, to_char(t, 'HH24:MI:SS') \\? ':x'", { a: "id" }, undefined, ["id"]],
  ])("of %s become numbers", (sql, bindings, text, values) => {
    const bound = bind(sql, bindings);
    expect(bound.text).toBe(text ?? "SELECT ($1)::uuid, to_char(t, 'HH24:MI:SS') ? ':x'");
    expect(bound.values).toEqual(values);
  });

  it("of a known text, are those of each call", () => {
    const sql = "SELECT :x + :y";
    expect(bind(sql, { x: 1, y: 2 }).values).toEqual([1, 2]);
    expect(bind(sql, { y: 4, x: 3 }).values).toEqual([3, 4]);
  });

  it("with names that only a later call gives, are found", () => {
    expect(bind("SELECT :p, ':q'", { p: 1 }).text).toBe("SELECT $1, ':q'");
    expect(bind("SELECT :p, :r", { p: 1 }).text).toBe("SELECT $1, :r");
    expect(bind("SELECT :p, :r", { p: 1, r: 2 }).values).toEqual([1, 2]);
  });

  it.each([
    ["too few", "SELECT 11, ?, ?", [1]],
    ["too many", "SELECT 12, ?", [1, 2]],
    ["undefined", "SELECT 13, ?", [undefined]],
    ["undefined by name", "SELECT 14, :a", { a: undefined }],
  ])("that are %s, are refused before the statement is sent", (_, sql, bindings) => {
    expect(() => bind(sql, bindings)).toThrow(TypeError);
  });
});
