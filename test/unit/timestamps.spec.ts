import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import pg from "pg";
import "../../lib/sql/database.ts";

const parse = pg.types.getTypeParser(pg.types.builtins.TIMESTAMPTZ) as (text: string) => string;

/** As PostgreSQL writes a moment with microseconds: without zeros at the end. */
const written = (ms: number, micros: number) => {
  const fraction = `${String(ms % 1_000).padStart(3, "0")}${String(micros).padStart(3, "0")}`.replace(
    /0+$/,
    "",
  );
  const seconds = new Date(ms).toISOString().slice(0, 19).replace("T", " ");
  return `${seconds}${fraction && `.${fraction}`}`;
};

describe("a timestamptz of PostgreSQL", () => {
  it("in UTC becomes the ISO 8601 text of its millisecond, with any number of digits", () => {
    const moments = fc.integer({ min: 0, max: Date.parse("9999-12-31T23:59:59.999Z") });
    const micros = fc.integer({ min: 0, max: 999 });
    fc.assert(
      fc.property(moments, fc.oneof(micros, fc.constant(0)), (ms, more) => {
        expect(parse(`${written(ms, more)}+00`)).toBe(new Date(ms).toISOString());
      }),
    );
  });

  it("with an offset becomes the same moment in UTC", () => {
    expect(parse("2026-11-22 08:00:00.5+02")).toBe("2026-11-22T06:00:00.500Z");
    expect(parse("2026-11-22 08:00:00-05:30")).toBe("2026-11-22T13:30:00.000Z");
  });
});
