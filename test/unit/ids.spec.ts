import { describe, expect, it } from "@jest/globals";
import { derivedId, idTimeMs, isId, newId } from "../../lib/ids.ts";

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe("ids", () => {
  it("that are new are UUIDs of version 7, ten thousand different ones within one millisecond", () => {
    const ids = Array.from({ length: 10_000 }, () => newId(1_764_000_000_000));
    expect(ids.filter((id) => !UUID_V7.test(id) || !isId(id))).toEqual([]);
    expect(new Set(ids).size).toBe(ids.length);
    // Their random parts differ as well.
    expect(new Set(ids.map((id) => id.slice(15, 23))).size).toBeGreaterThan(ids.length - 10);
  });

  it("contain their time, to the millisecond, and sort by it", () => {
    const moments = [0, 1, 1_764_000_000_000, 1_764_000_000_001, 2 ** 48 - 1];
    const ids = moments.map((ms) => newId(ms));
    expect(ids.map(idTimeMs)).toEqual(moments);
    expect([...ids].sort()).toEqual(ids);
  });

  it("that are derived are the same for the same name within a scope only", () => {
    expect(derivedId("push", "a")).toBe(derivedId("push", "a"));
    expect(new Set([derivedId("push", "a"), derivedId("push", "b"), derivedId("mail", "a")]).size).toBe(3);
    expect(derivedId("push", "a")[14]).toBe("8");
  });
});
