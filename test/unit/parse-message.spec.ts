import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { newId } from "../../lib/ids.ts";
import { assertRetention, INBOX_RETENTION_MS, OUTBOX_RETENTION_MS } from "../../lib/messaging/retention.ts";
import { parseMessage } from "../../mixins/consumer/parse-message.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import { userDeleted } from "../support/messaging.ts";

const NOW_MS = Date.parse("2026-11-22T10:00:00Z");
const DAY_MS = 86_400_000;
const sound = (ageMs = 0) => envelope("waybill/test", userDeleted(), NOW_MS - ageMs);
const judged = (incoming: unknown) => parseMessage(incoming, NOW_MS, INBOX_RETENTION_MS);

describe("the retention of an inbox", () => {
  it("exceeds the replays of an outbox by more than a day, or the program does not start", () => {
    expect(() => assertRetention(OUTBOX_RETENTION_MS, INBOX_RETENTION_MS)).not.toThrow();
    expect(() => assertRetention(7 * DAY_MS, 8 * DAY_MS + 1)).not.toThrow();
    expect(() => assertRetention(7 * DAY_MS, 8 * DAY_MS)).toThrow(
      "8 days, the outbox may repeat messages for 7",
    );
    expect({ OUTBOX_RETENTION_MS, INBOX_RETENTION_MS }).toEqual({
      ...{ OUTBOX_RETENTION_MS: 7 * DAY_MS, INBOX_RETENTION_MS: 14 * DAY_MS },
    });
  });
});

describe("parseMessage", () => {
  it("of a valid message, keeps it and lets it wait for its handler", () => {
    const { specversion: _, ...rest } = sound();
    expect(judged({ specversion: "1.0", ...rest })).toEqual({ ...rest, state: "waiting" });
  });

  it.each([
    ["no id at all", "{}", "not a JSON object"],
    ["a subject that is missing", { ...sound(), subject: undefined }, "source or subject"],
    ["an empty subject", { ...sound(), subject: "" }, "source or subject"],
    ["a source that is a number", { ...sound(), source: 7 }, "source or subject"],
    ["a source without end", { ...sound(), source: "x".repeat(101) }, "source or subject"],
    ["a day instead of a time", { ...sound(), time: "2026-11-22" }, "bad time"],
    ["a time in seconds", { ...sound(), time: 1_800_000_000 }, "bad time"],
    ["a list with a time", { ...sound(), time: ["2026-11-22T00:00:00Z"] }, "bad time"],
    ["a 13th month", { ...sound(), time: "2026-13-01T00:00:00Z" }, "bad time"],
    ["a version of no name", { ...sound(), dataschema: undefined }, "unknown version: undefined"],
    ["data that is null", { ...sound(), data: null }, "the data is not an object"],
    ["data that is text", { ...sound(), data: "text" }, "the data is not an object"],
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
  ])("of a message with %s, quarantines it with the reason", (_what, incoming, reason) => {
    const row = judged(incoming);
    expect(row).toMatchObject({ state: "quarantined", error: expect.stringContaining(reason) });
    expect(row.deadLetterId).toBeDefined();
  });

  it("of a message up to 256 KiB, reads it; of a larger one, keeps an excerpt", () => {
    const ofSize = (bytes: number) => {
      const made = (junk: string) => ({ ...sound(), data: { junk } });
      const rest = JSON.stringify(made("")).length;
      return made("x".repeat(bytes - rest));
    };
    const largest = judged(ofSize(256 * 1024));
    expect(largest).toMatchObject({ state: "quarantined", data: { incoming: expect.anything() } });
    expect(largest.error).toContain("junk");
    const larger = judged(ofSize(256 * 1024 + 1));
    expect(larger).toMatchObject({ error: "too large: 262145 bytes" });
    const { excerpt, hash } = larger.data as { excerpt: string; hash: string };
    expect(JSON.parse(excerpt)).toHaveLength(2_000);
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
  });

  it("of labels at their limits, keeps them; beyond, keeps the readable part that fits", () => {
    const [source, subject] = ["s".repeat(100), "x".repeat(200)];
    expect(judged({ ...sound(), source, subject })).toMatchObject({ state: "waiting", source, subject });
    expect(judged({ ...sound(), source: "s", subject: "x" })).toMatchObject({ state: "waiting" });
    const odd = { ...sound(), id: "", type: `tä${"t".repeat(70)}`, source: "s".repeat(101), subject: "" };
    expect(judged(odd)).toMatchObject({
      type: `t?${"t".repeat(58)}`,
      source: "s".repeat(100),
      subject: "unknown",
    });
    expect(judged({ source: 7 })).toMatchObject({ source: "unknown", type: "unknown", subject: "unknown" });
    expect(judged(null)).toMatchObject({ state: "quarantined", data: { incoming: null } });
    expect(judged({ ...sound(), specversion: "2" }).id).toHaveLength(36);
    const other = { ...sound(), specversion: "2" };
    expect(judged(other).id).toBe(other.id);
  });

  it("of a trace, keeps it if it is valid", () => {
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    expect(judged({ ...sound(), traceparent })).toMatchObject({ traceparent });
    for (const wrong of [`${traceparent}0`, "", 7]) {
      expect(judged({ ...sound(), traceparent: wrong })).not.toHaveProperty("traceparent");
    }
  });

  it("of brackets in a text, reads them as text, and of a hundred levels, reads them", () => {
    const nested = (depth: number) => JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`);
    const inText = { ...sound(), data: { ...sound().data, [`${"[".repeat(150)}\\"{`]: 1 } };
    expect(judged(inText).error).not.toContain("nested");
    // The message and its data are two levels.
    expect(judged({ ...sound(), data: { version: nested(98) } }).error).toContain("version");
    expect(judged({ ...sound(), data: { version: nested(99) } }).error).toBe("nested too deep");
    const objects = JSON.parse(`${'{"a":'.repeat(99)}1${"}".repeat(99)}`);
    expect(judged({ ...sound(), data: { version: objects } }).error).toBe("nested too deep");
    const beside = Array.from({ length: 200 }, () => [{}]);
    expect(judged({ ...sound(), data: { version: beside } }).error).toContain("version");
  });

  it("of a message nested too deeply, quarantines it without its content", () => {
    const nested = (depth: number) => JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`);
    for (const depth of [200, 100_000]) {
      const row = judged({ ...sound(), data: { version: nested(depth) } });
      expect(row).toMatchObject({ state: "quarantined", error: "nested too deep" });
      expect(JSON.stringify(row).length).toBeLessThan(10_000);
    }
  });

  it("of a message that the inbox may have pruned, quarantines it for an operator", () => {
    expect(judged(sound(13 * DAY_MS))).toMatchObject({ state: "waiting" });
    expect(judged(sound(13 * DAY_MS + 1))).toMatchObject({
      state: "quarantined",
      error: "older than the inbox remembers",
    });
  });

  it("of the same invalid message twice, makes the same id, so that a repeat is one row", () => {
    expect(judged("nonsense").id).toBe(judged("nonsense").id);
    expect(judged("nonsense").id).not.toBe(judged("other nonsense").id);
  });

  it("of any input, makes a row that fits its columns", () => {
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
