import { describe, expect, it } from "@jest/globals";
import type { StreamInfo } from "nats";
import { hasReplayCapacity } from "../../providers/message-bus/jetstream-stream.ts";

const HOUR_MS = 3_600_000;
const NOW_MS = Date.parse("2026-11-22T12:00:00Z");
const MAX_AGE_HOURS = 72;

function stream(
  percent: number,
  oldestHours: number,
  config: Partial<StreamInfo["config"]> = {},
): StreamInfo {
  return {
    config: { max_bytes: 1_000_000, max_age: MAX_AGE_HOURS * HOUR_MS * 1_000_000, ...config },
    state: {
      messages: percent === 0 ? 0 : 10,
      bytes: percent * 10_000,
      first_ts: new Date(NOW_MS - oldestHours * HOUR_MS).toISOString(),
    },
  } as unknown as StreamInfo;
}

describe("the stream's room for repeated messages", () => {
  it.each([
    ["empty", stream(0, 1_000_000), true],
    ["new and less than half full", stream(49, 0), true],
    ["new and half full: nothing goes for days", stream(50, 0), false],
    ["half as old as it may get", stream(64, MAX_AGE_HOURS / 2), true],
    ["half as old as it may get, and fuller", stream(65, MAX_AGE_HOURS / 2), false],
    ["as old as it may get: as much goes as comes", stream(79, MAX_AGE_HOURS), true],
    ["as old as it may get, and nearly full", stream(80, MAX_AGE_HOURS + 1), false],
    ["of an age without an end", stream(50, 10_000, { max_age: 0 }), false],
    ["of a size without an end", stream(1_000, 0, { max_bytes: -1 }), true],
    ["ahead of this process's clock", stream(49, -1), true],
  ])("%s", (_how, info, has) => {
    expect(hasReplayCapacity(info, NOW_MS)).toBe(has);
  });

  it.each([10, 30, 50])("used to its end, leaves what %i in a hundred need until messages leave", (usual) => {
    // A new stream: the repeated hand-over takes all it may, at once and whenever it may have more.
    let percent = 0;
    for (let hours = 0; hours < MAX_AGE_HOURS; hours += 1) {
      while (hasReplayCapacity(stream(percent, hours), NOW_MS)) percent += 0.1;
      percent += usual / MAX_AGE_HOURS;
    }
    expect(percent).toBeLessThan(101);
  });
});
