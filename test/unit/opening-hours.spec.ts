import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { Hours } from "../../contracts/partners.ts";
import { hoursTrouble, isOpenAt, nextOpening } from "../../services/partners/domain/opening-hours.ts";

const at = (text: string) => Date.parse(text);
const everyDay = (fromMinute: number, untilMinute: number, timeZone = "Europe/Berlin"): Hours => ({
  timeZone,
  spans: [0, 1, 2, 3, 4, 5, 6].map((weekday) => ({ weekday, fromMinute, untilMinute })),
});

const zones = [
  "UTC",
  "Europe/Berlin",
  "America/New_York",
  "Asia/Kathmandu",
  "Australia/Lord_Howe",
  "Pacific/Apia",
];
const anyMoment = fc.integer({ min: at("2024-01-01T00:00Z"), max: at("2030-01-01T00:00Z") });
const anySpan = fc
  .record({
    weekday: fc.integer({ min: 0, max: 6 }),
    fromMinute: fc.integer({ min: 0, max: 1_439 }),
    length: fc.integer({ min: 1, max: 1_440 }),
  })
  .map(({ weekday, fromMinute, length }) => ({ weekday, fromMinute, untilMinute: fromMinute + length }));
const anyHours = fc.record({
  timeZone: fc.constantFrom(...zones),
  spans: fc.array(anySpan, { maxLength: 5 }),
});

/** The wall clock by another way: the text that Intl writes. */
function wallText(timeZone: string, ms: number): { weekday: number; minute: number } {
  const text = new Intl.DateTimeFormat("en-GB", {
    timeZone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
  });
  const [day, clock] = text.format(ms).replace(",", "").split(" ") as [string, string];
  const [hour, minute] = clock.split(":").map(Number) as [number, number];
  return {
    weekday: ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"].indexOf(day),
    minute: hour * 60 + minute,
  };
}

describe("opening hours", () => {
  it("open, without any span, is never true", () => {
    expect(isOpenAt({ timeZone: "UTC", spans: [] }, at("2026-05-05T12:00Z"))).toBe(false);
    expect(nextOpening({ timeZone: "UTC", spans: [] }, at("2026-05-05T12:00Z"))).toBeUndefined();
  });

  it("open, with spans of whole days, is always true, also when the clocks change", () => {
    fc.assert(
      fc.property(fc.constantFrom(...zones), anyMoment, (timeZone, ms) =>
        isOpenAt(everyDay(0, 1440, timeZone), ms),
      ),
    );
  });

  it("open, at any moment in any zone, follows the local time", () => {
    fc.assert(
      fc.property(anyHours, anyMoment, (hours, ms) => {
        const { weekday, minute } = wallText(hours.timeZone, ms);
        const now = weekday * 1440 + minute;
        const expected = hours.spans.some((span) => {
          const start = span.weekday * 1440 + span.fromMinute;
          const since = (now - start + 7 * 1440) % (7 * 1440);
          return since < span.untilMinute - span.fromMinute;
        });
        expect(isOpenAt(hours, ms)).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ["a minute before", "2026-05-05T06:59Z", false],
    ["at the first minute", "2026-05-05T07:00Z", true],
    ["at the last minute", "2026-05-05T15:59Z", true],
    ["at the end", "2026-05-05T16:00Z", false],
  ])("open, from 9 to 18 in Berlin, %s: %s is %s", (_, moment, expected) => {
    expect(isOpenAt(everyDay(9 * 60, 18 * 60), at(moment))).toBe(expected);
  });

  it("open, with a span past midnight, continues into the next day and over the week's end", () => {
    const saturdayNight: Hours = {
      timeZone: "UTC",
      spans: [{ weekday: 6, fromMinute: 1320, untilMinute: 1560 }],
    };
    expect(isOpenAt(saturdayNight, at("2026-05-09T22:00Z"))).toBe(true);
    expect(isOpenAt(saturdayNight, at("2026-05-10T01:59Z"))).toBe(true);
    expect(isOpenAt(saturdayNight, at("2026-05-10T02:00Z"))).toBe(false);
    expect(isOpenAt(saturdayNight, at("2026-05-09T01:00Z"))).toBe(false);
  });

  it("open, from 2 to 3 on the days when the clocks change, is no time in spring and two hours in autumn", () => {
    const hours = everyDay(120, 180);
    const openMinutes = (day: string) =>
      Array.from({ length: 1440 }, (_, minute) => at(`${day}T00:00Z`) + minute * 60_000).filter((ms) =>
        isOpenAt(hours, ms),
      ).length;
    expect(openMinutes("2026-03-28")).toBe(60);
    expect(openMinutes("2026-03-29")).toBe(0);
    expect(openMinutes("2026-10-25")).toBe(120);
  });

  it("the next opening, over the gap in spring, is the end of the gap", () => {
    expect(nextOpening(everyDay(150, 240), at("2026-03-29T00:00Z"))).toBe(at("2026-03-29T01:00Z"));
  });

  it("the next opening, from any moment, is open, and no minute before it is", () => {
    fc.assert(
      fc.property(anyHours, anyMoment, (hours, ms) => {
        const next = nextOpening(hours, ms);
        if (next === undefined) return hours.spans.length === 0 || gapOnly(hours);
        expect(next).toBeGreaterThanOrEqual(ms);
        expect(isOpenAt(hours, next)).toBe(true);
        if (next > ms) expect(isOpenAt(hours, ms)).toBe(false);
        const step = Math.max(60_000, Math.floor((next - ms) / 50));
        for (let before = ms; before < next; before += step) expect(isOpenAt(hours, before)).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  it("hours, with an unknown zone, an offset for one or a span that ends before it begins, are refused", () => {
    expect(hoursTrouble(everyDay(0, 60))).toBeUndefined();
    expect(hoursTrouble(everyDay(0, 60, "Mars/Olympus"))).toMatchObject({ field: "hours.timeZone" });
    expect(hoursTrouble(everyDay(0, 60, "+01:00"))).toMatchObject({ field: "hours.timeZone" });
    expect(
      hoursTrouble({ timeZone: "UTC", spans: [{ weekday: 1, fromMinute: 60, untilMinute: 60 }] }),
    ).toMatchObject({
      field: "hours.spans[0].untilMinute",
    });
  });
});

/** Spans that lie in the gap of a clock change may not come about within the week that is looked at. */
function gapOnly(hours: Hours): boolean {
  return hours.spans.every((span) => span.untilMinute - span.fromMinute <= 60);
}
