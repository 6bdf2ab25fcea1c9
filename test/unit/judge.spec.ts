import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { newId } from "../../lib/ids.ts";
import { judge } from "../../mixins/consumer/judge.ts";
import { INBOX_RETENTION_MS } from "../../mixins/messages/retention.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import { userDeleted } from "../support/messaging.ts";

const NOW_MS = Date.parse("2026-11-22T10:00:00Z");
const DAY_MS = 86_400_000;
const sound = (ageMs = 0) => envelope("waybill/test", userDeleted(), NOW_MS - ageMs);
const judged = (incoming: unknown) => judge(incoming, NOW_MS, INBOX_RETENTION_MS);

describe("judge", () => {
  it("of a sound message, keeps what came and lets it wait for its handler", () => {
    const { specversion: _, ...rest } = sound();
    expect(judged({ specversion: "1.0", ...rest })).toEqual({ ...rest, state: "waiting" });
  });

  it.each([
    ["text instead of JSON", "order.paid!!", "not a JSON object"],
    ["null", null, "not a JSON object"],
    ["no id", { ...sound(), id: undefined }, "the id is not a UUIDv7"],
    ["a random id", { ...sound(), id: crypto.randomUUID() }, "the id is not a UUIDv7"],
    ["another envelope", { ...sound(), specversion: "0.3" }, "not CloudEvents 1.0"],
    ["an unknown type", { ...sound(), type: "order.eaten" }, "unknown type"],
    ["a type out of Object.prototype", { ...sound(), type: "constructor" }, "unknown type"],
    [
      "a version to come",
      { ...sound(), dataschema: "urn:waybill:message:user.deleted:2" },
      "unknown version",
    ],
    ["a subject without end", { ...sound(), subject: "x".repeat(201) }, "source or subject"],
    ["a time that is none", { ...sound(), time: "soon" }, "bad time"],
    ["a time in the year 0", { ...sound(), time: "0000-01-01T00:00:00Z" }, "bad time"],
    ["a time in the year 0 of UTC", { ...sound(), time: "0001-01-01T00:30:00+01:00" }, "bad time"],
    ["a time in the year 10000 of UTC", { ...sound(), time: "9999-12-31T23:59:59-05:00" }, "bad time"],
    ["no data", { ...sound(), data: undefined }, "the data is not an object"],
    ["a field too many", { ...sound(), data: { ...sound().data, role: "admin" } }, "role"],
    ["a wrong field", { ...sound(), data: { version: 0, userId: newId() } }, "version"],
    ["256 KB and more", { ...sound(), data: { junk: "x".repeat(256 * 1024) } }, "too large"],
    ["a NUL", { ...sound(), data: { version: 1, userId: "a\0b" } }, "NUL"],
    ["a lone surrogate", { ...sound(), data: { version: 1, userId: "\ud800" } }, "surrogate"],
  ])("of a message with %s, puts it aside and says why", (_what, incoming, reason) => {
    const row = judged(incoming);
    expect(row).toMatchObject({ state: "quarantined", error: expect.stringContaining(reason) });
    expect(row.deadLetterId).toBeDefined();
  });

  it("of a message nested beyond every stack, puts it aside without it", () => {
    const nested = (depth: number) => JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`);
    for (const depth of [200, 100_000]) {
      const row = judged({ ...sound(), data: { version: nested(depth) } });
      expect(row).toMatchObject({ state: "quarantined", error: "nested too deep" });
      expect(JSON.stringify(row).length).toBeLessThan(10_000);
    }
  });

  it("of a message that the inbox may have forgotten, asks a human first", () => {
    expect(judged(sound(12.9 * DAY_MS))).toMatchObject({ state: "waiting" });
    expect(judged(sound(13.1 * DAY_MS))).toMatchObject({
      state: "quarantined",
      error: "older than the inbox remembers",
    });
  });

  it("of the same nonsense twice, makes the same id, so that a repeat is one row", () => {
    expect(judged("nonsense").id).toBe(judged("nonsense").id);
    expect(judged("nonsense").id).not.toBe(judged("other nonsense").id);
  });

  it("of whatever may come, makes a row that fits its columns", () => {
    const almost = fc.record({
      specversion: fc.constantFrom("1.0", "2.0"),
      id: fc.oneof(fc.constant(newId(NOW_MS)), fc.string()),
      type: fc.oneof(fc.constantFrom("user.deleted", "order.paid", "__proto__"), fc.string()),
      source: fc.string({ unit: "binary" }),
      subject: fc.string({ unit: "binary" }),
      time: fc.oneof(
        fc.constantFrom("2026-02-30T25:00:00Z", "0000-01-01T00:00:00Z", "2026-11-22T10:00:00Z"),
        fc.string(),
      ),
      dataschema: fc.oneof(fc.constant("urn:waybill:message:user.deleted:1"), fc.string()),
      traceparent: fc.string(),
      data: fc.jsonValue(),
    });
    fc.assert(
      fc.property(fc.oneof(almost, fc.jsonValue(), fc.string({ unit: "binary" })), (incoming) => {
        const row = judged(incoming);
        expect(row.id).toMatch(/^[0-9a-f-]{36}$/);
        for (const [name, most] of [
          ["type", 60],
          ["subject", 200],
          ["source", 100],
        ] as const) {
          expect(row[name].length).toBeGreaterThan(0);
          expect(row[name].length).toBeLessThanOrEqual(most);
        }
        expect(Number.isNaN(Date.parse(row.time))).toBe(false);
        expect(row.time).toMatch(/^(?!0000)\d{4}-/);
        expect(JSON.stringify(row)).not.toMatch(/(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/);
      }),
    );
  });
});
