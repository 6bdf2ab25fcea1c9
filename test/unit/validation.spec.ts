import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { birthDateProblem, isCalendarDate } from "../../lib/validation.ts";

const NOW_MS = Date.parse("2026-11-22T10:00:00Z");

describe("isCalendarDate", () => {
  it.each(["2024-02-29", "1900-01-01", "2000-02-29", "1999-12-31"])("takes %s", (date) => {
    expect(isCalendarDate(date)).toBe(true);
  });
  it.each([
    "2026-02-29",
    "1900-02-29",
    "2026-13-01",
    "2026-00-10",
    "2026-04-31",
    "2026-01-00",
    "26-01-01",
    "2026-1-1",
    "",
    "2026-01-01T00:00:00Z",
  ])("refuses %j", (date) => {
    expect(isCalendarDate(date)).toBe(false);
  });
  it("accepts every day that Date counts", () => {
    const day = fc.date({ min: new Date("1900-01-01"), max: new Date("2199-12-31"), noInvalidDate: true });
    fc.assert(fc.property(day, (date) => isCalendarDate(date.toISOString().slice(0, 10))));
  });
});

describe("birthDateProblem", () => {
  it("accepts a day in the past", () => {
    expect(birthDateProblem("2026-11-21", NOW_MS)).toBeUndefined();
    expect(birthDateProblem("1900-01-01", NOW_MS)).toBeUndefined();
  });
  it("refuses today, the future, the too distant past and impossible days", () => {
    expect(birthDateProblem("2026-11-22", NOW_MS)).toMatch(/past/);
    expect(birthDateProblem("2031-01-01", NOW_MS)).toMatch(/past/);
    expect(birthDateProblem("1899-12-31", NOW_MS)).toMatch(/1900/);
    expect(birthDateProblem("2001-02-29", NOW_MS)).toMatch(/calendar/);
  });
});
