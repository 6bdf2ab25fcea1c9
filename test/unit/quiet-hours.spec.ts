import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { quietHoursProblem, quietUntil } from "../../services/notifications/domain/quiet-hours.ts";

const MINUTE_MS = 60_000;
const at = (text: string) => Date.parse(text);
const minute = (text: string) => {
  const [hours, minutes] = text.split(":").map(Number) as [number, number];
  return hours * 60 + minutes;
};
const quiet = (from: string, until: string, timeZone = "Europe/Berlin") => ({
  fromMinute: minute(from),
  untilMinute: minute(until),
  timeZone,
});
const night = quiet("22:00", "07:00");
const endOf = (hours: ReturnType<typeof quiet>, text: string) => {
  const until = quietUntil(hours, at(text));
  return until === undefined ? undefined : new Date(until).toISOString().slice(0, 16);
};

describe("quiet hours", () => {
  it.each([
    ["20:59", undefined],
    ["21:00", "2026-11-23T06:00"],
    ["22:59:59.999", "2026-11-23T06:00"],
    ["05:59", "2026-11-22T06:00"],
    ["06:00", undefined],
  ])("over midnight, at %s UTC, end at %s", (clock, end) => {
    expect(endOf(night, `2026-11-22T${clock}Z`)).toBe(end);
  });

  it.each([
    ["12:59", undefined],
    ["13:00", "2026-11-22T14:30"],
    ["14:29", "2026-11-22T14:30"],
    ["14:30", undefined],
  ])("within a day, at %s, end at %s", (clock, end) => {
    expect(endOf(quiet("13:00", "14:30", "UTC"), `2026-11-22T${clock}Z`)).toBe(end);
  });

  it("until midnight, end there", () => {
    expect(endOf(quiet("22:00", "00:00", "UTC"), "2026-11-22T23:00Z")).toBe("2026-11-23T00:00");
    expect(endOf(quiet("22:00", "00:00", "UTC"), "2026-11-23T00:00Z")).toBeUndefined();
  });

  it("in the night in which the clock goes forward, are an hour shorter", () => {
    expect(endOf(night, "2026-03-28T22:00Z")).toBe("2026-03-29T05:00");
  });

  it("in the night in which it goes back, are an hour longer", () => {
    expect(endOf(night, "2026-10-24T21:00Z")).toBe("2026-10-25T06:00");
  });

  it("that end in the skipped hour, end when it is skipped", () => {
    expect(endOf(quiet("22:00", "02:30"), "2026-03-28T23:00Z")).toBe("2026-03-29T01:00");
  });

  it("that end in the repeated hour, end both times", () => {
    const hours = quiet("22:00", "02:30");
    expect(endOf(hours, "2026-10-24T23:00Z")).toBe("2026-10-25T00:30");
    expect(endOf(hours, "2026-10-25T00:45Z")).toBeUndefined();
    expect(endOf(hours, "2026-10-25T01:10Z")).toBe("2026-10-25T01:30");
  });

  it("that begin in the repeated hour, end with its first half", () => {
    const hours = quiet("02:30", "07:00");
    expect(endOf(hours, "2026-10-25T00:40Z")).toBe("2026-10-25T01:00");
    expect(endOf(hours, "2026-10-25T01:40Z")).toBe("2026-10-25T06:00");
  });

  it("at any moment in any zone, end at the first minute that is not quiet", () => {
    const zones = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"];
    const text = Object.fromEntries(
      zones.map((timeZone) => [
        timeZone,
        new Intl.DateTimeFormat("en-GB", { timeZone, hour: "2-digit", minute: "2-digit" }),
      ]),
    );
    // Around the days on which some of them shift their clocks, more often than by chance.
    const shifts = ["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"];
    const moment = fc
      .tuple(fc.constantFrom(...shifts), fc.integer({ min: -1_440, max: 1_440 }))
      .map(([day, minutes]) => at(`${day}T00:00Z`) + minutes * MINUTE_MS);
    const clock = fc.integer({ min: 0, max: 1_439 });
    const hours = fc
      .record({ fromMinute: clock, untilMinute: clock, timeZone: fc.constantFrom(...zones) })
      .filter(({ fromMinute, untilMinute }) => fromMinute !== untilMinute);
    fc.assert(
      fc.property(hours, moment, (wanted, ms) => {
        const { fromMinute, untilMinute, timeZone } = wanted;
        const isQuiet = (when: number) => {
          const now = minute(text[timeZone]?.format(when) ?? "");
          if (fromMinute < untilMinute) return fromMinute <= now && now < untilMinute;
          return now >= fromMinute || now < untilMinute;
        };
        let end = ms;
        while (isQuiet(end)) end += MINUTE_MS;
        expect(quietUntil(wanted, ms)).toBe(end === ms ? undefined : end);
      }),
    );
  });
});

describe("the settings of quiet hours", () => {
  it.each(["Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC"])("in %s are accepted", (timeZone) => {
    expect(quietHoursProblem({ ...night, timeZone })).toBeUndefined();
  });

  it.each(["Mars/Olympus", "+01:00", "Europe/Berlin ", "", "local"])("in %j are refused", (timeZone) => {
    expect(quietHoursProblem({ ...night, timeZone })?.field).toBe("quietHours.timeZone");
  });

  it("without an end are refused", () => {
    expect(quietHoursProblem(quiet("07:00", "07:00"))?.field).toBe("quietHours.untilMinute");
  });
});
